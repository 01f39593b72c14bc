"""The code of whole packages as one digest: what was worked out by it is worked out again after any change of it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from harness.registry.shipped import COMPUTING

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "scipy", "duckdb")


@cache
def code_digest(packages: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
    """sha256 over every file of the harness, of the packages that it runs and of further ones, and over versions.

    It is that of the process's beginning: code that was imported does not change while it runs.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for library in (*LIBRARIES, *libraries):
        digest.update(f"{library} {version(library)}\n".encode())
    for package in (Path(__file__).resolve().parents[1].name, *COMPUTING, *packages):
        for file in _files(ROOT / package):
            digest.update(f"{file.relative_to(ROOT).as_posix()} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    """The files of a package in a fixed order, without what Python writes beside them."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.parent.name != "__pycache__")
