"""Ablations: each arm of role ``ablation`` against the arm that it changes, with intervals. Exploratory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.stats import paired_t
from harness.store import Reader
from harness.suite.models import Arm
from harness.vocabulary import SLOTS
from reports import drawings, sql, words
from reports.addresses import slug
from reports.figure import Figure
from reports.reading import Bench, Gathered


@dataclass(frozen=True)
class Ablation:
    """One ablation arm on one benchmark: the mean paired difference to its parent, up = the ablation is better."""

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


def settings_of(arm: Arm) -> dict[str, Any]:
    """An arm's own settings, flat: slots and overrides."""
    found: dict[str, Any] = dict(arm.set)
    for slot in SLOTS:
        value = getattr(arm, slot)
        if isinstance(value, Mapping):
            found.update({f"{slot}.{key}": item for key, item in value.items()})
        elif value is not None:
            found[f"{slot}.name"] = value
    return found


def parent_of(name: str, arms: Mapping[str, Arm]) -> tuple[str, str] | None:
    """The arm that an ablation names as its parent, else the one that it changes least, methods before baselines; and
    what differs.
    """
    own = settings_of(arms[name])
    named = arms[name].parent
    best: tuple[int, int, int, str, list[str]] | None = None
    for place, (other, arm) in enumerate(arms.items()):
        if other != named if named in arms else arm.role == "ablation":
            continue
        theirs = settings_of(arm)
        keys = [key for key in dict.fromkeys([*own, *theirs]) if own.get(key) != theirs.get(key)]
        told = [f"{key}: {words.plain(own[key]) if key in own else 'default'}" for key in keys]
        rank = (len(keys), arm.role != "method", place, other, told)
        best = rank if best is None or rank[:3] < best[:3] else best
    return None if best is None else (best[3], ", ".join(best[4]) or "nothing in its own settings")


def ablations(reader: Reader, found: Gathered) -> list[Ablation]:
    """Every ablation on every benchmark that has both arms, in the benchmark's first metric."""
    rows = []
    for bench in found.benches.values():
        here = list(dict.fromkeys(link.arm for link in found.plan.links if link.benchmark == bench.name))
        known = {name: found.plan.arms[name] for name in here}
        for name, arm in known.items():
            parent = parent_of(name, known) if arm.role == "ablation" else None
            if parent is not None and (row := _ablation(reader, found, bench, name, *parent)) is not None:
                rows.append(row)
    return rows


def _ablation(reader: Reader, found: Gathered, bench: Bench, arm: str, parent: str, changed: str) -> Ablation | None:
    metrics = found.suite.benchmarks[bench.name].model.metrics
    name, metric = next(iter(metrics.items()))
    sign = 1 if metric.better == "higher" else -1
    asked = sql.ask(reader, sql.pairs_of(bench.body, name, metric.split, arm, parent, sign))
    seeds = {row["seed"]: row["difference"] for row in asked.rows if words.finite(row["difference"]) is not None}
    if not seeds:
        return None
    test = paired_t(list(seeds.values()))
    unit = words.unit_of_difference(metric.unit)
    return Ablation(bench.name, arm, parent, changed, name, unit, test.n, test.estimate, test.low, test.high,
                    seeds, asked.sql, bool(found.plan.settings[bench.name].stand_in))  # fmt: skip


def pictures(found: Gathered, rows: list[Ablation]) -> list[Figure]:
    """One figure a benchmark, the largest effect first: what is lost when a part is taken away or changed."""
    figures = []
    for bench in found.benches.values():
        own = sorted((r for r in rows if r.benchmark == bench.name), key=lambda r: -abs(r.difference))
        entries = [
            {"label": f"{row.arm} − {row.parent}", "difference": row.difference, "low": row.low, "high": row.high,
             "n": row.n, "seeds": row.seeds, "tone": tone(row)}
            for row in own
        ]  # fmt: skip
        if own:
            hatched = bool(found.plan.settings[bench.name].stand_in)
            figure = drawings.differences(
                f"ablation-{slug(bench.name)}", f"Ablations on {bench.title}: {own[0].metric}", own[0].unit, entries,
                own[0].sql, hatched,
                "Exploratory: unadjusted paired t intervals; right = the ablation is better than the arm it changes.",
            )  # fmt: skip
            figures += [figure] if figure else []
    return figures


def tone(row: Ablation) -> str:
    """Whether the interval lies on one side of zero."""
    return words.side(row.low, row.high)


def most(rows: list[Ablation]) -> list[tuple[str, str, Ablation | None]]:
    """For each arm that is ablated, which change matters most, as (arm, sentence, row)."""
    found: list[tuple[str, str, Ablation | None]] = []
    for parent in dict.fromkeys(row.parent for row in rows):
        own = [row for row in rows if row.parent == parent]
        clear = [row for row in own if row.low > 0 or row.high < 0]
        if not clear:
            found.append((parent, f"no interval of its {words.count(len(own), 'change')} excludes zero", None))
            continue
        top = max(clear, key=lambda row: abs(row.difference) / _spread(row))
        others = f"; {len(clear)} of {len(own)} intervals exclude zero" if len(own) > 1 else ""
        found.append((parent, (
            f"{top.arm} ({top.changed}) matters most: {words.number(top.difference, sign=True)} {top.unit} of "
            f"{top.metric} on {top.benchmark}, 95 % interval {words.interval(top.low, top.high)}, "
            f"{words.count(top.n, 'paired seed')}{others}"
        ), top))  # fmt: skip
    return sorted(found, key=lambda one: one[2] is None)


def _spread(row: Ablation) -> float:
    """Half the interval: changes of different metrics are ranked by how far they stand out of it."""
    return (row.high - row.low) / 2 or 1e-12
