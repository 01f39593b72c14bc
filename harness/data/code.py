"""Digest of the code of whole packages."""

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

from harness.registry.shipped import COMPUTING

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("numpy", "scipy", "duckdb")


@cache
def code_digest(packages: tuple[str, ...] = (), libraries: tuple[str, ...] = ()) -> str:
    """sha256 over the harness, packages that it runs, and versions.

    It is computed once a process: imported code does not change while it runs.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for library in (*LIBRARIES, *libraries):
        digest.update(f"{library} {version(library)}\n".encode())
    for package in (Path(__file__).resolve().parents[1].name, *COMPUTING, *packages):
        files = (file for file in (ROOT / package).rglob("*") if file.parent.name != "__pycache__")
        for file in sorted(filter(Path.is_file, files)):
            digest.update(f"{file.relative_to(ROOT).as_posix()} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()
