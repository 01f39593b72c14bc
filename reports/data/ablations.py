"""Differences of two arms with their intervals, and those that ablations make. Exploratory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.judge.ablation import AblationRow, parent_of
from harness.judge.ablation import ablations as judged_ablations
from harness.judge.tests import FEWEST
from harness.stats import paired_t
from harness.store import Reader
from harness.suite.models import Arm
from harness.vocabulary import SLOTS, Role
from reports import formatting
from reports.data import sql
from reports.data.suite_results import BenchmarkResults, SuiteResults


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """A mean paired difference; an end of its interval that is unknown or infinite is None."""

    label: str
    unit: str
    n: int | None
    difference: float
    low: float | None
    high: float | None
    seeds: Mapping[Any, Any] = field(default_factory=dict, repr=False)
    verdict_tone: str = ""

    @property
    def tone(self) -> str:
        """The verdict's, else on which side of zero the interval lies."""
        return self.verdict_tone or formatting.side(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Ablation(ArmComparison):
    """One ablation arm on one benchmark: the mean paired difference to its parent, up = the ablation is better.

    Attributes:
        of_gain: both sides of a claim were changed alike; the difference is the remaining gain.
        corrected: the interval at the level corrected for all ablations, or None.
        test: the test of the judge, one for benchmarks with a common stand-in.
    """

    benchmark: str
    arm: str
    parent: str
    changed: str
    metric: str
    n: int
    low: float
    high: float
    sql: str = field(repr=False)
    stand_in_name: str = ""
    of_gain: bool = False
    corrected: tuple[float, float] | None = None
    adjusted_p: float | None = None
    test: tuple[str, str, str] = ("", "", "")

    @property
    def clear(self) -> bool:
        """True if the corrected interval excludes zero, from three pairs on."""
        return self.corrected is not None and self.n >= FEWEST and (self.corrected[0] > 0 or self.corrected[1] < 0)


def settings_of(arm: Arm) -> dict[str, Any]:
    """An arm's own settings, flat: slots and overrides."""
    settings: dict[str, Any] = dict(arm.set)
    for slot in SLOTS:
        value = getattr(arm, slot)
        if isinstance(value, Mapping):
            settings.update({f"{slot}.{key}": item for key, item in value.items()})
        elif value is not None:
            settings[f"{slot}.name"] = value
    return settings


def _level(settings: Mapping[str, Any], key: str) -> str:
    return formatting.plain(settings[key]) if key in settings else "default"


def changes(own: Arm, other: Arm) -> str:
    """Settings of an arm that differ from another's, as text."""
    ours, theirs = settings_of(own), settings_of(other)
    keys = [key for key in dict.fromkeys([*ours, *theirs]) if ours.get(key) != theirs.get(key)]
    return ", ".join(f"{key}: {_level(ours, key)}" for key in keys) or "nothing in its own settings"


def ablations(reader: Reader, results: SuiteResults) -> list[Ablation]:
    """Every ablation on every benchmark with both arms, in the first metric; the judge corrects over all."""
    judged = {
        (benchmark, row.arm, row.parent): row
        for row in judged_ablations(results.suite, results.plan, reader)
        for benchmark in (row.benchmark, *row.shares)
        if row.effect == "change"
    }
    arms = {**results.suite.model.arms, **results.plan.arms}
    parents = {name: parent_of(name, arms) for name, arm in arms.items() if arm.role == Role.ABLATION}
    return [
        _corrected(row, judged.get((bench.name, name, parent)))
        for bench in results.benches.values()
        for name in bench.arms
        if (parent := parents.get(name)) is not None and parent in bench.arms
        if (row := _ablation(reader, bench, name, parent, changes(arms[name], arms[parent]))) is not None
    ]


def _corrected(row: Ablation, judged: AblationRow | None) -> Ablation:
    """With the judge's correction, where the judge has the same difference."""
    if judged is None or judged.n != row.n:
        return row
    low, high = judged.adjusted_low, judged.adjusted_high
    corrected = None if low is None or high is None else (low, high)
    test = (judged.benchmark, judged.arm, judged.parent)
    return replace(row, corrected=corrected, adjusted_p=judged.adjusted_p, test=test)


def _ablation(reader: Reader, bench: BenchmarkResults, arm: str, parent: str, changed: str) -> Ablation | None:
    name, metric = bench.first_metric
    sign = 1 if metric.better == "higher" else -1
    requested = sql.ask(reader, sql.pairs_of(bench.body, name, metric.split, arm, parent, sign))
    seeds = {
        row["seed"]: row["difference"] for row in requested.rows if formatting.finite(row["difference"]) is not None
    }
    if not seeds:
        return None
    test = paired_t(list(seeds.values()))
    return Ablation(
        label=f"{arm} − {parent}",
        unit=formatting.unit_of_difference(metric.unit),
        n=test.n,
        difference=test.estimate,
        low=test.low,
        high=test.high,
        seeds=seeds,
        benchmark=bench.name,
        arm=arm,
        parent=parent,
        changed=changed,
        metric=name,
        sql=requested.sql,
        stand_in_name=bench.stand_in_name,
    )


def decisive_changes(rows: Sequence[Ablation]) -> list[tuple[str, str, Ablation | None]]:
    """The most important change of each ablated arm by metric, as (arm, sentence, row).

    That is the largest effect of those whose interval, corrected for all ablations, excludes zero. Effects of several
    metrics have no common size: each metric has its own.
    """
    message: list[tuple[str, str, Ablation | None]] = []
    for parent in dict.fromkeys(row.parent for row in rows):
        own = list(
            {
                row.test if row.test[0] else (row.benchmark, row.arm, row.parent): row
                for row in reversed(rows)
                if row.parent == parent
            }.values()
        )
        clear = [row for row in own if row.clear]
        if not clear:
            changes = formatting.count(len(own), "change")
            message.append((parent, f"no corrected interval of its {changes} excludes zero", None))
        for metric in sorted({row.metric for row in clear}):
            measured = [row for row in own if row.metric == metric]
            message.append(_largest(parent, measured))
    return sorted(message, key=lambda entry: entry[2] is None)


def _largest(parent: str, measured: Sequence[Ablation]) -> tuple[str, str, Ablation]:
    clear = [row for row in measured if row.clear]
    top = max(clear, key=lambda row: abs(row.difference))
    on, (low, high) = f" ({top.stand_in_name})" if top.stand_in_name else "", top.corrected or (None, None)
    others = f"; {len(clear)} of {len(measured)} such intervals exclude zero" if len(measured) > 1 else ""
    sentence = (
        f"{top.arm} ({top.changed}) matters most: {formatting.number(top.difference, sign=True)} {top.unit} of "
        f"{top.metric} on {top.benchmark}{on}, corrected 95 % interval {formatting.interval(low, high)}, "
        f"{formatting.count(top.n, 'paired seed')}{others}"
    )
    return parent, sentence, top
