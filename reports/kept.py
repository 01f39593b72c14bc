"""The pages of a folder that stay as they are: what an earlier call wrote, from what, and whether it still lies there.

Beside the pages lies a manifest: of every page the digest of what it was made of, and its files with their checksums.
Where a page's digest differs, or one of its files is missing or was changed, or the manifest cannot be read, the page
is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

MANIFEST = "site.json"
ASSETS = "assets"
"""In the place of a page's name: what all pages share."""


@dataclass(frozen=True)
class Manifest:
    """What lies in a folder.

    Attributes:
        files: checksums by name.
        pages: by name, the digest of what a page was made of and the names of its files.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    pages: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @classmethod
    def read(cls, out: Path) -> Manifest:
        """That of a folder; an empty one where there is none, or none that makes sense."""
        try:
            given = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        if isinstance(given, list):  # of a version that listed names
            return cls({name: "" for name in given if isinstance(name, str)})
        try:
            pages = {str(name): (str(made), tuple(map(str, files))) for name, (made, files) in given["pages"].items()}
            return cls({str(name): str(checksum) for name, checksum in given["files"].items()}, pages)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()

    def holds(self, out: Path, page: str, made_of: str) -> bool:
        """Whether a page is there, whole, and made of the same."""
        made, files = self.pages.get(page, ("", ()))
        return bool(made_of) and made == made_of and page in files and all(self._lies(out, name) for name in files)

    def _lies(self, out: Path, name: str) -> bool:
        known = self.files.get(name)
        inside = not name.startswith("/") and ".." not in name.split("/")
        return bool(known) and inside and known == checksum_of(out / name)


def checksum_of(path: Path) -> str | None:
    """The checksum of a file, or None where it cannot be read."""
    try:
        return checksum(path.read_bytes())
    except OSError:
        return None


def checksum(content: bytes) -> str:
    """The checksum that the manifest has of a content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@dataclass(frozen=True)
class MadePage:
    """A page's files, by name: text, or the file that has the content; and what they were made of ('': not known)."""

    made_of: str
    files: Mapping[str, str | Path]


def write_pages(out: Path, made: Mapping[str, MadePage], kept: Sequence[str], before: Manifest) -> None:
    """Write what differs from what lies there, then the manifest; remove files of an earlier one that are gone.

    Raises:
        HarnessError: the folder or a file in it cannot be written.
    """
    try:
        _write_pages(out, made, kept, before)
    except OSError as error:
        told = f"the pages cannot be written into {out}: {error.strerror or error}"
        raise HarnessError(f"{told}; --out names another folder") from error


def _write_pages(out: Path, made: Mapping[str, MadePage], kept: Sequence[str], before: Manifest) -> None:
    out.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {name: before.files[name] for page in kept for name in before.pages[page][1]}
    pages: dict[str, Any] = {page: before.pages[page] for page in kept}
    for page, one in made.items():
        for name, content in one.files.items():
            files[name] = _write(out / name, content)
        pages[page] = (one.made_of, sorted(one.files))
    for name in sorted(before.files.keys() - files.keys()):
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
    told = {"files": dict(sorted(files.items())), "pages": dict(sorted(pages.items()))}
    (out / MANIFEST).write_text(json.dumps(told, indent=0) + "\n", encoding="utf-8")


def _write(path: Path, content: str | Path) -> str:
    """Write a file unless it is there with this content; returns the checksum."""
    data = content.read_bytes() if isinstance(content, Path) else content.encode("utf-8")
    told = checksum(data)
    if checksum_of(path) != told:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return told
