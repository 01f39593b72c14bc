"""Ablations: each arm of role ``ablation`` against the arm that it changes, with intervals. Exploratory.

Where ablations vary two settings together they make a factorial: its grid of arms is found here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from harness.stats import paired_t
from harness.store import Reader
from harness.suite.models import Arm
from harness.vocabulary import SLOTS, Role, Tone
from reports import formatting
from reports.data import sql
from reports.data.suite_results import BenchmarkResults, SuiteResults

Grid = Mapping[tuple[str, str], str]
"""Arm by (value of the first setting, value of the second)."""


@dataclass(frozen=True)
class Ablation:
    """One ablation arm on one benchmark: the mean paired difference to its parent, up = the ablation is better.

    Attributes:
        changed: what differs from the parent, in words.
        seeds: the differences by seed.
        sql: the statement that gave them.
    """

    benchmark: str
    arm: str
    parent: str
    changed: str
    metric: str
    unit: str
    n: int
    difference: float
    low: float
    high: float
    seeds: Mapping[int, float]
    sql: str = field(repr=False)
    stand_in: bool = False

    @property
    def contrast(self) -> str:
        """The comparison in short."""
        return f"{self.arm} − {self.parent}"

    @property
    def tone(self) -> Tone:
        """On which side of zero the interval lies."""
        return formatting.side(self.low, self.high)

    @property
    def clearness(self) -> float:
        """How many half intervals it lies from zero: so are changes of different metrics ranked."""
        return abs(self.difference) / ((self.high - self.low) / 2 or 1e-12)


def is_ablation(arm: Arm) -> bool:
    """Whether the suite runs the arm to see what a change of another one does."""
    return Role(arm.role) is Role.ABLATION


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


def parent_of(name: str, arms: Mapping[str, Arm]) -> tuple[str, str] | None:
    """The arm that an ablation names as its parent, else the one that it changes least, methods before baselines; and
    what differs.
    """
    own, named = settings_of(arms[name]), arms[name].parent
    candidates = []
    for place, (other, arm) in enumerate(arms.items()):
        if other == named if named in arms else not is_ablation(arm):
            theirs = settings_of(arm)
            keys = [key for key in dict.fromkeys([*own, *theirs]) if own.get(key) != theirs.get(key)]
            changed = ", ".join(f"{key}: {_level(own, key)}" for key in keys)
            candidates.append((len(keys), Role(arm.role) is not Role.METHOD, place, other, changed))
    if not candidates:
        return None
    *_, parent, changed = min(candidates)
    return parent, changed or "nothing in its own settings"


def ablations(reader: Reader, results: SuiteResults) -> list[Ablation]:
    """Every ablation on every benchmark that has both arms, in the benchmark's first metric."""
    rows = []
    for bench in results.benches.values():
        known = {name: results.plan.arms[name] for name in bench.arms}
        for name, arm in known.items():
            parent = parent_of(name, known) if is_ablation(arm) else None
            if parent is not None and (row := _ablation(reader, bench, name, *parent)) is not None:
                rows.append(row)
    return rows


def _ablation(reader: Reader, bench: BenchmarkResults, arm: str, parent: str, changed: str) -> Ablation | None:
    name, metric = bench.first_metric
    sign = 1 if metric.better == "higher" else -1
    asked = sql.ask(reader, sql.pairs_of(bench.body, name, metric.split, arm, parent, sign))
    seeds = {row["seed"]: row["difference"] for row in asked.rows if formatting.finite(row["difference"]) is not None}
    if not seeds:
        return None
    test = paired_t(list(seeds.values()))
    unit = formatting.unit_of_difference(metric.unit)
    return Ablation(bench.name, arm, parent, changed, name, unit, test.n, test.estimate, test.low, test.high,
                    seeds, asked.sql, bench.stand_in)  # fmt: skip


def decisive_changes(rows: Sequence[Ablation]) -> list[tuple[str, str, Ablation | None]]:
    """For each arm that is ablated, which change matters most, as (arm, sentence, row)."""
    told: list[tuple[str, str, Ablation | None]] = []
    for parent in dict.fromkeys(row.parent for row in rows):
        own = [row for row in rows if row.parent == parent]
        clear = [row for row in own if row.low > 0 or row.high < 0]
        if not clear:
            changes = formatting.count(len(own), "change")
            told.append((parent, f"no interval of its {changes} excludes zero", None))
            continue
        top = max(clear, key=lambda row: row.clearness)
        others = f"; {len(clear)} of {len(own)} intervals exclude zero" if len(own) > 1 else ""
        told.append((
            parent,
            f"{top.arm} ({top.changed}) matters most: {formatting.number(top.difference, sign=True)} {top.unit} of "
            f"{top.metric} on {top.benchmark}, 95 % interval {formatting.interval(top.low, top.high)}, "
            f"{formatting.count(top.n, 'paired seed')}{others}",
            top,
        ))  # fmt: skip
    return sorted(told, key=lambda entry: entry[2] is None)


def grids(arms: Mapping[str, Arm]) -> list[tuple[str, str, Grid]]:
    """Pairs of settings of which at least two by two combinations have an arm, all else being equal."""
    settings = {name: settings_of(arm) for name, arm in arms.items()}
    keys = sorted({key for own in settings.values() for key in own})
    varied = [key for key in keys if len({_level(own, key) for own in settings.values()}) > 1]
    complete: list[tuple[str, str, Grid]] = []
    for first, second in combinations(varied, 2):
        groups: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
        for name, own in settings.items():
            rest = tuple(_level(own, key) for key in keys if key not in (first, second))
            groups.setdefault(rest, {}).setdefault((_level(own, first), _level(own, second)), name)
        for cells in groups.values():
            rows, columns = ({cell[place] for cell in cells} for place in (0, 1))
            ablated = any(is_ablation(arms[name]) for name in cells.values())
            if ablated and len(rows) > 1 and len(columns) > 1 and len(cells) >= len(rows) * len(columns):
                complete.append((first, second, cells))
    return complete
