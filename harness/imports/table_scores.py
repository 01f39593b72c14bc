"""Scores of the compared arms of a table; each doubt is an error with its line."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from harness.base.tables import DataTable
from harness.base.values import name_of, names_in
from harness.errors import HarnessError, choices
from harness.imports.resampling import pairing_ratio
from harness.imports.result_files import column_called, is_same, number_in, score_of
from harness.imports.table_question import PAIRS, TableQuestion, better_of, of_every_arm, pair_columns
from harness.judge.comparing import ArmScore
from harness.judge.resampled import is_resampled, resampled_test

NAMES, VALUES = ("metric", "name", "measure"), ("value", "score", "result")
"""Columns of a table with one row a number."""
SHARE = re.compile(r"acc|top.?[15]\b|f1|precision|recall|auc|auroc|iou|dice|err|\bwer\b|\bcer\b|win.?rate|hit|ece")
"""Metrics that people write as a share or in percent."""
PARTS = {"train", "training", "test", "valid", "validation", "val", "dev"}
"""Names of parts of a data set; they are not repetitions."""
LISTED = 5


@dataclass(frozen=True, slots=True)
class ReadScores:
    """Scores of a table.

    Attributes:
        pair: the column that pairs results, or several with ``and``.
        layout: how the table was understood, in a sentence.
        notes: rows without a partner or without a number.
        resampled: n_test/n_train of the pairs; 0 if they are independent.
        question: with every arm named.
        runs: the single scores behind the means of data sets, else ``scores``.
        spreads: sd and number of runs behind published means, by benchmark and arm.
    """

    question: TableQuestion
    scores: tuple[ArmScore, ...]
    runs: tuple[ArmScore, ...]
    pair: str
    layout: str
    better: str
    unit: str
    notes: tuple[str, ...]
    resampled: float
    spreads: Mapping[tuple[str, str], tuple[float, int]]


def read_scores(table: DataTable, question: TableQuestion) -> ReadScores:
    """The scores of the compared arms.

    Raises:
        HarnessError: the table lacks them, or leaves a doubt that the options can settle.
    """
    return _Reading(table, question).read()


@dataclass(frozen=True, slots=True)
class _Placed:
    score: ArmScore
    row: int


class _Reading:
    def __init__(self, table: DataTable, question: TableQuestion) -> None:
        self.table, self.question = table, question
        self.arm_column: str | None = None
        for column in (*question.by, *(name for name, _ in question.where)):
            table.must_have(column)
        self.rows = self._kept()
        if question.over and not (question.methods and question.against):
            self.question = of_every_arm(table, question, self.rows)
        self._check_arms()
        self.pairs = pair_columns(table, self.question)
        self.pair = " and ".join(self.pairs)

    def read(self) -> ReadScores:
        question = self.question
        runs, layout = self._placed()
        placed = runs
        if question.over:
            placed, layout = self._means(runs), f"{layout}; means of each {self.pair}"
        else:
            self._check_duplicates(placed)
        unit = self._checked_unit(placed)
        better = question.better or better_of(question.metric)
        published = question.sd is not None
        alone = () if published else self._without_partner(placed)
        notes = [*self._without_number(placed), *alone, *self._left_out()]
        resampled = 0.0 if question.over or published else self._resampled(placed)
        pairs = " and ".join(map(repr, self.pairs))
        layout += f"; paired by {pairs}" if pairs else "; published means ± sd, unpaired"
        if resampled:
            layout += f", which split one data set: {resampled_test(resampled)}"
        elif any(map(is_resampled, self.pairs)) and not question.over:
            layout += ", independent as stated"
        if question.by:
            layout += f"; a benchmark for each {' and '.join(question.by)}"
        scores, single = (tuple(entry.score for entry in entries) for entries in (placed, runs))
        return ReadScores(
            question, scores, single, self.pair, layout, better, unit, tuple(notes), resampled, self._spreads(placed)
        )

    def _resampled(self, placed: Sequence[_Placed]) -> float:
        rows: dict[str, list[int]] = defaultdict(list)
        for entry in placed:
            rows[entry.score.benchmark].append(entry.row)
        cells = {name: [name_of(value) for value in self.table.column(name)] for name in self.pairs}
        columns = {name: [[values[row] for row in each] for each in rows.values()] for name, values in cells.items()}
        question = self.question
        return pairing_ratio(self.table.name, columns, question.resampled, independent=question.independent)

    def _means(self, runs: Sequence[_Placed]) -> list[_Placed]:
        """The mean of each arm on each data set; what tells its rows apart must be repetitions."""
        cells: dict[tuple[str, str], list[_Placed]] = defaultdict(list)
        for entry in runs:
            cells[entry.score.pair, entry.score.arm].append(entry)
        columns = {name: self.table.column(name) for name in self.table.columns if name != self.question.metric}
        for (place, arm), entries in cells.items():
            for name, values in columns.items() if len(entries) > 1 else ():
                apart = {name_of(values[entry.row]) for entry in entries}
                repeats = name in (*VALUES, *PAIRS) or is_resampled(name) or all(map(_is_number, apart))
                if len(apart) > 1 and (not repeats or PARTS & {value.lower() for value in apart}):
                    raise HarnessError(
                        f"{self.table.place(entries[1].row)}: rows of {arm} on {place} differ in '{name}' "
                        f"({_sorted_text(apart)}); keep one with --where {name}=…, or name it a data set with --over"
                    )
        firsts = [entries[0] for entries in cells.values()]
        means = [sum(entry.score.value for entry in entries) / len(entries) for entries in cells.values()]
        return [
            replace(first, score=replace(first.score, value=mean)) for first, mean in zip(firsts, means, strict=True)
        ]

    def _left_out(self) -> Iterator[str]:
        """Notes on arms and values that were left out: to choose is a look."""
        if self.arm_column is not None:
            names = names_in(self.table.column(self.arm_column)[row] for row in self.rows)
            if others := [name for name in names if name and name not in self.question.arms]:
                yield f"the table has {len(others)} more in '{self.arm_column}', not compared: {_first_of(others)}"
        for column, value in self.question.where:
            names = [name for name in names_in(self.table.column(column)) if name and not is_same(name, value)]
            if others := [name for name in names if name.lower() not in PARTS]:
                yield f"the table has {len(others)} more in '{column}', not read: {_first_of(others)}"

    def _check_arms(self) -> None:
        both = [arm for arm in self.question.methods if arm in self.question.against]
        if both and len(self.question.arms) == 1:
            raise HarnessError(f"'{both[0]}' is compared with itself; name another arm with --against")
        if not self.question.methods or not self.question.against:
            raise HarnessError("a method and a baseline are needed: --method A --against B")

    def _kept(self) -> list[int]:
        kept = list(range(len(self.table.rows)))
        for column, value in self.question.where:
            values = self.table.column(column)
            kept = [row for row in kept if is_same(values[row], value)]
            if not kept:
                valid = choices(names_in(values), value)
                raise HarnessError(f"{self.table.name}: no row has '{value}' in the column '{column}'; {valid}")
        return kept

    def _spreads(self, placed: Sequence[_Placed]) -> dict[tuple[str, str], tuple[float, int]]:
        """sd and number of runs of every published mean."""
        sd, n, result = self.question.sd, self.question.n, {}
        if sd is None or n is None:
            return {}
        for entry in placed:
            place, cells = self.table.place(entry.row), {name: self.table.column(name)[entry.row] for name in (sd, n)}
            spread, size = (number_in(cells[name], place, name) for name in (sd, n))
            if not (0 <= spread < math.inf and size >= 2 and size == int(size)):
                message = "an sd of at least 0 and a whole number of runs of at least 2 are needed"
                raise HarnessError(f"{place}: {sd} {cells[sd]}, {n} {cells[n]}; {message}")
            result[entry.score.benchmark, entry.score.arm] = (spread, int(size))
        return result

    # layouts

    def _placed(self) -> tuple[list[_Placed], str]:
        """Every number of a compared arm, and the layout in words."""
        arms = self.question.arms
        if self.question.arm_column is None and set(arms) <= set(self.table.columns):
            return self._wide({arm: arm for arm in arms})
        self.arm_column = self._arm_column()
        if self.arm_column is not None:
            return self._long(self.arm_column)
        named = {arm: column for arm in arms if (column := self._joined_column(arm)) is not None}
        if len(named) == len(arms):
            return self._wide(named)
        raise HarnessError(self._no_arms())

    def _joined_column(self, arm: str) -> str | None:
        """``adam_accuracy``, ``accuracy/adam`` and the like."""
        metric = self.question.metric
        joined = {f"{first}{sign}{other}" for sign in "_-./ :" for first, other in ((arm, metric), (metric, arm))}
        listed = [column for column in self.table.columns if column in joined]
        return listed[0] if len(listed) == 1 else None

    def _arm_column(self) -> str | None:
        table, column = self.table, self.question.arm_column
        if column is not None:
            table.must_have(column)
            values = names_in(table.column(column))
            for arm in self.question.arms:
                if arm not in values:
                    raise HarnessError(f"{table.name}: the column '{column}' has no '{arm}'; {choices(values, arm)}")
            return column
        arms = set(self.question.arms)
        holding = [
            name for at, name in enumerate(table.columns) if arms <= {name_of(table.rows[row][at]) for row in self.rows}
        ]
        if len(holding) > 1:
            listed = " and ".join(f"'{name}'" for name in holding)
            raise HarnessError(f"{table.name}: the columns {listed} both have the arms; name one with --arm-column")
        return holding[0] if holding else None

    def _no_arms(self) -> str:
        table, arms = self.table, self.question.arms
        values = {column: names_in(table.column(column)) for column in table.columns}
        many, best = max((sum(arm in values[column] for arm in arms), column) for column in table.columns)
        if many:
            missing = next(arm for arm in arms if arm not in values[best])
            return f"{table.name}: the column '{best}' has no '{missing}'; {choices(values[best], missing)}"
        return (
            f"{table.name}: no column has the values {', '.join(arms)} or these names. Columns: "
            f"{', '.join(table.columns)}"
        )

    def _long(self, arm_column: str) -> tuple[list[_Placed], str]:
        """One row a result, or one row a number: arms in a column."""
        table, metric = self.table, self.question.metric
        arms = [name_of(value) for value in table.column(arm_column)]
        rows = [row for row in self.rows if arms[row] in self.question.arms]
        value_column, layout = metric, f"a row a result, arms in '{arm_column}'"
        if metric not in table.columns:
            name_column, column = column_called(table.columns, NAMES), column_called(table.columns, VALUES)
            if name_column is None or column is None:
                numeric = [name for name in table.columns if any(map(_is_number, table.column(name)[:100]))]
                valid = choices(numeric or table.columns, metric)
                raise HarnessError(f"{table.name} has no column '{metric}'; {valid}")
            rows = self._of_metric(rows, name_column)
            value_column = column
            layout = f"a row a number, arms in '{arm_column}', metrics in '{name_column}', numbers in '{value_column}'"
        placed = [self._score(arms[row], value_column, row) for row in rows]
        self._check_signs(value_column, placed)
        return placed, layout

    def _wide(self, columns: dict[str, str]) -> tuple[list[_Placed], str]:
        """A column an arm; ``columns``: by arm."""
        name_column, rows = column_called(self.table.columns, NAMES), self.rows
        if name_column is not None and name_column not in self.question.by:
            rows = self._of_metric(rows, name_column)
        placed = [self._score(arm, column, row) for arm, column in columns.items() for row in rows]
        return placed, "a column an arm"

    def _of_metric(self, rows: Sequence[int], column: str) -> list[int]:
        names, metric = [name_of(value) for value in self.table.column(column)], self.question.metric
        chosen = [row for row in rows if names[row] == metric]
        if not chosen:
            valid = choices([names[row] for row in rows], metric)
            raise HarnessError(f"{self.table.name}: the column '{column}' has no '{metric}'; {valid}")
        return chosen

    def _score(self, arm: str, column: str, row: int) -> _Placed:
        cells, place = dict(zip(self.table.columns, self.table.rows[row], strict=True)), self.table.place(row)
        names, value = {name: name_of(cells[name]) for name in self.pairs}, cells[column]
        if empty := [name for name, text in names.items() if not text]:
            raise HarnessError(f"{place}: the column '{empty[0]}', which pairs results, is empty")
        number = number_in(value.strip()[:-1] if _is_percentage(value) else value, place, column)
        benchmark, pair = " · ".join(name_of(cells[name]) for name in self.question.by), " · ".join(names.values())
        return _Placed(ArmScore(arm, benchmark, pair, number), row)

    # checks

    def _check_signs(self, column: str, placed: Sequence[_Placed]) -> None:
        values = self.table.column(column)
        signed = [entry.row for entry in placed if _is_percentage(values[entry.row])]
        plain = [entry.row for entry in placed if entry.row not in signed and not math.isnan(entry.score.value)]
        if signed and plain:
            raise HarnessError(
                f"{self.table.place(signed[0])}: '{values[signed[0]]}' has a percent sign, '{values[plain[0]]}' in "
                f"line {self.table.lines[plain[0]]} has none; write all in one way"
            )

    def _check_duplicates(self, placed: Sequence[_Placed]) -> None:
        table, metric = self.table, self.question.metric
        first: dict[tuple[str, str, str], int] = {}
        for entry in placed:
            score, row = entry.score, entry.row
            other = first.setdefault((score.arm, score.benchmark, score.pair), row)
            if other == row:
                continue
            cells = zip(table.columns, table.rows[other], table.rows[row], strict=True)
            apart = [(name, value) for name, left, value in cells if left != value and name not in (metric, *VALUES)]
            advice = "nothing tells them apart: keep one of them"
            resamples = [name for name, _ in apart if is_resampled(name) and name not in self.question.by]
            if resamples:
                columns = " ".join(f"--pair {name}" for name in (*self.pairs, *resamples))
                advice = f"they differ in {', '.join(map(repr, resamples))}: pair by all of them with {columns}"
            elif apart:
                name, value = apart[0]
                advice = (
                    f"they differ in {', '.join(repr(column) for column, _ in apart[:LISTED])}: name what makes them "
                    f"different benchmarks with --by {name}, or keep one with --where {name}={name_of(value)}"
                )
            where = f" on {score.benchmark}" if score.benchmark else ""
            raise HarnessError(
                f"{table.place(row)}: a second {metric} of {score.arm}{where} for {self.pair} {score.pair}, after "
                f"line {table.lines[other]}; {advice}"
            )

    def _checked_unit(self, placed: Sequence[_Placed]) -> str:
        """The named unit, or the one that the numbers prove."""
        table, metric, unit = self.table, self.question.metric, self.question.unit.lower()
        finite = [entry for entry in placed if math.isfinite(entry.score.value)]
        if not finite:
            raise HarnessError(f"{table.name}: no row of {', '.join(self.question.arms)} has a number for {metric}")
        small = [entry for entry in finite if 0 < entry.score.value <= 1]
        large = [entry for entry in finite if entry.score.value > 1]
        outside = next((entry for entry in finite if not 0 <= entry.score.value <= 1), None)
        if unit == "percent" and not large:
            raise HarnessError(f"{table.name}: --unit percent, and every {metric} lies in [0, 1]; say --unit fraction")
        if unit == "fraction" and outside is not None:
            raise HarnessError(
                f"{table.place(outside.row)}: --unit fraction, and {metric} is {outside.score.value:g}; say --unit "
                "percent"
            )
        if unit or SHARE.search(metric.lower()) is None:
            return self.question.unit
        if small and large and max(entry.score.value for entry in large) > 1.5:
            raise HarnessError(
                f"{table.place(small[0].row)}: {metric} is {small[0].score.value:g} here and "
                f"{large[0].score.value:g} in line {table.lines[large[0].row]}: fractions and percent mixed? Write all "
                "in one way, or say --unit percent if both are percent"
            )
        return "fraction" if small and not large else "percent" if large and not small else ""

    def _without_number(self, placed: Sequence[_Placed]) -> Iterator[str]:
        lines: dict[str, list[str]] = defaultdict(list)
        for entry in placed:
            if not math.isfinite(entry.score.value):
                lines[entry.score.arm].append(str(self.table.lines[entry.row]))
        for arm in self.question.arms:
            if arm in lines:
                word = "line" if len(lines[arm]) == 1 else "lines"
                yield f"{arm} has no finite number in {word} {_first_of(lines[arm])}: counted as failed"

    def _without_partner(self, placed: Sequence[_Placed]) -> list[str]:
        pairs: dict[tuple[str, str], set[str]] = defaultdict(set)
        for entry in placed:
            pairs[entry.score.benchmark, entry.score.arm].add(entry.score.pair)
        if self.question.over:
            return self._incomplete(pairs)
        notes, common = [], 0
        benchmarks = dict.fromkeys(benchmark for benchmark, _ in pairs)
        for benchmark, method, other in product(benchmarks, self.question.methods, self.question.against):
            if method == other:
                continue
            where = f" on {benchmark}" if benchmark else ""
            common += len(pairs[benchmark, method] & pairs[benchmark, other])
            for arm, partner in ((method, other), (other, method)):
                if alone := pairs[benchmark, arm] - pairs[benchmark, partner]:
                    notes.append(f"{arm} has {self.pair} {_sorted_text(alone)}{where}, {partner} has not: dropped")
        if not common:
            sides = {arm: set().union(*(pairs[name, arm] for name in benchmarks)) for arm in self.question.arms}
            listed = "; ".join(f"{arm} has {_sorted_text(side) if side else 'none'}" for arm, side in sides.items())
            raise HarnessError(
                f"{self.table.name}: no {self.pair} is common to {' and '.join(self.question.arms)}: {listed}. "
                "Unpaired results are not judged: run both under the same seeds, or name another column with --pair"
            )
        return list(dict.fromkeys(notes))

    def _incomplete(self, pairs: Mapping[tuple[str, str], set[str]]) -> list[str]:
        """A note on data sets that lack an arm."""
        every = set().union(*pairs.values())
        lacking = {place for place in every if any(place not in pairs["", arm] for arm in self.question.arms)}
        if not any(pairs["", method] & pairs["", other] for method, other in self.question.pairs):
            raise HarnessError(f"{self.table.name}: no {self.pair} is common to two of {', '.join(self.question.arms)}")
        note = f"{len(lacking)} of {len(every)} ({_sorted_text(lacking)}) lack an arm: not in ranks, in pairs with both"
        return [note] if lacking else []


def _is_number(value: object) -> bool:
    number = score_of(value)
    return number is not None and not math.isnan(number)


def _is_percentage(value: object) -> bool:
    return isinstance(value, str) and value.strip().endswith("%") and score_of(value.strip()[:-1]) is not None


def _sorted_text(names: Iterable[str]) -> str:
    """Names in a message, numbers by size."""
    return _first_of(sorted(names, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name)))


def _first_of(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
