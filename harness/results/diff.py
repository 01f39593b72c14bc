"""Two runs side by side: what differs in recipe, code and environment, then which arms changed, paired by seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.base.values import texts_of
from harness.results.arm_changes import ArmChange, Asked, Cell, arm_changes, asked_trials, seed_pairs
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
    """A key whose value differs, as text; ``cells`` are those in which it does (empty: of the whole run)."""

    key: str
    first: str
    second: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDifference:
    """What differs between two runs: first what was asked, then what came out.

    Attributes:
        paired: cells and seeds that both runs asked for; what is said of recipe and code is said of these.
        missing: cells that only one run asked for, or with other seeds.
    """

    first: str
    second: str
    paired: int
    shared_trials: int
    only_first: int
    only_second: int
    asked: list[ContentChange]
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

    Without ``everything``: ``metric`` on test alone, or all scores on test but mechanisms and trivial predictors.

    Raises:
        HarnessError: a run that is not stored, or several that begin so.
    """
    runs = [find_run(reader, text) for text in (first, second)]
    one, two = (asked_trials(reader, run.run_id) for run in runs)
    trials_of = "SELECT trial_id FROM run_trials WHERE run_id = ?"
    old, new = ({trial for (trial,) in reader.query(trials_of, [run.run_id])} for run in runs)
    return RunDifference(
        runs[0].run_id,
        runs[1].run_id,
        paired=sum(1 for _ in seed_pairs(one, two)),
        shared_trials=len(old & new),
        only_first=len(old - new),
        only_second=len(new - old),
        asked=_asked_changes(*runs),
        recipe=_recipe_changes(one, two),
        code=_code_changes(runs, one, two),
        environment=_environment_changes(reader, runs, one, two),
        missing=_missing(one, two),
        verdicts=[VerdictChange(*row) for row in reader.query(_VERDICTS, [run.run_id for run in runs]).rows],
        cells=arm_changes(reader, runs, (one, two), metric=metric, everything=everything),
    )


def _asked_changes(one: StoredRun, two: StoredRun) -> list[ContentChange]:
    """What was asked for: suite, scale, ``--set``."""
    told = (("suite", one.suite, two.suite), ("scale", one.scale, two.scale), ("--set", one.changed, two.changed))
    return [ContentChange(key, before, after) for key, before, after in told if before != after]


def _grouped(changes: Iterable[tuple[str, str, str, Cell]]) -> list[ContentChange]:
    """Changes of one key and one pair of values, with the cells that have them."""
    cells: dict[tuple[str, str, str], dict[str, None]] = {}
    for key, before, after, (benchmark, arm) in changes:
        cells.setdefault((key, before, after), {})[f"{benchmark}/{arm}"] = None
    return [ContentChange(*change, tuple(places)) for change, places in cells.items()]


def _recipe_changes(one: Asked, two: Asked) -> list[ContentChange]:
    """The keys of the content that differ at equal cell and seed."""
    changes = []
    for cell, trial, other in seed_pairs(one, two):
        if trial.spec_id != other.spec_id:
            before, after = texts_of(trial.spec), texts_of(other.spec)
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    changes.append((key, before.get(key, "(none)"), after.get(key, "(none)"), cell))
    return _grouped(changes)


def _code_changes(runs: Sequence[StoredRun], one: Asked, two: Asked) -> list[ContentChange]:
    """The commit, and the cells whose code has another fingerprint."""
    before, after = (run.commit or "no commit" for run in runs)
    git = [ContentChange("git commit", before, after)] if before != after else []
    changes = [
        ("fingerprint", trial.fingerprint[:12], other.fingerprint[:12], cell)
        for cell, trial, other in seed_pairs(one, two)
        if trial.fingerprint != other.fingerprint
    ]
    return git + _grouped(changes)


def _environment_changes(reader: Reader, runs: Sequence[StoredRun], one: Asked, two: Asked) -> list[ContentChange]:
    """What differs in versions and hardware between the trials that are paired, and between the runs themselves."""
    used = Counter((trial.environment_id, other.environment_id) for _, trial, other in seed_pairs(one, two))
    used[runs[0].environment_id, runs[1].environment_id] += 0
    differing = [pair for pair in used if pair[0] != pair[1] and all(pair)]
    known = reader.environments({name for pair in differing for name in pair})
    changes: dict[ContentChange, None] = {}
    for first, second in differing:
        before, after = texts_of(known.get(first) or {}), texts_of(known.get(second) or {})
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key) and not key.startswith("class."):  # said by versions and device
                changes[ContentChange(key, before.get(key, "(none)"), after.get(key, "(none)"))] = None
    return list(changes)


def _missing(one: Asked, two: Asked) -> list[ContentChange]:
    """Cells that one run did not ask for, and cells that it asked for with other seeds."""
    changes = []
    for cell in sorted(one.keys() | two.keys()):
        before, after = (_seeds(asked.get(cell, {})) for asked in (one, two))
        if before != after:
            changes.append(("seeds", before, after, cell))
    return _grouped(changes)


def _seeds(trials: Collection[int]) -> str:
    """``0–2``, ``0, 2`` or ``none``."""
    seeds = sorted(trials)
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds)) or "none"
