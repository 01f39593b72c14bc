"""Scores from a table; every doubt is reported with its line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.base.tables import DataTable
from harness.base.values import name_of, names_in
from harness.errors import HarnessError, choices
from harness.imports.table_layout import VALUES, PlacedScore, TableReading, placed_scores
from harness.judge.comparing import ArmScore

PAIRS = ("seed", "random_seed", "rng_seed", "random_state", "fold", "split_seed", "repeat", "repetition", "replicate")
"""Columns that pair results, if the table has one and none is named."""
HIGHER = re.compile(
    r"acc|top.?[15]\b|f1|precision|recall|auc|auroc|\bap\b|\bmap\b|iou|dice|bleu|rouge|chrf|psnr|ssim|r2\b|reward|return|"
    r"win.?rate|kappa|mcc|ndcg|mrr|hit"
)
LOWER = re.compile(
    r"loss|err|perplexity|ppl|nll|\bfid\b|lpips|\bwer\b|\bcer\b|mae\b|mse\b|rmse|time|seconds|latency|memory|flops|"
    r"bits|bpc|bpb|ece|brier|regret"
)
SHARE = re.compile(r"acc|top.?[15]\b|f1|precision|recall|auc|auroc|iou|dice|err|\bwer\b|\bcer\b|win.?rate|hit|ece")
"""Metrics that people give as a share or in percent."""
LISTED = 5


@dataclass(frozen=True, slots=True)
class ReadScores:
    """Scores of a table.

    Attributes:
        pair: the column that pairs results.
        layout: how the table was understood, in a sentence.
        notes: what the reader should know: rows without a partner, without a number.
    """

    scores: tuple[ArmScore, ...]
    pair: str
    layout: str
    better: str
    unit: str
    notes: tuple[str, ...]


def read_scores(table: DataTable, reading: TableReading) -> ReadScores:
    """The scores of the compared arms.

    Raises:
        HarnessError: the table does not say them, or leaves a doubt that the options can settle.
    """
    _check_arms(reading)
    for column in (*reading.by, *(name for name, _ in reading.where)):
        table.must_have(column)
    kept = _kept(table, reading)
    pair = _pair_column(table, reading)
    cells, layout = placed_scores(table, reading, kept, pair)
    _check_duplicates(table, reading, cells, pair)
    unit = _checked_unit(table, reading, cells)
    better = reading.better or better_of(reading.metric)
    notes = [*_missing(table, cells), *_unpaired(table, reading, cells, pair)]
    description = f"{layout}; paired by '{pair}'"
    if reading.by:
        description += f"; a benchmark for each {' and '.join(reading.by)}"
    return ReadScores(tuple(cell.score for cell in cells), pair, description, better, unit, tuple(notes))


def _check_arms(reading: TableReading) -> None:
    both = [arm for arm in reading.methods if arm in reading.against]
    if both and len(reading.arms) == 1:
        raise HarnessError(f"'{both[0]}' is compared with itself; name another one with --against")
    if not reading.methods or not reading.against:
        raise HarnessError("a method and what it is held against are needed: --method A --against B")


def _kept(table: DataTable, reading: TableReading) -> list[int]:
    """The rows that are read."""
    kept = list(range(len(table.rows)))
    for column, value in reading.where:
        values = table.column(column)
        kept = [row for row in kept if name_of(values[row]) == value]
        if not kept:
            valid = choices(names_in(values), value)
            raise HarnessError(f"{table.name}: no row has '{value}' in the column '{column}'; {valid}")
    return kept


def _pair_column(table: DataTable, reading: TableReading) -> str:
    if reading.pair is not None:
        table.must_have(reading.pair)
        return reading.pair
    lowered = {column.lower(): column for column in table.columns}
    columns = [lowered[name] for name in PAIRS if name in lowered]
    if not columns:
        raise HarnessError(
            f"{table.name}: nothing says which results belong together; name the column that pairs them with --pair, "
            f"as in --pair seed. Columns: {', '.join(table.columns)}. Results that share nothing (no seed, no fold, "
            "no split) cannot be judged here: run both arms under common seeds"
        )
    return columns[0]


def _check_duplicates(table: DataTable, reading: TableReading, cells: Sequence[PlacedScore], pair: str) -> None:
    first: dict[tuple[str, str, str], PlacedScore] = {}
    for cell in cells:
        score = cell.score
        key = (score.arm, score.benchmark, score.pair)
        other = first.setdefault(key, cell)
        if other is cell:
            continue
        apart = [
            name
            for name, value, two in zip(table.columns, table.rows[other.row], table.rows[cell.row], strict=True)
            if value != two and name not in (reading.metric, *VALUES)
        ]
        where = f" on {score.benchmark}" if score.benchmark else ""
        notes = (
            f"they differ in {', '.join(repr(name) for name in apart[:LISTED])}: name what makes them different "
            f"benchmarks with --by {apart[0]}, or keep one with --where {apart[0]}="
            f"{name_of(table.rows[cell.row][table.columns.index(apart[0])])}"
            if apart
            else "nothing tells them apart: keep one of them"
        )
        raise HarnessError(
            f"{table.place(cell.row)}: a second {reading.metric} of {score.arm}{where} for {pair} {score.pair}, after "
            f"line {table.lines[other.row]}; {notes}"
        )


def _checked_unit(table: DataTable, reading: TableReading, cells: Sequence[PlacedScore]) -> str:
    """The named unit, or the one that the numbers prove."""
    finite = [cell for cell in cells if math.isfinite(cell.score.value)]
    if not finite:
        raise HarnessError(f"{table.name}: no row of {', '.join(reading.arms)} has a number for {reading.metric}")
    unit, share = reading.unit.lower(), SHARE.search(reading.metric.lower()) is not None
    small = [cell for cell in finite if 0 < cell.score.value <= 1]
    large = [cell for cell in finite if cell.score.value > 1]
    if unit == "percent" and not large:
        raise HarnessError(
            f"{table.name}: --unit percent, and every {reading.metric} lies in [0, 1]; say --unit fraction"
        )
    if unit == "fraction" and (large or any(cell.score.value < 0 for cell in finite)):
        odd = next(cell for cell in finite if not 0 <= cell.score.value <= 1)
        raise HarnessError(
            f"{table.place(odd.row)}: --unit fraction, and {reading.metric} is {odd.score.value:g}; say --unit percent"
        )
    if unit or not share:
        return reading.unit
    if small and large and max(cell.score.value for cell in large) > 1.5:
        raise HarnessError(
            f"{table.place(small[0].row)}: {reading.metric} is {small[0].score.value:g} here and "
            f"{large[0].score.value:g} in line {table.lines[large[0].row]}: fractions and percent mixed? Write all in "
            "one way, or say --unit percent if both are percent"
        )
    return "fraction" if small and not large else "percent" if large and not small else ""


def better_of(metric: str) -> str:
    """The direction that a metric's name says.

    Raises:
        HarnessError: it says none, or both.
    """
    name = metric.lower().replace("_", " ").replace("-", " ")
    higher, lower = HIGHER.search(name) is not None, LOWER.search(name) is not None
    if higher == lower:
        raise HarnessError(f"is a higher or a lower {metric} better? Say --better higher or --better lower")
    return "higher" if higher else "lower"


def _missing(table: DataTable, cells: Sequence[PlacedScore]) -> list[str]:
    """A line an arm: where it has no number."""
    notes = []
    for arm in dict.fromkeys(cell.score.arm for cell in cells):
        lines = [
            table.lines[cell.row] for cell in cells if cell.score.arm == arm and not math.isfinite(cell.score.value)
        ]
        if lines:
            where = ", ".join(map(str, lines[:LISTED])) + (
                f" and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
            )
            notes.append(f"{arm} has no finite number in line{'s' * (len(lines) > 1)} {where}: counted as failed")
    return notes


def _unpaired(table: DataTable, reading: TableReading, cells: Sequence[PlacedScore], pair: str) -> list[str]:
    """Notes on results without a partner, which are dropped."""
    seen: dict[str, dict[str, set[str]]] = {}
    for cell in cells:
        seen.setdefault(cell.score.benchmark, {}).setdefault(cell.score.arm, set()).add(cell.score.pair)
    notes, common = [], 0
    for benchmark, by_arm in seen.items():
        where = f" on {benchmark}" if benchmark else ""
        for method in reading.methods:
            for other in reading.against:
                first, two = by_arm.get(method, set()), by_arm.get(other, set())
                common += len(first & two) if method != other else 0
                for arm, partner, alone in ((method, other, first - two), (other, method, two - first)):
                    if alone and method != other:
                        notes.append(f"{arm} has {pair} {_listed(alone)}{where}, {partner} has not: dropped")
    if not common:
        sides = {
            arm: sorted({pair for by_arm in seen.values() for pair in by_arm.get(arm, ())}) for arm in reading.arms
        }
        listed = "; ".join(f"{arm} has {_listed(set(pairs)) if pairs else 'none'}" for arm, pairs in sides.items())
        raise HarnessError(
            f"{table.name}: no {pair} is common to {' and '.join(reading.arms)}: {listed}. Unpaired results are not "
            "judged: run both under the same seeds, or name another column with --pair"
        )
    return list(dict.fromkeys(notes))


def _listed(names: set[str]) -> str:
    def order(name: str) -> tuple[int, int, str]:
        return (0, int(name), "") if name.isdecimal() else (1, 0, name)

    ordered = sorted(names, key=order)
    return ", ".join(ordered[:LISTED]) + (f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else "")


def with_benchmark(scores: Sequence[ArmScore], name: str) -> list[ArmScore]:
    """Scores of a table without benchmarks, under another benchmark's name."""
    return [replace(score, benchmark=score.benchmark or name) for score in scores]
