"""Checksums of folders, and third-party text and YAML files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.base.yaml_nodes import read
from harness.data.checksums import checksum
from harness.errors import HarnessError

MOST_YAML = 2 << 20


def sha256_of_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 over the files' relative paths and contents: copying or touching a folder changes nothing."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        line = f"{file.relative_to(root).as_posix()} {checksum(file)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def text_of(path: Path) -> str:
    """The text of a file of another program.

    Raises:
        HarnessError: it is not a file, cannot be read, or is not UTF-8.
    """
    if not path.is_file():
        raise HarnessError(f"{path}: a file is expected")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start + 1}") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror}") from None


def plain_yaml(path: Path) -> dict[str, Any]:
    """A mapping of a YAML file of another program: plain data only, no tags and no objects.

    Raises:
        HarnessError: it is not a mapping of plain data.
    """
    return dict(read(path).plain())
