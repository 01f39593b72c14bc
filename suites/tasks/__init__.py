"""Tasks: how a kind of benchmark trains and is scored; one a module."""
