"""External runs, with fields and numbers under their original names."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.base.values import number_of
from harness.data.checksums import checksum
from harness.errors import HarnessError, choices

Point = tuple[int | None, float]
"""A step and a value; without a step the value is a final one."""


@dataclass(frozen=True, slots=True)
class ForeignRun:
    """A run of a tracker, or a row of a table.

    Attributes:
        place: for messages: ``results.csv:17``, ``mlruns/0/5f3a``.
        fields: parameters, tags and names; of a table's row, every value by its column.
        series: numbers by name, in the order of their steps; empty for a table's row.
        ended: why it counts as failed (``is 'crashed' there``); empty for a run that ended well.
    """

    place: str
    fields: Mapping[str, Any]
    series: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    ended: str = ""


@dataclass(frozen=True, slots=True)
class ForeignSource:
    """A file or folder of results that was read.

    Attributes:
        kind: ``table``, ``MLflow store``.
        sha256: of the file; of a folder, of its files and their relative paths.
        rows: it is a table: the numbers are among the fields.
        part: the table's name, of a database.
        notes: data that could not be read or is left out, a sentence each.
    """

    path: Path
    kind: str
    sha256: str
    runs: Sequence[ForeignRun] = field(repr=False)
    rows: bool = False
    part: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.path}[{self.part}]" if self.part else str(self.path)

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(name for run in self.runs for name in run.fields))

    @property
    def numbers(self) -> list[str]:
        """The names under which there are numbers; in a table, every column."""
        if self.rows:
            return self.fields
        return list(dict.fromkeys(name for run in self.runs for name in run.series))

    def must_have(self, name: str, word: str = "") -> None:
        """Raise HarnessError, with the valid names, for an unknown field."""
        if name not in self.fields:
            raise HarnessError(f"{self.path} has no {word or self.field_word} '{name}'; {choices(self.fields, name)}")

    @property
    def field_word(self) -> str:
        return "column" if self.rows else "field"


def by_step(points: Mapping[int, float]) -> list[Point]:
    """A series in the order of its steps; of a step that was written twice the last value."""
    return [(step, points[step]) for step in sorted(points)]


def sha256_of_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 over the files' relative paths and contents."""
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        line = f"{file.relative_to(root).as_posix()} {checksum(file)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def logged_number(value: Any) -> float | None:
    """A logged number, NaN and infinities in words too; None otherwise."""
    words = ("nan", "infinity", "-infinity")
    if value is None or (isinstance(value, str) and value.strip().lower() not in words):
        return None
    return number_of(value)
