"""Folders of data sets and of the cache."""

import os
from pathlib import Path


def data_root() -> Path:
    """``HARNESS_DATA``, else the user's cache folder for data."""
    folder = os.environ.get("HARNESS_DATA")
    return Path(folder) if folder else cache_root() / "data"


def cache_root() -> Path:
    """``HARNESS_CACHE``, else the user's cache folder: unpacked archives, decoded images."""
    from platformdirs import user_cache_path

    folder = os.environ.get("HARNESS_CACHE")
    return Path(folder) if folder else user_cache_path("paper-harness", appauthor=False)
