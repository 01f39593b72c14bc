"""How a program's numbers come back: JSON lines, a table, TensorBoard's events, or a pattern on what it prints.

Every source gives records, one after another: a step where there is one, a split, and numbers by name. The numbers of
a trial are those of the last record that has them, or of the record in which one of them is best.
"""

from __future__ import annotations

import csv
import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from harness.base.event_files import PATTERN, scalars_of
from harness.base.values import number_of
from harness.errors import HarnessError
from harness.trial.programs import SPLITS, final_of
from harness.trial.result import MetricSeries, Score

NOT_NUMBERS = ("time", "step", "epoch", "split", "iteration")
STEPS = ("step", "iteration", "iter", "global_step")
MOST_RECORDS = 200_000
"""Of one trial: a training that says more is asked to say less."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a program said at once; without a step, of its end."""

    step: int | None
    split: str
    numbers: Mapping[str, float]
    at: float


class RecordReader(ABC):
    """Takes in records while a program runs; ``look`` is asked now and then, ``finish`` once at its end."""

    source: ClassVar[str]

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.records: list[Record] = []
        self._names = {theirs: ours for ours, theirs in (results.get("names") or {}).items()}
        self._step_name = results.get("step")
        self._split = results.get("split", "test")
        self._began = time.monotonic()

    def printed(self, line: str) -> None:  # noqa: B027 (most sources do not care)
        """A line of its output."""

    @abstractmethod
    def look(self) -> None:
        """Take in what is new."""

    def finish(self) -> None:
        """Take in the rest."""
        self.look()

    def newest(self) -> tuple[int, float] | None:
        """Step and loss (or the first number) of the newest record that has a step."""
        for record in reversed(self.records[-50:]):
            if record.step is not None and record.numbers:
                first = next(iter(record.numbers.values()))
                return record.step, record.numbers.get("loss", first)
        return None

    def series(self) -> list[MetricSeries]:
        """The numbers that have a step, by split and name."""
        made: dict[tuple[str, str], MetricSeries] = {}
        for record in self.records:
            if record.step is None:
                continue
            for name, value in record.numbers.items():
                one = made.setdefault((record.split, name), MetricSeries(record.split, name))
                one.step.append(record.step)
                one.epoch.append(math.nan)
                one.value.append(value)
                one.elapsed_seconds.append(record.at)
        return list(made.values())

    def take(self, given: Mapping[str, Any]) -> None:
        """A record from plain data: what is no number is left out.

        Raises:
            HarnessError: there are more than a trial may say.
        """
        if len(self.records) >= MOST_RECORDS:
            raise HarnessError(f"more than {MOST_RECORDS:,} records: let the program log every hundredth step")
        lowered = {str(key).lower(): value for key, value in given.items()}
        at = self._step_name.lower() if self._step_name else next((name for name in STEPS if name in lowered), None)
        step = _number(lowered.get(at)) if at else None
        split = str(lowered.get("split") or "")
        for name, value in given.items():
            number = _number(value)
            if number is None or str(name).lower() in (*NOT_NUMBERS, at):
                continue
            where, metric = self._place(str(name), split)
            whole = None if step is None or not math.isfinite(step) else int(step)
            self.records.append(Record(whole, where, {metric: number}, time.monotonic() - self._began))

    def _place(self, name: str, split: str) -> tuple[str, str]:
        """Split and metric of a program's name: ``val/acc``, or as ``names`` has it."""
        named = self._names.get(name, name)
        first, slash, rest = named.partition("/")
        known = {"val": "validation", "valid": "validation", "eval": "validation", "dev": "validation"}
        if slash and known.get(first, first) in SPLITS:
            return known.get(first, first), rest
        return known.get(split, split) or self._split, named


class _Growing(RecordReader):
    """A file that grows line by line; it may not be there yet, and a line without an end waits for it."""

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results)
        self.path = path
        self._read = 0
        self._line = 0

    def look(self) -> None:
        """Take in the whole lines that are new."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new.rfind(b"\n") + 1
        self._read += whole
        for line in new[:whole].decode("utf-8", "replace").splitlines():
            self._line += 1
            if line.strip():
                self.line(line)

    def finish(self) -> None:
        """Take in the rest; a last line may lack its end."""
        self.look()
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                rest = file.read().decode("utf-8", "replace").strip()
        except FileNotFoundError:
            return
        if rest:
            self._line += 1
            self.line(rest)

    @abstractmethod
    def line(self, text: str) -> None:
        """Take in a line."""

    def refuse(self, why: str) -> HarnessError:
        """The error of a line that cannot be read."""
        return HarnessError(f"{self.path}:{self._line}: {why}")


class JsonLines(_Growing):
    """``lines``: a JSON object a line, as ``harness.client`` writes them."""

    source = "lines"

    def line(self, text: str) -> None:
        """A record.

        Raises:
            HarnessError: it is no JSON object.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refuse(f"not JSON: {error}") from None
        if not isinstance(given, Mapping):
            raise self.refuse("an object with numbers by name is expected")
        self.take(given)


class CsvLines(_Growing):
    """``csv``: a head line, then a record a line."""

    source = "csv"

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results, path)
        self._head: list[str] = []

    def line(self, text: str) -> None:
        """The head line, or a record.

        Raises:
            HarnessError: it has more cells than the head line.
        """
        cells = [cell.strip() for cell in next(csv.reader([text]))]
        if not self._head:
            self._head = cells
        elif len(cells) > len(self._head):
            raise self.refuse(f"{len(cells)} cells, and the head line has {len(self._head)}")
        else:
            self.take(dict(zip(self._head, cells, strict=False)))


class Printed(RecordReader):
    """``output: json``: JSON objects among the lines that it prints."""

    source = "output"

    def printed(self, line: str) -> None:
        """A record, if the line is one."""
        if line.lstrip().startswith("{"):
            try:
                given = json.loads(line)
            except (ValueError, RecursionError):
                return
            if isinstance(given, Mapping):
                self.take(given)

    def look(self) -> None:
        """Lines come by themselves."""


class Pattern(RecordReader):
    """``pattern``: regular expressions whose named groups are numbers, searched in every line that it prints."""

    source = "pattern"

    def __init__(self, results: Mapping[str, Any]) -> None:
        super().__init__(results)
        given = results["pattern"]
        self._patterns = [re.compile(text) for text in (given if isinstance(given, list | tuple) else [given])]

    def printed(self, line: str) -> None:
        """A record for each pattern that is found."""
        for pattern in self._patterns:
            for found in pattern.finditer(line):
                self.take({name: text for name, text in found.groupdict().items() if text is not None})

    def look(self) -> None:
        """Lines come by themselves."""


class TensorBoard(RecordReader):
    """``tensorboard``: the scalars of event files below a folder, read without TensorFlow."""

    source = "tensorboard"

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results)
        self.path = path

    def look(self) -> None:
        """Event files are read at the end."""

    def finish(self) -> None:
        """Every scalar of every event file, in the order of files and of time."""
        for file in sorted(self.path.rglob(PATTERN)):
            for step, name, value in scalars_of(file):
                self.take({"step": step, name: value})


def reader_of(results: Mapping[str, Any], folder: Path, default: Path) -> RecordReader:
    """The reader that ``results:`` asks for; without one the lines that the client writes."""
    if "pattern" in results:
        return Pattern(results)
    if "output" in results:
        return Printed(results)
    if "csv" in results:
        return CsvLines(results, folder / str(results["csv"]))
    if "tensorboard" in results:
        return TensorBoard(results, folder / str(results["tensorboard"]))
    if "lines" in results:
        return JsonLines(results, folder / str(results["lines"]))
    return JsonLines(results, default)


def final_scores(reader: RecordReader, results: Mapping[str, Any]) -> list[Score]:
    """The numbers of the trial: of each name its last, or all of the record in which one is best."""
    way, name = final_of(results.get("final", "last")) or ("last", "")
    records = reader.records
    if way != "last":
        held = [record for record in records if name in record.numbers and math.isfinite(record.numbers[name])]
        if not held:
            return []
        best = (max if way == "max" else min)(held, key=lambda record: record.numbers[name])
        # what was said of the same step, and what was said without one
        records = [record for record in records if record.step in (best.step, None)]
    found: dict[tuple[str, str], float] = {}
    for record in records:
        found |= {(record.split, metric): value for metric, value in record.numbers.items()}
    return [Score(split, metric, value if math.isfinite(value) else None) for (split, metric), value in found.items()]


def _number(value: object) -> float | None:
    if value is None:
        return None
    return number_of(value.strip().rstrip("%") if isinstance(value, str) else value)
