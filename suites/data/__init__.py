"""Data sources and layouts; one family a module, each yields a type of ``suites.data.types``."""
