"""Checks of identities and toy problems, one module a suite: both sides are computed by this project's code, anew.

Each function takes the option that a test flips to see the check fail.
"""
