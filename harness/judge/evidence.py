"""The stored trials as the judge sees them, and the pairs that two arms make."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness import stats
from harness.judge.frame import Block, Frame
from harness.store.queries import Queries
from harness.vocabulary import UNFINISHED

SAME = 1e-6
"""Relative difference up to which two outcomes of one trial are equal."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored trial. ``environment`` names its class: torch version and device model.

    ``unstable`` has the (split, metric) that came out otherwise when it ran again in the same environment.
    """

    trial_id: str
    status: str
    environment: str
    results: Mapping[tuple[str, str], float] = field(default_factory=dict)
    seconds: float | None = None
    unstable: frozenset[tuple[str, str]] = frozenset()

    def value(self, metric: str, split: str | None) -> float | None:
        """A final number; without a split that of ``train``, else of the only split that has it."""
        if split is not None:
            found = self.results.get((split, metric))
        else:
            by_split = {where: value for (where, name), value in self.results.items() if name == metric}
            found = by_split.get("train", next(iter(by_split.values()), None))
        return None if found is None or math.isnan(found) else found


Evidence = Mapping[str, Record]


def read_evidence(reader: Queries, trial_ids: Iterable[str]) -> dict[str, Record]:
    """Exactly these trials, as stored; those that are not stored are absent."""
    wanted = sorted(set(trial_ids))
    sql = "SELECT trial_id, status, environment_id, wall_seconds FROM trials WHERE trial_id = ANY(?)"
    rows = reader.query(sql, [wanted]).rows
    classes = {
        name: json.dumps(info["class"], sort_keys=True) if isinstance(info, dict) and info.get("class") else name
        for name, info in reader.environments(sorted({row[2] for row in rows if row[2] is not None})).items()
    }
    results: dict[str, dict[tuple[str, str], float]] = {}
    for trial, split, metric, value in reader.results(wanted).rows:
        if value is not None:
            results.setdefault(trial, {})[split, metric] = float(value)
    unstable = _unstable(reader, {row[0]: row[2] for row in rows if row[1] == "done"}, results)
    return {
        trial: Record(
            trial, status, classes.get(environment, environment or ""), results.get(trial, {}), seconds,
            unstable.get(trial, frozenset()),
        )
        for trial, status, environment, seconds in rows
    }  # fmt: skip


def _unstable(
    reader: Queries, environments: Mapping[str, str | None], kept: Mapping[str, Mapping[tuple[str, str], float]]
) -> dict[str, frozenset[tuple[str, str]]]:
    """Numbers of trials that ran twice in one environment and differ by more than rounding."""
    found: dict[str, frozenset[tuple[str, str]]] = {}
    sql = "SELECT detail FROM events WHERE kind IN ('duplicate', 'determinism') AND detail->>'trial_id' = ANY(?)"
    for (text,) in reader.query(sql, [list(environments)]).rows:
        again = json.loads(text) if isinstance(text, str) else text
        trial = again["trial_id"]
        if again["status"] != "done" or again.get("environment_id") != environments[trial]:
            continue
        for row in again.get("results") or ():
            key = (str(row["split"]), str(row["metric"]))
            first, second = kept.get(trial, {}).get(key), row["value"]
            if first is not None and second is not None and not _equal(first, float(second)):
                found[trial] = found.get(trial, frozenset()) | {key}
    return found


def _equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=SAME)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What two arms make of their common seeds.

    ``differences`` by seed are positive in the claimed direction; ±inf where an arm diverged and the claim counts
    that as a lost pair. ``planned`` trials were asked for; ``missing`` seeds lack a result on a side, ``failed`` and
    ``diverged`` count trials, ``mismatched`` seeds ran in two environment classes.
    """

    differences: Mapping[int, float]
    method: Mapping[int, float]
    baseline: Mapping[int, float]
    planned: int
    missing: int
    failed: int
    diverged: int
    mismatched: int

    @property
    def values(self) -> list[float]:
        """Differences in the order of seeds."""
        return [self.differences[seed] for seed in sorted(self.differences)]


def pair(frame: Frame, block: Block, upper: str, lower: str, evidence: Evidence) -> Pairs:
    """Pairs of two arms; with own baselines the difference is one of gains."""
    own = frame.own_baselines if len(frame.own_baselines) == 2 else ()
    sides = (upper, lower, *own)
    cells = [block.cells.get(arm, {}) for arm in sides]
    seeds = sorted({seed for cell in cells[:2] for seed in cell})
    differences: dict[int, float] = {}
    method: dict[int, float] = {}
    baseline: dict[int, float] = {}
    missing = mismatched = 0
    for seed in seeds:
        records = [evidence.get(cell[seed]) if seed in cell else None for cell in cells]
        values = [None if one is None else _score(frame, block, one) for one in records]
        if any(value is None for value in values):
            missing += 1
            continue
        if len({one.environment for one in records if one is not None}) > 1:
            mismatched += 1
            continue
        found = [value for value in values if value is not None]
        difference = _difference(frame, block.direction, found)
        if difference is None:
            missing += 1
            continue
        differences[seed] = difference
        if math.isfinite(found[0]) and math.isfinite(found[1]):
            method[seed], baseline[seed] = found[0], found[1]
    every = [evidence.get(trial) for cell in cells for trial in cell.values()]
    status = [one.status for one in every if one is not None]
    failed, diverged = sum(one in UNFINISHED for one in status), status.count("diverged")
    return Pairs(differences, method, baseline, len(every), missing, failed, diverged, mismatched)


def _score(frame: Frame, block: Block, record: Record) -> float | None:
    """A trial's number: the worst there is where it diverged and the claim counts that as a lost pair."""
    if record.status == "diverged":
        return (-math.inf if block.better == "higher" else math.inf) if frame.on_divergence == "worst" else None
    return record.value(block.metric, block.split) if record.status == "done" else None


def _difference(frame: Frame, direction: int, found: list[float]) -> float | None:
    """Signed difference of two scores, or of two gains; None where an own baseline diverged."""
    if any(math.isinf(value) for value in found[2:]):
        return None
    upper, lower, *own = found
    if math.isinf(upper) or math.isinf(lower):
        if upper == lower:  # both diverged: neither wins
            return 0.0
        return direction * (upper - lower)
    if frame.log_ratio:
        change = float(stats.log_ratio([upper], [lower])[0])
        change -= float(stats.log_ratio([own[0]], [own[1]])[0]) if own else 0.0
    else:
        change = upper - lower - ((own[0] - own[1]) if own else 0.0)
    return None if math.isnan(change) else direction * change
