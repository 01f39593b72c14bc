"""Data sources. Readers raise MissingDataError for a missing file, HarnessError for a damaged or unknown one."""
