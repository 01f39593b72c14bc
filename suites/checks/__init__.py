"""Checks of identities and toy problems: both sides computed by this project's code; one module a suite."""
