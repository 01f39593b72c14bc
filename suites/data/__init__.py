"""Data sources.

Every reader raises MissingDataError for a missing file, and HarnessError, naming the file and if possible the line, for
a damaged file, another layout or an impossible option.
"""
