"""Checks of identities and toy problems, one module a suite.

Both sides are computed by this project's code. Each function takes an option that makes the check fail, for its test.
"""
