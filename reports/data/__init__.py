"""What the store says: statements, rows and what is computed of them."""
