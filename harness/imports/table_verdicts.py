"""A verdict from a table of results: no suite, no training, nothing stored."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base.tables import DataTable
from harness.base.values import name_of
from harness.errors import HarnessError, choices
from harness.imports.over_datasets import OverDatasets, oriented, over_datasets, shares_of
from harness.imports.published_means import published_rows
from harness.imports.result_files import table_of
from harness.imports.table_question import TableQuestion
from harness.imports.table_scores import read_scores
from harness.judge.comparing import (
    ArmScore,
    judge_scores,
    of_datasets,
    pair_numbers,
    table_claim,
    table_designs,
    with_families,
)
from harness.judge.correction import correction_name
from harness.judge.design import ClaimDesign
from harness.judge.detail import EffectSize, Ends
from harness.judge.resampled import resampled_test
from harness.judge.rows import VerdictRow
from harness.vocabulary import Verdict

if TYPE_CHECKING:
    import pandas as pd

SCOPES = ("each", "all", "mean")
MOST_PRIMARY = 5
"""As in a suite: more announced tests announce nothing."""


@dataclass(frozen=True, slots=True)
class TableVerdict:
    """The verdict of one comparison.

    Attributes:
        test: its name, as ``cifar10: adamp − adam``.
        word: the verdict.
        difference: method against baseline, up = better, in the metric's unit (times: mean logarithm of the ratio).
        low: lower end of its 95 % interval (1 − α), unadjusted; ``high``: the upper one.
        adjusted_p: after the correction of its family; it decides.
        detectable: the difference that this many pairs would show with 80 % power.
        decided_by: the test.
        share_better: P(method > against) over pairs, ties counted half; ``share_low`` and ``share_high`` its interval.
        shares: over data sets, probabilities that loss, neither or gain is practically the largest.
        row: the record of a verdict, as suites have it.
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
    decided_by: str
    share_better: float | None
    share_low: float | None
    share_high: float | None
    shares: tuple[float, float, float] | None
    row: VerdictRow = field(repr=False)

    @property
    def meaning(self) -> str:
        """The verdict in one clause; the reason of an invalid comparison."""
        return self.row.detail.reason or Verdict.of(self.word).meaning

    @property
    def share_text(self) -> str:
        """P(method > against) with its interval; empty without pairs."""
        if self.share_better is None:
            return ""
        if self.share_low is None or self.share_high is None:
            return f"{self.share_better:.2f}"
        return f"{self.share_better:.2f} [{self.share_low:.2f}, {self.share_high:.2f}]"


@dataclass(frozen=True, slots=True)
class TableVerdicts:
    """The verdicts of a table: a sequence, a data frame, a page.

    Attributes:
        pair: the column that pairs results, or several with ``and``.
        layout: how the table was understood.
        notes: results that were dropped or count as failed.
        correction: of the one family, or of the announced tests and the others.
        over: the methods by average rank, where data sets are the unit.
    """

    table: DataTable = field(repr=False)
    question: TableQuestion
    metric: str
    better: str
    unit: str
    pair: str
    layout: str
    notes: tuple[str, ...]
    correction: str
    verdicts: tuple[TableVerdict, ...]
    scores: tuple[ArmScore, ...] = field(repr=False)
    over: OverDatasets | None = field(default=None, repr=False)

    def __iter__(self) -> Iterator[TableVerdict]:
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, test: int | str) -> TableVerdict:
        if isinstance(test, int):
            return self.verdicts[test]
        return next(verdict for verdict in self.verdicts if verdict.test == test)

    def records(self) -> list[dict[str, str | float | None]]:
        """The numbers of each verdict by name."""
        names = [field.name for field in fields(TableVerdict) if field.name != "row"]
        return [
            {name: getattr(verdict, name) for name in names} | {"meaning": verdict.meaning} for verdict in self.verdicts
        ]

    def frame(self) -> pd.DataFrame:
        """The verdicts as a data frame, one row each."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def write_page(self, path: str | Path) -> Path:
        """Write the verdicts and their evidence as one HTML file; return its path."""
        from harness.registry.shipped import page_writer

        written: Path = page_writer("comparison")(self, Path(path))
        return written

    def _repr_html_(self) -> str:
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


def verdicts_of(data: Any, question: TableQuestion) -> TableVerdicts:
    """Judge a table: every method against every baseline, on every benchmark or over all.

    Args:
        data: a file, a data frame, columns by name, or rows by name.

    Raises:
        HarnessError: the table lacks something, or leaves a doubt that an option can settle.
    """
    for option, name, valid in (
        ("scope", question.scope, SCOPES),
        ("on-divergence", question.on_divergence, ("invalid", "worst")),
    ):
        if name not in valid:
            raise HarnessError(f"--{option} '{name}': {choices(valid, name)}")
    if not 0 < question.alpha < 1:
        raise HarnessError(f"--alpha {question.alpha:g}: a level between 0 and 1 is expected, as 0.05")
    table = table_of(data)
    read = read_scores(table, question)
    question = read.question
    scores = [replace(score, benchmark=score.benchmark or table.name) for score in read.scores]
    claim = table_claim(
        question.metric,
        read.better,
        read.unit,
        smallest=question.smallest,
        scope=question.scope,
        alpha=question.alpha,
        on_divergence=question.on_divergence,
    )
    claim = of_datasets(claim) if question.over else claim
    perfect = _perfect(read.better, read.unit)
    pairs = oriented(question.pairs, scores, read.better) if question.methods == question.against else question.pairs
    designs = table_designs(claim, pairs, scores, perfect, read.resampled)
    designs = _with_deterministic(designs, question)
    primary = _announced(question.primary, [design.claim_id for design in designs])
    now = datetime.now(UTC).replace(tzinfo=None)
    if question.sd is not None:
        rows = published_rows(with_families(designs, primary), scores, _placed(read.spreads, table.name), now)
    else:
        rows = judge_scores(designs, scores, primary, now)
    verdicts = tuple(map(_verdict, rows))
    return TableVerdicts(
        table,
        question,
        question.metric,
        read.better,
        read.unit,
        read.pair,
        read.layout,
        read.notes,
        _correction(verdicts),
        verdicts,
        tuple(scores),
        over_datasets(rows, scores, read.runs, read.better) if question.over else None,
    )


def judge_table(
    table: Any,
    *,
    metric: str,
    method: str | Sequence[str] = (),
    against: str | Sequence[str] = (),
    by: str | Sequence[str] = (),
    primary: str | Sequence[str] = (),
    where: Mapping[str, str | float] | None = None,
    **options: Any,
) -> TableVerdicts:
    """Judge a table of results: is the method better than the baseline?

    The table has a row a result (a column names the arm) or a column an arm. All comparisons share one correction.

    Args:
        table: a data frame (pandas, Polars, Arrow), columns by name, rows by name, or a file as the command reads it.
        method: the arm that should be better, or several.
        against: the arm or arms to compare each method with.
        metric: as the table names it.
        by: columns whose values are benchmarks.
        primary: tests that were announced before results, as ``cifar10/adamp/adam`` or a part of it.
        where: column and value of the rows that are read.
        options: ``pair`` and ``over`` (a column or several), ``scope``, ``better``, ``unit``, ``smallest``,
            ``arm_column``, ``alpha``, ``on_divergence``, ``deterministic``, ``resampled``, ``independent``, ``sd`` and
            ``n``, as :class:`TableQuestion` has them.

    Raises:
        HarnessError: the table lacks something, or leaves a doubt that an argument can settle.
    """
    valid = [field.name for field in fields(TableQuestion)]
    for name in options:
        if name not in valid:
            raise HarnessError(f"unknown option '{name}'; {choices(valid, name)}")
    rows = tuple((str(column), name_of(value)) for column, value in (where or {}).items())
    options["over"] = _names(options.get("over", ()))
    options["deterministic"] = _names(options.get("deterministic", ()))
    columns, announced = (_names(options.pop("pair", None) or ()), _names(by)), _names(primary)
    question = TableQuestion(
        _names(method), _names(against), metric, *columns, primary=announced, where=rows, **options
    )
    return verdicts_of(table, question)


def _placed(
    spreads: Mapping[tuple[str, str], tuple[float, int]], table: str
) -> dict[tuple[str, str], tuple[float, int]]:
    return {(benchmark or table, arm): values for (benchmark, arm), values in spreads.items()}


def _with_deterministic(designs: Sequence[ClaimDesign], question: TableQuestion) -> list[ClaimDesign]:
    for arm in question.deterministic:
        if arm not in question.arms:
            raise HarnessError(f"--deterministic '{arm}': no compared arm has this name; {choices(question.arms, arm)}")
    return [
        replace(design, blocks=tuple(replace(block, deterministic=question.deterministic) for block in design.blocks))
        for design in designs
    ]


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(map(str, names))


def _perfect(better: str, unit: str) -> float | None:
    if better == "higher":
        return {"percent": 100.0, "fraction": 1.0}.get(unit)
    return 0.0 if unit in ("percent", "fraction") else None


def _announced(requested: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The tests that ``--primary`` names: those whose names have all its parts."""
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
    question, effect = row.detail.question, row.detail.effect or EffectSize()
    ends, ranked = effect.share_ends or Ends(None, None), row.detail.pairing.ranked
    values = row.detail.per_benchmark[0].differences if ranked and row.detail.per_benchmark else {}
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
        detectable=effect.mde,
        family=row.detail.multiplicity.family,
        decided_by=_decided_by(row),
        share_better=effect.share_better,
        share_low=ends.low,
        share_high=ends.high,
        shares=shares_of(values, row.detail.estimand.m),
        row=row,
    )


def _decided_by(row: VerdictRow) -> str:
    """The name of the test; empty without one."""
    if row.p is None:
        return ""
    if not row.detail.per_benchmark:
        return "Welch's t test, unpaired"
    if row.detail.pairing.ranked:
        return "exact Wilcoxon signed-rank test over data sets"
    ratio = max(block.resampled for block in row.detail.blocks)
    lost = any(math.isinf(value) for entry in row.detail.per_benchmark for value in entry.differences.values())
    if lost:
        return "none: the signs of resampled pairs are not independent" if ratio else "sign-flip test"
    return resampled_test(ratio) if ratio else "paired t test"


def _end(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def differences(verdicts: TableVerdicts, verdict: TableVerdict) -> list[tuple[str, str, float]]:
    """Benchmark, pair and signed difference of each pair of a verdict."""
    names = {number: name for name, number in pair_numbers(score.pair for score in verdicts.scores).items()}
    return [
        (entry.benchmark, names[number], value)
        for entry in verdict.row.detail.per_benchmark
        for number, value in entry.differences.items()
    ]
