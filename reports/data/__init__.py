"""SQL statements of the reports, their rows, and values computed from them."""
