"""One reader for folders, zips and tars, without extracting."""

import csv
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from harness.base.limits import content_of, room_for, too_large
from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from suites.data.cache import checksum

# Common names of a split; the first is ours.
SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}
)


EntryT = TypeVar("EntryT")


class Tree(Protocol):
    """Files by name, names with forward slashes."""

    def names(self) -> list[str]:
        """List every file, in fast reading order."""
        ...

    def read(self, name: str) -> bytes: ...


class _Folder:
    def __init__(self, root: Path, source: str) -> None:
        self.root, self.source = root, source

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())

    def read(self, name: str) -> bytes:
        path = self.root / name
        # A list may name a missing file, a pipe, or a file elsewhere.
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise HarnessError(f"{self.source}: {path} is not in {self.root}")
        if not path.is_file():
            raise HarnessError(f"{self.source}: {path} is not a file")
        try:
            return path.read_bytes()
        except OSError as error:
            raise HarnessError(f"{self.source}: {path} cannot be read: {error.strerror}") from error


def _tidy(name: str) -> str:
    """Normalise an entry's name: ``./train//a.png`` is ``train/a.png``."""
    return str(PurePosixPath(name))


def _entry(members: Mapping[str, EntryT], name: str, archive: object) -> EntryT:
    try:
        return members[_tidy(name)]
    except KeyError:
        raise HarnessError(f"{archive}: lacks {name}") from None


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.members = {
            _tidy(info.filename): info for info in archive.infolist() if info.filename and not info.is_dir()
        }

    def names(self) -> list[str]:
        return list(self.members)

    def read(self, name: str) -> bytes:
        info = _entry(self.members, name, self.archive.filename)
        if info.file_size > room_for(info.compress_size):
            raise too_large(name, info.compress_size)
        try:
            return self.archive.read(info)
        except (OSError, ValueError, OverflowError, struct.error) as error:  # invalid offsets, for example
            raise HarnessError(f"{self.archive.filename}: {name} cannot be read: {error}") from error


class _Tar:
    def __init__(self, archive: tarfile.TarFile, packed: int) -> None:
        self.members: dict[str, tarfile.TarInfo] = {}
        self.archive = archive
        total = 0
        for member in archive:
            if member.isfile():
                self.members[_tidy(member.name)] = member
                total += member.size
                if total > room_for(packed):
                    raise too_large(str(archive.name), packed)

    def names(self) -> list[str]:
        return list(self.members)

    def read(self, name: str) -> bytes:
        file = self.archive.extractfile(_entry(self.members, name, self.archive.name))
        assert file is not None  # a member that is a file
        return file.read()


@contextmanager
def open_tree(path: Path, source: str) -> Iterator[Tree]:
    """Open a folder, a ``.zip`` or a ``.tar`` (also compressed) as a tree.

    Args:
        path: the folder or archive.
        source: name of the data source, for messages.

    Raises:
        MissingDataError: ``path`` does not exist.
        HarnessError: the archive, or a file in it, is damaged.
    """
    if not path.exists():
        raise missing(source, path)
    try:
        if path.is_dir():
            yield _Folder(path, source)
        elif not path.is_file():
            raise HarnessError(f"{source}: {path} is neither a folder nor a file")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _Zip(archive)
        else:
            with tarfile.open(path) as tar:
                yield _Tar(tar, path.stat().st_size)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        RuntimeError,
        NotImplementedError,
    ) as error:  # the last two: encrypted, an unknown compression
        reason = str(error).partition("\n")[0]
        raise HarnessError(f"{source}: {path} is damaged or neither folder, zip nor tar: {reason}") from error


def missing(source: str, path: Path) -> MissingDataError:
    """Build the error for a source with missing files."""
    return MissingDataError(
        f"the data source '{source}' is missing: {path} does not exist; get it with 'harness data fetch {source}' or "
        f"point HARNESS_DATA at the folder that has it"
    )


def text_of(path: Path, source: str) -> str:
    """Read the text of a list or table, plain or gzipped."""
    if not path.is_file():
        raise missing(source, path)
    try:
        content = content_of(path)
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{source}: {path} cannot be read: {error}") from error
    return text_in(content, f"{source}: {path}")


def text_in(content: bytes, where: str) -> str:
    """Decode the text of a file."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{where} cannot be read as text in UTF-8: {error}") from error


def csv_lines(text: str, where: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Line number and values of each row that is not empty; the first is the header."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(rows.line_num, row) for row in rows if row]
    except csv.Error as error:
        raise HarnessError(f"{where} is not valid csv: {error}") from error


@dataclass(frozen=True, slots=True)
class SourcePath:
    """Location of a source (folder, file or archive) and its checksum."""

    source: str
    path: Path
    checksum: str


def place_of(request: DataRequest[Any]) -> SourcePath:
    """Locate the user's folder or archive at ``path``, or a named source's.

    Raises:
        MissingDataError: it does not exist.
        HarnessError: a named source's file does not have the stated sha256; the message names both.
    """
    own = getattr(request.options, "path", None)
    path = request.root / (_first(request) if own is None else own)
    if not path.exists():
        raise missing(request.name, path)
    actual = checksum(path)
    if own is None and path.is_file():
        require_sum(request.name, path, actual, next(iter(request.files.values())))
    return SourcePath(request.name, path, actual)


def folder_of(request: DataRequest[Any]) -> Path:
    """Folder of the user at ``path``, or of a named source."""
    own = getattr(request.options, "path", None)
    return (request.root / _first(request)).parent if own is None else request.root / own


def _first(request: DataRequest[Any]) -> str:
    return next(iter(request.files)).removeprefix("data:")


def require_sum(source: str, path: Path, actual: str, expected: str) -> None:
    """Reject a file whose sha256 is not the stated one."""
    if actual != expected:
        raise HarnessError(
            f"{source}: {path} has sha256 {actual}, expected {expected}; the file is damaged or of another version: "
            f"get it again with 'harness data fetch {source}'"
        )
