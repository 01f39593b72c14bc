"""A verdict from a table of results: no suite, no training, nothing stored."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from harness.base.tables import DataTable
from harness.base.values import name_of
from harness.errors import HarnessError, choices
from harness.imports.result_files import table_of
from harness.imports.table_layout import TableReading
from harness.imports.table_scores import read_scores, with_benchmark
from harness.judge.comparing import ArmScore, judge_scores, pair_numbers, table_claim, table_designs
from harness.judge.correction import correction_name
from harness.judge.rows import VerdictRow
from harness.vocabulary import Verdict

if TYPE_CHECKING:
    import pandas as pd

SCOPES = ("each", "all", "mean")
MOST_PRIMARY = 5
"""As in a suite: more announced tests announce nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The question put to a table.

    Attributes:
        smallest: the smallest effect size of interest, in the metric's unit; without it no verdict is 'no effect'.
        primary: tests that were announced before results: a benchmark, an arm, or several of them with ``/`` between.
    """

    scope: str = "each"
    primary: tuple[str, ...] = ()
    smallest: float | None = None
    alpha: float = 0.05
    on_divergence: str = "invalid"


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """The verdict of one comparison.

    Attributes:
        test: its name, as ``cifar10: adamp − adam``.
        word: the verdict; ``meaning`` says it in one clause.
        difference: method against baseline, up = better, in the metric's unit (times: mean logarithm of the ratio).
        low: lower end of its 95 % interval (1 − α), unadjusted; ``high`` the upper one.
        p: of the test; ``adjusted_p`` after the correction of its family, which decides.
        detectable: the difference that this many pairs would show with 80 % power.
        row: the whole record, as a suite's verdict has it.
    """

    test: str
    benchmark: str
    method: str
    against: str
    word: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    adjusted_p: float | None
    detectable: float | None
    family: str
    row: VerdictRow = field(repr=False)

    @property
    def meaning(self) -> str:
        """The word in one clause; of an invalid comparison its reason."""
        return self.row.detail.reason or Verdict.of(self.word).meaning


@dataclass(frozen=True, slots=True)
class TableVerdicts:
    """The verdicts of a table: a sequence, a data frame, a page.

    Attributes:
        pair: the column that pairs results.
        layout: how the table was understood.
        notes: what was left out or counted as failed.
        correction: of the one family, or of the announced tests and the others.
    """

    table: DataTable = field(repr=False)
    reading: TableReading
    asked: Asked
    metric: str
    better: str
    unit: str
    pair: str
    layout: str
    notes: tuple[str, ...]
    correction: str
    verdicts: tuple[TableVerdict, ...]
    scores: tuple[ArmScore, ...] = field(repr=False)

    def __iter__(self) -> Iterator[TableVerdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, test: int | str) -> TableVerdict:
        if isinstance(test, int):
            return self.verdicts[test]
        return next(verdict for verdict in self.verdicts if verdict.test == test)

    def records(self) -> list[dict[str, Any]]:
        """A mapping a verdict: its numbers, then the whole record."""
        names = (
            "test",
            "benchmark",
            "method",
            "against",
            "word",
            "n",
            "difference",
            "low",
            "high",
            "p",
            "adjusted_p",
            "detectable",
            "family",
        )
        return [
            {name: getattr(verdict, name) for name in names} | {"meaning": verdict.meaning} for verdict in self.verdicts
        ]

    def frame(self) -> pd.DataFrame:
        """The verdicts as a data frame, one row each."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def write_page(self, path: str | Path) -> Path:
        """Write one HTML file with everything that the verdicts rest on; returns its path."""
        from harness.registry.shipped import page_writer

        written: Path = page_writer("comparison")(self, Path(path))
        return written

    def _repr_html_(self) -> str:
        """The notebook's view: a table with a forest plot."""
        from harness.registry.shipped import page_writer

        try:
            return str(page_writer("fragment")(self))
        except HarnessError:
            return f"<pre>{html.escape(str(self))}</pre>"

    def __str__(self) -> str:
        return "\n".join(
            f"{verdict.test}: {verdict.word} (n {verdict.n}, adjusted p {verdict.adjusted_p})"
            for verdict in self.verdicts
        )


def verdicts_of(data: Any, reading: TableReading, question: Asked | None = None) -> TableVerdicts:
    """Judge a table: every method against every baseline, on every benchmark or over all.

    Args:
        given: a file, a data frame, columns by name, or rows by name.

    Raises:
        HarnessError: the table does not say what is asked, or leaves a doubt that an option can settle.
    """
    question = question or Asked()
    if question.scope not in SCOPES:
        raise HarnessError(f"--scope '{question.scope}': {choices(SCOPES, question.scope)}")
    if not 0 < question.alpha < 1:
        raise HarnessError(f"--alpha {question.alpha:g}: a level between 0 and 1 is expected, as 0.05")
    table = table_of(data)
    read = read_scores(table, reading)
    scores = with_benchmark(read.scores, table.name)
    claim = table_claim(
        reading.metric,
        read.better,
        read.unit,
        smallest=question.smallest,
        scope=question.scope,
        alpha=question.alpha,
        on_divergence=question.on_divergence,
    )
    designs = table_designs(claim, reading.methods, reading.against, scores, _perfect(read.better, read.unit))
    primary = _announced(question.primary, [design.claim_id for design in designs])
    rows = judge_scores(designs, scores, primary, datetime.now(UTC).replace(tzinfo=None))
    verdicts = tuple(map(_verdict, rows))
    return TableVerdicts(
        table,
        reading,
        question,
        reading.metric,
        read.better,
        read.unit,
        read.pair,
        read.layout,
        read.notes,
        _correction(verdicts),
        verdicts,
        tuple(scores),
    )


class ComparisonOptions(TypedDict, total=False):
    """Judge a table; these are the options.

    Attributes:
        by: columns whose values are benchmarks; with ``scope="each"`` each is a separate test, with ``"all"`` the
            effect must be in every one, with ``"mean"`` it is averaged within each pair.
        better: ``higher`` or ``lower``; not given: as the metric's name says.
        unit: ``percent``, ``fraction`` or any other; ``seconds`` are compared as ratios.
        primary: tests that were announced before results, as ``cifar10/adamp/adam`` or a part of it.
        smallest: the smallest effect size of interest, in the metric's unit.
        where: column and value of the rows that count.
        arm_column: the column of the arms, where several could be.
        alpha: the level, 0.05 unless given.
        on_divergence: ``invalid`` (a score that is missing or not finite is a failure) or ``worst`` (a lost pair).
    """

    by: str | Sequence[str]
    scope: str
    better: str | None
    unit: str
    primary: str | Sequence[str]
    smallest: float | None
    where: Mapping[str, Any]
    arm_column: str | None
    alpha: float
    on_divergence: str


def judge_table(
    table: Any,
    *,
    method: str | Sequence[str],
    against: str | Sequence[str],
    metric: str,
    pair: str | None = None,
    **options: Unpack[ComparisonOptions],
) -> TableVerdicts:
    """Judge a table of results: does the method beat what it is held against?

    A row a result (a column names the arm) or a column an arm. Every comparison goes through one correction.

    Args:
        table: a data frame (pandas, Polars, Arrow), columns by name, rows by name, or a file as the command reads it.
        method: the arm that should be better, or several; ``against`` what each is held against.
        metric: as the table names it.
        pair: the column that pairs results; None: ``seed``, ``fold`` or the like.
        options: as ``ComparisonOptions``.

    Raises:
        HarnessError: the table does not say what is asked, or leaves a doubt that an argument can settle.
    """
    for name in options:
        if name not in ComparisonOptions.__annotations__:
            raise HarnessError(f"no option '{name}'; {choices(ComparisonOptions.__annotations__, name)}")
    filters = tuple((str(column), name_of(value)) for column, value in options.get("where", {}).items())
    reading = TableReading(
        _names(method),
        _names(against),
        metric,
        pair,
        _names(options.get("by", ())),
        options.get("arm_column"),
        filters,
        options.get("unit", ""),
        options.get("better"),
    )
    question = Asked(
        options.get("scope", "each"),
        _names(options.get("primary", ())),
        options.get("smallest"),
        options.get("alpha", 0.05),
        options.get("on_divergence", "invalid"),
    )
    return verdicts_of(table, reading, question)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(map(str, names))


def _perfect(better: str, unit: str) -> float | None:
    if better == "higher":
        return {"percent": 100.0, "fraction": 1.0}.get(unit)
    return 0.0 if unit in ("percent", "fraction") else None


def _announced(requested: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The tests that ``--primary`` names: each one whose name has all the parts."""
    chosen: dict[str, None] = {}
    for text in requested:
        parts = [part.strip() for part in text.split("/")]
        matching = [name for name in names if name == text or all(part in _parts(name) for part in parts)]
        if not matching:
            raise HarnessError(f"--primary '{text}': no test has it; {choices(names, text)}")
        chosen |= dict.fromkeys(matching)
    if len(chosen) > MOST_PRIMARY:
        raise HarnessError(
            f"--primary names {len(chosen)} tests, at most {MOST_PRIMARY} are announced: {', '.join(chosen)}"
        )
    return tuple(chosen)


def _parts(name: str) -> list[str]:
    place, colon, compared = name.rpartition(": ")
    return [*compared.split(" − "), *([place, *place.split(" · ")] if colon else [])]


def _correction(verdicts: Sequence[TableVerdict]) -> str:
    """``Holm over 4 tests``; of two families both."""
    corrections = []
    for family in sorted({verdict.family for verdict in verdicts}, key="primary".__ne__):
        many = sum(verdict.family == family for verdict in verdicts)
        name = correction_name(family)
        corrections.append(f"{name} over {many} test{'s' * (many > 1)}" if many > 1 else "one test, no correction")
    if len(corrections) == 2:
        return f"announced: {corrections[0]}; others: {corrections[1]}"
    return corrections[0] if corrections else ""


def _verdict(row: VerdictRow) -> TableVerdict:
    question, effect = row.detail.question, row.detail.effect
    benchmarks = question.benchmarks
    return TableVerdict(
        test=row.claim_id,
        benchmark=benchmarks[0] if len(benchmarks) == 1 else f"{question.scope} of {len(benchmarks)}",
        method=question.arm or "",
        against=question.against[0],
        word=row.verdict,
        n=row.n,
        difference=row.difference,
        low=_end(row.ci_low),
        high=_end(row.ci_high),
        p=row.p,
        adjusted_p=row.adjusted_p,
        detectable=None if effect is None else effect.mde,
        family=row.detail.multiplicity.family,
        row=row,
    )


def _end(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def differences(verdicts: TableVerdicts, verdict: TableVerdict) -> list[tuple[str, str, float]]:
    """Benchmark, pair and signed difference of what a verdict rests on."""
    names = {number: name for name, number in pair_numbers(score.pair for score in verdicts.scores).items()}
    return [
        (entry.benchmark, names[number], value)
        for entry in verdict.row.detail.per_benchmark
        for number, value in entry.differences.items()
    ]
