"""Stored runs: found by id, beginning or tag; their plans, tags and metrics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, choices
from harness.plan.imported import ENVIRONMENT
from harness.store import Writer, open_reader
from harness.store.events import TaggedEvent
from harness.store.queries import Queries
from harness.vocabulary import Protocol

_OWN = f"('{Protocol.PUBLISHED}', '{Protocol.TUNED}')"
JUDGED_BY_ITS_END = f"""(r.finished_at IS NULL AND v.judged_at >= r.started_at
    OR r.status IN ('done', 'incomplete') AND r.environment_id IS DISTINCT FROM '{ENVIRONMENT}'
    AND v.judged_at = (SELECT max(o.judged_at) FROM verdicts o WHERE o.suite = r.suite AND o.scale = r.scale
      AND o.protocol IN {_OWN} AND o.judged_at <= r.finished_at))"""
"""The SQL condition that a verdict ``v`` stood when a run ``r`` ended: what is judged as before is not stored again."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A row of ``runs``, and of its spec what tables and comparisons need.

    Attributes:
        arms: the suite's arms in the order of its file, with what the file says of them.
        benchmarks: by name in the order of the file: ``data``, ``model``, ``recipe``, ``metrics`` and ``stand_in_name``
            (the last two are absent in runs of older versions).
        overrides: ``--set`` of the run, by dotted key.
    """

    run_id: str
    suite: str
    scale: str
    started_at: str
    git_commit: str
    git_dirty: bool
    command: str
    environment_id: str
    arms: Mapping[str, Mapping[str, Any]] = field(repr=False)
    benchmarks: Mapping[str, Mapping[str, Any]] = field(repr=False)
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> StoredRun:
        """A run from its row."""
        spec = row["spec"] if isinstance(row["spec"], Mapping) else {}
        value = spec.get("overrides")
        return cls(
            str(row["run_id"]),
            str(row["suite"]),
            str(row["scale"]),
            str(row["started_at"] or ""),
            str(row["git_commit"] or ""),
            bool(row["git_dirty"]),
            str(row["command"] or ""),
            str(row["environment_id"] or ""),
            spec.get("arms") or {},
            spec.get("benchmarks") or {},
            typed(str(row["command"] or "")) if value is None else value,
        )

    @property
    def commit(self) -> str:
        """The commit in a few digits, with a sign where files differed from it."""
        return f"{self.git_commit[:10]}{'+' if self.git_dirty else ''}" if self.git_commit else ""

    @property
    def changed(self) -> str:
        """``--set`` as a person writes it; empty without."""
        return ", ".join(f"{key}={value}" for key, value in self.overrides.items())


def typed(command: str) -> dict[str, str]:
    """``--set`` of a command line: runs of older versions stored nothing else of it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return {}
    pairs = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--set"]
    pairs += [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
    return {key: value for key, equals, value in (pair.partition("=") for pair in pairs) if equals}


def find_run(reader: Queries, text: str) -> dict[str, Any]:
    """A run by its id or the unique beginning of it; ``latest`` is the newest, ``previous`` the one before it of the
    same suite and scale.

    Raises:
        HarnessError: none or several.
    """
    runs = reader.query("SELECT * FROM runs ORDER BY started_at DESC, run_id").dicts()
    if text in ("latest", "previous") and runs:
        return _latest(runs) if text == "latest" else _previous(runs)
    fitting = [run for run in runs if str(run["run_id"]).startswith(text)]
    if len(fitting) != 1:
        what = "no run begins" if not fitting else f"{len(fitting)} runs begin"
        raise HarnessError(f"{what} with '{text}'; 'harness list runs' lists them")
    return fitting[0]


def _latest(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return max(runs, key=lambda run: (str(run["started_at"]), str(run["run_id"])))


def _previous(runs: list[dict[str, Any]]) -> dict[str, Any]:
    newest = _latest(runs)
    before = [
        run for run in runs if run is not newest and (run["suite"], run["scale"]) == (newest["suite"], newest["scale"])
    ]
    if not before:
        raise HarnessError(
            f"there is no run before {newest['run_id']} of suite '{newest['suite']}' at {newest['scale']}; "
            "'harness list runs' lists them"
        )
    return _latest(before)


def stored_runs(reader: Queries, run_ids: Iterable[str]) -> dict[str, StoredRun]:
    """Runs by id."""
    rows = reader.query("SELECT * FROM runs WHERE run_id = ANY(?)", [sorted(set(run_ids))]).dicts()
    return {str(row["run_id"]): StoredRun.of(row) for row in rows}


TAG = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,59}")
TAKEN = ("latest",)


def run_of(reader: Queries, text: str) -> str:
    """The id of a run that is given by its id, the unique beginning of one, a tag of one run, or ``latest``.

    Raises:
        HarnessError: none or several.
    """
    tagged = reader.query("SELECT run_id FROM tags WHERE tag = ? ORDER BY run_id", [text]).rows
    if len(tagged) > 1:
        runs = ", ".join(str(run) for (run,) in tagged)
        raise HarnessError(f"{len(tagged)} runs have the tag '{text}': {runs}; name one of them")
    return str(tagged[0][0]) if tagged else str(find_run(reader, text)["run_id"])


def tags_of(reader: Queries, run_id: str) -> list[str]:
    """A run's tags in order."""
    return [str(tag) for (tag,) in reader.query("SELECT tag FROM tags WHERE run_id = ? ORDER BY tag", [run_id]).rows]


def tag_run(database: Path, run: str, names: Sequence[str], *, remove: bool = False) -> tuple[str, list[str]]:
    """Give a run names, or take them from it; returns its id and the tags that it has now.

    Raises:
        HarnessError: no such run, a name that is none, or with ``remove`` one that the run does not have.
    """
    with open_reader(database) as reader:
        run_id = run_of(reader, run)
        existing = tags_of(reader, run_id)
    for name in names:
        if remove and name not in existing:
            raise HarnessError(f"run {run_id} has no tag '{name}'; {choices(existing, name)}")
        if not remove and (name in TAKEN or not TAG.fullmatch(name)):
            raise HarnessError(
                f"'{name}' is not a valid tag: a letter, then letters, digits and _ . + -, 60 at most; not 'latest'"
            )
    if names:
        with Writer(database) as owner:
            owner.record(TaggedEvent(run_id, () if remove else tuple(names), tuple(names) if remove else ()))
            owner.flush()
    left = set(existing) - set(names) if remove else {*existing, *names}
    return run_id, sorted(left)


BESIDE = ("mechanism.", "trivial.")
"""Metrics that are measured beside the scores: a table has them where they are asked for."""


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What is known of a metric: unit and direction; ``better`` is empty where nobody says it."""

    name: str
    unit: str = ""
    better: str = ""


def metric_facts(reader: Queries, suite: str, runs: Iterable[StoredRun]) -> dict[str, MetricFacts]:
    """Unit and direction by metric: what the newest runs' benchmarks declare, else what the suite's claims say."""
    sql = "SELECT DISTINCT metric, unit, better FROM claims WHERE suite = ? AND metric IS NOT NULL ORDER BY ALL"
    facts = {row[0]: MetricFacts(row[0], row[1] or "", row[2] or "") for row in reader.query(sql, [suite]).rows}
    for run in reversed(list(runs)):
        for benchmark in run.benchmarks.values():
            for name, metric in (benchmark.get("metrics") or {}).items():
                facts[name] = MetricFacts(name, str(metric.get("unit") or ""), str(metric.get("better") or ""))
    return facts
