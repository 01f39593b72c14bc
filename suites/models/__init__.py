"""Models.

Every builder raises HarnessError for options, facts or weights that do not fit, and MissingDataError for weights that
are missing.
"""
