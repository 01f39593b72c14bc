"""The stored trials as the judge sees them."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.store.queries import Queries
from harness.vocabulary import UNFINISHED, Split, Status

SAME = 1e-6
"""Relative difference up to which two outcomes of one trial are equal."""
LARGEST = 1e150
"""A score beyond it is not computed with: squares of differences, and their sums, would not be finite."""


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A stored trial; ``unstable`` numbers came out otherwise when it ran again."""

    trial_id: str
    status: str
    environment: str
    results: Mapping[tuple[str, str], float] = field(default_factory=dict)
    seconds: float | None = None
    unstable: frozenset[tuple[str, str]] = frozenset()

    @property
    def done(self) -> bool:
        """True if it ended with numbers."""
        return self.status == Status.DONE

    def value(self, metric: str, split: str | None) -> float | None:
        """A final number; without a split that of ``train``, else of the only split."""
        value = self._reported(metric, split)
        return value if value is not None and abs(value) <= LARGEST else None

    def unscored(self, metric: str, split: str | None) -> str | None:
        """The text of an unusable number; with it a trial counts as failed. Else None."""
        value = self._reported(metric, split)
        if not self.done or (value is not None and abs(value) <= LARGEST):
            return None
        if value is None:
            return f"left out {metric}"
        too_large = ", whose square is not finite" if math.isfinite(value) else ""
        return f"reported {value:g} for {metric}{too_large}"

    def _reported(self, metric: str, split: str | None) -> float | None:
        if split is not None:
            return self.results.get((split, metric))
        by_split = {where: value for (where, name), value in self.results.items() if name == metric}
        return by_split.get(Split.TRAIN, next(iter(by_split.values()), None))


Evidence = Mapping[str, StoredTrial]


def read_evidence(reader: Queries, trial_ids: Iterable[str]) -> dict[str, StoredTrial]:
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
    unstable = _unstable(reader, {row[0]: row[2] for row in rows if row[1] == Status.DONE}, results)
    return {
        trial: StoredTrial(
            trial,
            status,
            classes.get(environment, environment or ""),
            results.get(trial, {}),
            seconds,
            unstable.get(trial, frozenset()),
        )
        for trial, status, environment, seconds in rows
    }


def _unstable(
    reader: Queries, environments: Mapping[str, str | None], kept: Mapping[str, Mapping[tuple[str, str], float]]
) -> dict[str, frozenset[tuple[str, str]]]:
    """Numbers of trials that ran twice in one environment and differ."""
    unstable: dict[str, frozenset[tuple[str, str]]] = {}
    sql = "SELECT detail FROM events WHERE kind IN ('duplicate', 'determinism') AND detail->>'trial_id' = ANY(?)"
    for (text,) in reader.query(sql, [list(environments)]).rows:
        again = json.loads(text) if isinstance(text, str) else text
        trial = again["trial_id"]
        if again["status"] != Status.DONE or again.get("environment_id") != environments[trial]:
            continue
        for row in again.get("results") or ():
            key = (str(row["split"]), str(row["metric"]))
            first, second = kept.get(trial, {}).get(key), row["value"]
            if first is not None and second is not None and not _equal(first, float(second)):
                unstable[trial] = unstable.get(trial, frozenset()) | {key}
    return unstable


def _equal(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second)) or math.isclose(first, second, rel_tol=SAME)


def failures(trials: Iterable[StoredTrial | None]) -> tuple[int, int]:
    """Number of (failed, diverged) trials."""
    status = [trial.status for trial in trials if trial is not None]
    return sum(item in UNFINISHED for item in status), status.count(Status.DIVERGED)


def trials_in_words(count: int) -> str:
    """``1 trial``, ``3 trials``."""
    return f"{count} trial" + "s" * (count != 1)
