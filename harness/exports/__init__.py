"""Tables and files written from stored results."""
