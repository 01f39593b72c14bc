"""Locations, checksums, downloads and the cache of data sets."""
