"""Where numbers come from: code, versions, hardware, seeds, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import words
from reports.reading import Gathered, Row

SHOWN_RUNS = 20
SHOWN_PACKAGES = ("torch", "torchvision", "numpy", "ray", "duckdb", "scipy", "scikit-learn", "timm", "tokenizers")


@dataclass(frozen=True)
class Provenance:
    """Facts for the foot of a page, as text."""

    commits: list[dict[str, Any]]
    seeds: str
    statuses: str
    hardware: str
    versions: str
    determinism: str
    judged: str
    runs: Sequence[Row]
    runs_sql: str


def provenance(found: Gathered, benchmark: str | None = None) -> Provenance:
    """The provenance of a suite's page, or of one of its benchmarks."""
    rows = [row for bench in found.benches.values() if benchmark in (None, bench.name) for row in bench.trials.rows]
    used = {row["environment_id"] for row in rows if row["environment_id"]}
    infos = [found.environments[one] for one in sorted(used) if one in found.environments]
    commits = {(run["git_commit"] or "", bool(run["git_dirty"])): None for run in found.runs.rows if run["git_commit"]}
    moments = [claim.value("judged_at") for claim in found.claims if claim.value("judged_at")]
    return Provenance(
        [{"commit": commit[:12], "dirty": dirty} for commit, dirty in commits][:4],
        _seeds(sorted({row["seed"] for row in rows})),
        _statuses(found, rows, benchmark),
        "; ".join(dict.fromkeys(_hardware(info) for info in infos)),
        "; ".join(dict.fromkeys(_versions(info) for info in infos)),
        _determinism(found.determinism),
        words.moment(max(moments)) if moments else "not yet",
        found.runs.rows[:SHOWN_RUNS],
        found.runs.sql,
    )


def _statuses(found: Gathered, rows: Sequence[Row], benchmark: str | None) -> str:
    counts: Mapping[str, int] = found.statuses
    if benchmark is not None:
        status = {row["trial_id"]: row["status"] for row in rows}
        tally = {word: list(status.values()).count(word) for word in sorted(set(status.values()))}
        absent = found.benches[benchmark].planned - len(status)
        counts = {**tally, **({"not stored": absent} if absent else {})}
    return ", ".join(f"{words.number(many)} {word}" for word, many in sorted(counts.items())) or "none planned"


def _seeds(seeds: list[int]) -> str:
    if not seeds:
        return "none"
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return words.listed([str(seed) for seed in seeds])


def _hardware(info: Row) -> str:
    parts = [str(info.get("gpu") or ""), str(info.get("cpu") or "")]
    cores, memory = info.get("cores"), info.get("memory_gb")
    parts += [words.count(int(cores), "core")] if cores else []
    parts += [f"{memory} GB"] if memory else []
    return ", ".join(part for part in parts if part)


def _versions(info: Row) -> str:
    packages = info.get("packages") or {}
    named = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if packages.get(name)]
    return ", ".join([f"Python {info.get('python', '?')}", *named])


def _determinism(events: Sequence[Row]) -> str:
    if not events:
        return "not run in these sessions"
    detail = events[-1]["detail"] or {}
    told = words.plain(detail) if isinstance(detail, Mapping) else str(detail)
    return f"{words.moment(events[-1]['at'])}: {told}"
