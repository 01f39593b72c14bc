"""Tasks: training and scoring of each kind of benchmark, one a module."""
