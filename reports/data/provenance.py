"""Origin of numbers: code, versions, hardware, seeds, runs, determinism."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.plan.imported import ENVIRONMENT
from reports import formatting
from reports.data.sql import Row
from reports.data.suite_results import SuiteResults, imported_in_words, statuses

SHOWN_RUNS = 20
SHOWN_PACKAGES = ("torch", "torchvision", "numpy", "ray", "duckdb", "scipy", "scikit-learn", "timm", "tokenizers")


@dataclass(frozen=True)
class Provenance:
    """Facts for the foot of a page, as text."""

    commits: list[dict[str, Any]]
    seeds: str
    statuses: str
    adopted: str
    imported: str
    hardware: str
    versions: str
    determinism: str
    steady: bool | None
    determinism_sql: Sequence[str]
    judged: str
    runs: Sequence[Row]
    runs_sql: Sequence[str]


def provenance(
    shown: SuiteResults | Sequence[SuiteResults], benchmark: str | None = None, trial: str | None = None
) -> Provenance:
    """The provenance of a page: of suites, of one of a suite's benchmarks, or of one trial.

    Runs of a benchmark or a trial are those that computed its numbers, and the first that requested them; later runs
    that reused them are left out.
    """
    suites = [shown] if isinstance(shown, SuiteResults) else list(shown)
    rows = [row for item in suites for row in _rows(item, benchmark, trial)]
    existing = {name: info for item in suites for name, info in item.environments.items()}
    used = {row["environment_id"] for row in rows}
    infos = [existing[name] for name in sorted(used & existing.keys())]
    runs = [run for item in suites for run in item.runs.rows]
    if benchmark is not None:
        measuring = {run for item in suites for row in rows for run in item.measured.get(row["trial_id"], ())}
        runs = [run for run in runs if run["run_id"] in measuring]
    commits = {(run["git_commit"] or "", bool(run["git_dirty"])): None for run in runs if run["git_commit"]}
    repeated = [
        row for item in suites for row in (item.determinism.rows if trial is None else item.repeated.get(trial, ()))
    ]
    message, steady = determinism(repeated, rows, benchmark, trial)
    absent = [link for item in suites for link in item.absent(benchmark)] if trial is None else []
    return Provenance(
        [{"commit": commit[:12], "dirty": dirty} for commit, dirty in commits][:4],
        _seeds(sorted({row["seed"] for row in rows})),
        ", ".join(f"{formatting.number(many)} {word}" for word, many in statuses(rows, absent)) or "none planned",
        _adopted(rows),
        _imported(suites, rows),
        "; ".join(dict.fromkeys(_hardware(info) for info in infos)),
        "; ".join(dict.fromkeys(_versions(info) for info in infos)),
        message,
        steady,
        [item.determinism.sql for item in suites],
        _judged(suites) if benchmark is None else "",
        runs[:SHOWN_RUNS],
        [item.runs.sql for item in suites],
    )


def _rows(results: SuiteResults, benchmark: str | None, trial: str | None) -> Sequence[Row]:
    if benchmark is None or trial is None:
        return results.rows(benchmark)
    return results.by_trial.get((benchmark, trial), [])


def _judged(suites: Sequence[SuiteResults]) -> str:
    """When the newest verdict was given; pages of benchmarks and trials do not say it."""
    moments = [claim.verdict.judged_at for item in suites for claim in item.claims if claim.stored]
    return formatting.moment(max(moments)) if moments else "not yet"


def determinism(
    repeated: Sequence[Row], rows: Sequence[Row], benchmark: str | None, trial: str | None
) -> tuple[str, bool | None]:
    """A sentence on trials that ran twice, and whether they were equal; None if none ran twice."""
    own = {row["trial_id"] for row in rows}
    here = [row for row in repeated if row["trial_id"] in own]
    if trial is not None and not here:
        return "this trial ran once", None
    if not here:
        return "no trial of this benchmark ran twice" if benchmark is not None else "no trial ran twice", None
    odd = [row for row in here if not row["equal"]]
    trials = formatting.count(len({row["trial_id"] for row in here}), "trial")
    if not odd:
        numbers = sum(int(row["numbers"] or 0) for row in here)
        every = "its one number" if numbers == 1 else f"all {formatting.number(numbers)} numbers"
        return f"{trials} ran twice; {every} came out the same", True
    named = [f"{row['label']} ({formatting.listed(list(row['differing'] or [])) or row['status']})" for row in odd[:3]]
    return f"{trials} ran twice; {len(odd)} came out otherwise: {'; '.join(named)}", False


def _adopted(rows: Sequence[Row]) -> str:
    adopted = {row["trial_id"]: row for row in rows if row["adopted_from"]}
    if not adopted:
        return ""
    codes = sorted({str(row["measured_by"])[:12] for row in adopted.values()})
    newest = max(adopted.values(), key=lambda row: str(row["verified_at"]))
    return (
        f"{len(adopted)} of {formatting.count(len({row['trial_id'] for row in rows}), 'trial')} measured by older code "
        f"({formatting.listed(codes)}), adopted on {formatting.moment(newest['verified_at'])} after "
        f"{formatting.count(int(newest['sample'] or 0), 'trial')} ran again and gave the same bits"
    )


def _imported(suites: Sequence[SuiteResults], rows: Sequence[Row]) -> str:
    """From which files trials come that did not run here; empty where all did."""
    message = []
    for item in suites:
        if item.plan.imported is None:
            continue
        own = {row["trial_id"] for row in item.rows()}
        message.append(imported_in_words(item.plan, {row["trial_id"] for row in rows} & own))
    return "; ".join(dict.fromkeys(filter(None, message)))


def _seeds(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return formatting.listed([str(seed) for seed in seeds]) or "none"


def _hardware(info: Row) -> str:
    if info.get("class") == ENVIRONMENT:
        return "not known of imported results"
    cores, memory = info.get("cores"), info.get("memory_gb")
    size = cores and formatting.count(int(cores), "core"), memory and f"{memory} GB"
    return ", ".join(str(part) for part in (info.get("gpu"), info.get("cpu"), *size) if part)


def _versions(info: Row) -> str:
    if info.get("class") == ENVIRONMENT:
        return "not known of imported results"
    packages: Mapping[str, str] = info.get("packages") or {}
    named = [f"{name} {packages[name]}" for name in SHOWN_PACKAGES if packages.get(name)]
    return ", ".join([f"Python {info.get('python', '?')}", *named])
