"""What readers of folders share: checksums over the files that were read, and YAML that others wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.data.checksums import checksum
from harness.errors import HarnessError, first_line

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
        HarnessError: it is no file, cannot be read, or is not UTF-8.
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
        HarnessError: it is no such file.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if path.is_file() and path.stat().st_size > MOST_YAML:
        raise HarnessError(f"{path}: {path.stat().st_size:,} bytes of YAML; at most {MOST_YAML:,} are read")
    try:
        found = YAML(typ="safe", pure=True).load(text_of(path))
    except (YAMLError, ValueError, RecursionError, AttributeError, TypeError, IndexError, KeyError) as error:
        # The parser gives up in its own ways on hostile text.
        raise HarnessError(f"{path}: not YAML: {first_line(error)}") from None
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: a mapping (key: value) is expected")
    return {str(key): value for key, value in found.items()}
