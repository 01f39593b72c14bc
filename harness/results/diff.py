"""Two runs side by side: what differs in recipe, code and environment, then which arms changed, paired by seed."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.base.values import texts_of
from harness.results.arm_changes import (
    ArmChange,
    Configuration,
    RequestedTrials,
    arm_changes,
    requested_trials,
    seed_pairs,
)
from harness.results.current import JUDGED_BY_ITS_END, StoredRun, find_run
from harness.store import Reader

_VERDICTS = f"""WITH judged AS (
  SELECT r.run_id, v.claim_id, v.protocol, arg_max(v.verdict, judged_at) AS verdict,
    arg_max(v.difference, judged_at) AS difference
  FROM runs r JOIN verdicts v USING (suite)
  WHERE v.scale = r.scale AND {JUDGED_BY_ITS_END}
  GROUP BY ALL)
SELECT claim_id, protocol, a.verdict, b.verdict, a.difference, b.difference
FROM (FROM judged WHERE run_id = $1) a FULL JOIN (FROM judged WHERE run_id = $2) b USING (claim_id, protocol)
WHERE (a.verdict, a.difference) IS DISTINCT FROM (b.verdict, b.difference) ORDER BY claim_id, protocol"""


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A claim's verdict under a protocol in each run; None where the run gave none."""

    claim_id: str
    protocol: str
    first: str | None
    second: str | None
    first_difference: float | None
    second_difference: float | None


@dataclass(frozen=True, slots=True)
class ContentChange:
    """A key whose value differs, as text, and its configurations (none: the run)."""

    key: str
    first: str
    second: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Differences of two runs: of their requests, then of their results.

    Attributes:
        paired: number of configurations and seeds of both runs; recipe and code are compared for these.
        missing: configurations of one run alone, or with other seeds.
    """

    first: str
    second: str
    paired: int
    shared_trials: int
    only_first: int
    only_second: int
    request: list[ContentChange]
    recipe: list[ContentChange]
    code: list[ContentChange]
    environment: list[ContentChange]
    missing: list[ContentChange]
    verdicts: list[VerdictChange]
    cells: list[ArmChange]


def difference(
    reader: Reader, first: str, second: str, *, metric: str | None = None, everything: bool = False
) -> RunDifference:
    """Compare two runs; numbers that are equal to the last bit are left out.

    Without ``everything``: ``metric`` on test alone, or all scores on test but mechanisms and dummy baselines.

    Raises:
        HarnessError: a run that is not stored, or several that begin so.
    """
    runs = [find_run(reader, text) for text in (first, second)]
    left, right = (requested_trials(reader, run.run_id) for run in runs)
    trials_of = "SELECT trial_id FROM run_trials WHERE run_id = ?"
    old, new = ({trial for (trial,) in reader.query(trials_of, [run.run_id])} for run in runs)
    return RunDifference(
        runs[0].run_id,
        runs[1].run_id,
        paired=sum(1 for _ in seed_pairs(left, right)),
        shared_trials=len(old & new),
        only_first=len(old - new),
        only_second=len(new - old),
        request=_request_changes(*runs),
        recipe=_recipe_changes(left, right),
        code=_code_changes(runs, left, right),
        environment=_environment_changes(reader, runs, left, right),
        missing=_missing(left, right),
        verdicts=[VerdictChange(*row) for row in reader.query(_VERDICTS, [run.run_id for run in runs]).rows],
        cells=arm_changes(reader, runs, (left, right), metric=metric, everything=everything),
    )


def _request_changes(left: StoredRun, right: StoredRun) -> list[ContentChange]:
    message = (
        ("suite", left.suite, right.suite),
        ("scale", left.scale, right.scale),
        ("--set", left.changed, right.changed),
    )
    return [ContentChange(key, before, after) for key, before, after in message if before != after]


def _grouped(changes: Iterable[tuple[str, str, str, Configuration]]) -> list[ContentChange]:
    cells: dict[tuple[str, str, str], dict[str, None]] = {}
    for key, before, after, (benchmark, arm) in changes:
        cells.setdefault((key, before, after), {})[f"{benchmark}/{arm}"] = None
    return [ContentChange(*change, tuple(places)) for change, places in cells.items()]


def _recipe_changes(left: RequestedTrials, right: RequestedTrials) -> list[ContentChange]:
    """Keys whose values differ at equal configuration and seed."""
    changes = []
    for cell, trial, other in seed_pairs(left, right):
        if trial.spec_id != other.spec_id:
            before, after = texts_of(trial.spec), texts_of(other.spec)
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    changes.append((key, before.get(key, "(none)"), after.get(key, "(none)"), cell))
    return _grouped(changes)


def _code_changes(runs: Sequence[StoredRun], left: RequestedTrials, right: RequestedTrials) -> list[ContentChange]:
    before, after = (run.commit or "no commit" for run in runs)
    git = [ContentChange("git commit", before, after)] if before != after else []
    changes = [
        ("fingerprint", trial.fingerprint[:12], other.fingerprint[:12], cell)
        for cell, trial, other in seed_pairs(left, right)
        if trial.fingerprint != other.fingerprint
    ]
    return git + _grouped(changes)


def _environment_changes(
    reader: Reader, runs: Sequence[StoredRun], left: RequestedTrials, right: RequestedTrials
) -> list[ContentChange]:
    """Differences of versions and hardware, of paired trials and of the runs."""
    used = Counter((trial.environment_id, other.environment_id) for _, trial, other in seed_pairs(left, right))
    used[runs[0].environment_id, runs[1].environment_id] += 0
    differing = [pair for pair in used if pair[0] != pair[1] and all(pair)]
    existing = reader.environments({name for pair in differing for name in pair})
    changes: dict[ContentChange, None] = {}
    for first, second in differing:
        before, after = texts_of(existing.get(first) or {}), texts_of(existing.get(second) or {})
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key) and not key.startswith("class."):  # versions and device state it
                changes[ContentChange(key, before.get(key, "(none)"), after.get(key, "(none)"))] = None
    return list(changes)


def _missing(left: RequestedTrials, right: RequestedTrials) -> list[ContentChange]:
    """Configurations of one run alone, and those with other seeds."""
    changes = []
    for cell in sorted(left.keys() | right.keys()):
        before, after = (_seeds(requested.get(cell, {})) for requested in (left, right))
        if before != after:
            changes.append(("seeds", before, after, cell))
    return _grouped(changes)


def _seeds(trials: Collection[int]) -> str:
    """``0–2``, ``0, 2`` or ``none``."""
    seeds = sorted(trials)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds)) or "none"
