"""The comparison to make in a table, and its pairing columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from harness.base.tables import DataTable
from harness.base.values import names_in
from harness.errors import HarnessError
from harness.imports.resampling import Ratio
from harness.imports.result_files import column_called

ARMS = ("arm", "method", "algorithm", "model", "classifier", "optimizer", "approach", "system")
"""Columns of the arms, if none is named and all are compared."""
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


@dataclass(frozen=True, slots=True)
class TableQuestion:
    """The comparison to make, and how to read the table.

    Attributes:
        methods: arms, as the table names them; each is compared with each of ``against``.
        pair: the columns that pair results; none: one of ``PAIRS``.
        by: columns whose values are benchmarks.
        over: columns whose values are data sets, the pairs of signed-rank tests of their means; without ``methods``
            every arm is compared with every other.
        scope: ``each`` benchmark is a test, the effect is in ``all`` of them, or it is their ``mean``.
        better: ``higher`` or ``lower``; None: as the metric's name says.
        unit: of the metric; '' where it is unknown.
        primary: tests that were announced before results: a benchmark, an arm, or several of them with ``/`` between.
        smallest: the smallest effect size of interest, in the metric's unit; without it no verdict is 'no effect'.
        where: column and value of the rows that are read.
        arm_column: the column of the arms, where several could be.
        deterministic: arms that may have one score in every row, as a dummy baseline.
        sd: the column of sds beside published means; ``n``: of the numbers of runs behind them. They have no pairs.
        resampled: n_test/n_train of pairs that split one data set; ``k-fold``: of the folds in the table.
        independent: pairs named like splits or folds have separate data.
    """

    methods: tuple[str, ...]
    against: tuple[str, ...]
    metric: str
    pair: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    scope: str = "each"
    better: str | None = None
    unit: str = ""
    primary: tuple[str, ...] = ()
    smallest: float | None = None
    where: tuple[tuple[str, str], ...] = ()
    arm_column: str | None = None
    alpha: float = 0.05
    on_divergence: str = "invalid"
    deterministic: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    sd: str | None = None
    n: str | None = None
    resampled: Ratio = None
    independent: bool = False

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.methods, *self.against)))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The comparisons: each method with each of ``against``, of all arms with each other once."""
        if self.methods == self.against:
            return list(combinations(self.methods, 2))
        return [(method, other) for method, other in product(self.methods, self.against) if method != other]


def of_every_arm(table: DataTable, question: TableQuestion, rows: Sequence[int]) -> TableQuestion:
    """The question with every arm of the table where none is named."""
    column = question.arm_column or column_called(table.columns, ARMS)
    if column is None:
        raise HarnessError(
            f"{table.name}: no column is named {', '.join(ARMS[:4])} …; name the arms' column with "
            f"--arm-column, or arms with --method and --against. Columns: {', '.join(table.columns)}"
        )
    values = table.column(column)
    arms = tuple(names_in(values[row] for row in rows))
    return replace(question, methods=question.methods or arms, against=question.against or arms, arm_column=column)


def pair_columns(table: DataTable, question: TableQuestion) -> tuple[str, ...]:
    """The columns that pair results; none for published means.

    Raises:
        HarnessError: no column does, or options contradict each other.
    """
    if question.sd is not None or question.n is not None:
        return _published_columns(table, question)
    if question.over:
        return _over_columns(table, question)
    for name in question.pair:
        table.must_have(name)
    column = column_called(table.columns, PAIRS)
    if column is None and not question.pair:
        raise HarnessError(
            f"{table.name}: no column pairs the results; name one with --pair, as in --pair seed. Columns: "
            f"{', '.join(table.columns)}. Results that share nothing (no seed, no fold, no split) cannot be "
            "judged: run both arms under common seeds"
        )
    return question.pair or (str(column),)


def _published_columns(table: DataTable, question: TableQuestion) -> tuple[str, ...]:
    if question.sd is None or question.n is None:
        raise HarnessError("published means need both --sd COLUMN and --n COLUMN, the number of runs behind a mean")
    _leave_out(question, "--sd compares published means, unpaired", "pair", "resampled", "independent", "over")
    if question.scope != "each":
        raise HarnessError(f"--sd compares published means one by one: leave out --scope {question.scope}")
    table.must_have(question.sd)
    table.must_have(question.n)
    return ()


def _over_columns(table: DataTable, question: TableQuestion) -> tuple[str, ...]:
    _leave_out(question, "--over makes a data set the unit", "pair", "by", "resampled", "independent", "primary")
    if question.scope != "each":
        raise HarnessError(f"--over makes a data set the unit: leave out --scope {question.scope}")
    for name in question.over:
        table.must_have(name)
    return question.over


def _leave_out(question: TableQuestion, reason: str, *names: str) -> None:
    for name in names:
        if getattr(question, name):
            raise HarnessError(f"{reason}: leave out --{name}")


def better_of(metric: str) -> str:
    """The direction that a metric's name states.

    Raises:
        HarnessError: it states none, or both.
    """
    name = metric.lower().replace("_", " ").replace("-", " ")
    higher, lower = HIGHER.search(name) is not None, LOWER.search(name) is not None
    if higher == lower:
        raise HarnessError(f"is a higher or a lower {metric} better? Say --better higher or --better lower")
    return "higher" if higher else "lower"
