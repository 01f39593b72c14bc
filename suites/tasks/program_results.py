"""Readers of a program's numbers: JSON lines, table, TensorBoard events, pattern.

A record has perhaps a step, a split, and numbers by name. The numbers of a trial come from the last record that has
them, or from the record in which a named one is best.
"""

import csv
import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.event_files import PATTERN, scalars_of
from harness.base.values import number_of
from harness.errors import HarnessError
from harness.trial.programs import SPLITS, final_of
from harness.trial.result import MetricSeries, Score

NOT_NUMBERS = ("time", "step", "epoch", "split", "iteration")
STEPS = ("step", "iteration", "iter", "global_step")
MOST_RECORDS = 200_000
"""Largest number of records of a trial; more are an error."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a program; without a step it concerns the end."""

    step: int | None
    split: str
    numbers: Mapping[str, float]
    at: float


class RecordReader:
    """Collects records of a running program; subclasses override what their source needs."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.records: list[Record] = []
        self._names = {theirs: ours for ours, theirs in (results.get("names") or {}).items()}
        self._step_name = results.get("step")
        self._split = results.get("split", "test")
        self._began = time.monotonic()

    def printed(self, line: str) -> None:
        """Receive a line of output."""

    def look(self) -> None:
        """Read new records while the program runs."""

    def finish(self) -> None:
        """Read the rest after its end."""

    def newest(self) -> tuple[int, float] | None:
        """Step and loss (or first number) of the newest record."""
        for record in reversed(self.records[-50:]):
            if record.step is not None and record.numbers:
                first = next(iter(record.numbers.values()))
                return record.step, record.numbers.get("loss", first)
        return None

    def series(self) -> list[MetricSeries]:
        """Numbers with a step, by split and name."""
        by_name: dict[tuple[str, str], MetricSeries] = {}
        for record in self.records:
            if record.step is None:
                continue
            for name, value in record.numbers.items():
                line = by_name.setdefault((record.split, name), MetricSeries(record.split, name))
                line.step.append(record.step)
                line.epoch.append(math.nan)
                line.value.append(value)
                line.elapsed_seconds.append(record.at)
        return list(by_name.values())

    def take(self, values: Mapping[str, Any]) -> None:
        """Add a record, skipping values that are not numbers (HarnessError if too many)."""
        if len(self.records) >= MOST_RECORDS:
            raise HarnessError(f"more than {MOST_RECORDS:,} records: let the program log every hundredth step")
        lowered = {str(key).lower(): value for key, value in values.items()}
        at = self._step_name.lower() if self._step_name else next((name for name in STEPS if name in lowered), None)
        step = _number(lowered.get(at)) if at else None
        split = str(lowered.get("split") or "")
        for name, value in values.items():
            number = _number(value)
            if number is None or str(name).lower() in (*NOT_NUMBERS, at):
                continue
            where, metric = self._place(str(name), split)
            whole = None if step is None or not math.isfinite(step) else int(step)
            self.records.append(Record(whole, where, {metric: number}, time.monotonic() - self._began))

    def _place(self, name: str, split: str) -> tuple[str, str]:
        named = self._names.get(name, name)
        first, slash, rest = named.partition("/")
        splits = {"val": "validation", "valid": "validation", "eval": "validation", "dev": "validation"}
        if slash and splits.get(first, first) in SPLITS:
            return splits.get(first, first), rest
        return splits.get(split, split) or self._split, named


class _Growing(RecordReader, ABC):
    """A file that grows line by line; it may not exist yet."""

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results)
        self.path = path
        self._read = 0
        self._line = 0

    def look(self) -> None:
        self._read_lines(complete=True)

    def finish(self) -> None:
        self._read_lines(complete=False)  # the last line may lack its end

    def _read_lines(self, *, complete: bool) -> None:
        try:
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        new = new[: new.rfind(b"\n") + 1] if complete else new
        self._read += len(new)
        for line in new.decode("utf-8", "replace").splitlines():
            self._line += 1
            if line.strip():
                self.line(line)

    @abstractmethod
    def line(self, text: str) -> None: ...

    def refuse(self, why: str) -> HarnessError:
        return HarnessError(f"{self.path}:{self._line}: {why}")


class JsonLines(_Growing):
    """``lines``: a JSON object a line, as ``harness.client`` writes them."""

    def line(self, text: str) -> None:
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.refuse(f"not JSON: {error}") from None
        if not isinstance(values, Mapping):
            raise self.refuse("expected an object with numbers by name")
        self.take(values)


class CsvLines(_Growing):
    """``csv``: a header, then a record a line."""

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results, path)
        self._head: list[str] = []

    def line(self, text: str) -> None:
        cells = [cell.strip() for cell in next(csv.reader([text]))]
        if not self._head:
            self._head = cells
        elif len(cells) > len(self._head):
            raise self.refuse(f"{len(cells)} fields, but the header has {len(self._head)}")
        else:
            self.take(dict(zip(self._head, cells, strict=False)))


class Printed(RecordReader):
    """``output: json``: JSON objects among the printed lines."""

    def printed(self, line: str) -> None:
        if line.lstrip().startswith("{"):
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                return
            if isinstance(values, Mapping):
                self.take(values)


class Pattern(RecordReader):
    """``pattern``: regular expressions with named groups, searched in printed lines."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        super().__init__(results)
        pattern = results["pattern"]
        self._patterns = [re.compile(text) for text in (pattern if isinstance(pattern, list | tuple) else [pattern])]

    def printed(self, line: str) -> None:
        for pattern in self._patterns:
            for match in pattern.finditer(line):
                self.take({name: text for name, text in match.groupdict().items() if text is not None})


class TensorBoard(RecordReader):
    """``tensorboard``: the scalars of event files below a folder, read at the end."""

    def __init__(self, results: Mapping[str, Any], path: Path) -> None:
        super().__init__(results)
        self.path = path

    def finish(self) -> None:
        for file in sorted(self.path.rglob(PATTERN)):
            for step, name, value in scalars_of(file):
                self.take({"step": step, name: value})


def reader_of(results: Mapping[str, Any], folder: Path, default: Path) -> RecordReader:
    """Build the reader of ``results:``; the default reads the client's lines."""
    if "pattern" in results:
        return Pattern(results)
    if "output" in results:
        return Printed(results)
    if "csv" in results:
        return CsvLines(results, folder / str(results["csv"]))
    if "tensorboard" in results:
        return TensorBoard(results, folder / str(results["tensorboard"]))
    return JsonLines(results, folder / str(results["lines"]) if "lines" in results else default)


def final_scores(reader: RecordReader, results: Mapping[str, Any]) -> list[Score]:
    """Final numbers: each name's last, or those of the best record."""
    way, name = final_of(results.get("final", "last")) or ("last", "")
    records = reader.records
    if way != "last":
        held = [record for record in records if name in record.numbers and math.isfinite(record.numbers[name])]
        if not held:
            return []
        best = (max if way == "max" else min)(held, key=lambda record: record.numbers[name])
        # records of the same step, and those without a step
        records = [record for record in records if record.step in (best.step, None)]
    final: dict[tuple[str, str], float] = {}
    for record in records:
        final |= {(record.split, metric): value for metric, value in record.numbers.items()}
    return [Score(split, metric, value if math.isfinite(value) else None) for (split, metric), value in final.items()]


def _number(value: object) -> float | None:
    if value is None:
        return None
    return number_of(value.strip().rstrip("%") if isinstance(value, str) else value)
