"""Run suites: plan, run the trials that are not stored, evaluate the claims, write the report."""

import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from harness import stats
from harness.app.jobs import check_data
from harness.app.report import write_run_report
from harness.app.request import Request, RunOptions, SharedExecutor
from harness.app.running import Result, RunningSuite, SuiteRun
from harness.app.search import run_protocol
from harness.app.session import Session, now
from harness.base.folders import remove
from harness.errors import HarnessError, choices
from harness.execute.dispatch import Watch
from harness.execute.environment import environment, environment_id, git_state
from harness.execute.executors import EXECUTORS
from harness.judge import claim_rows
from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.judging import record_judgement
from harness.judge.registration import earlier_verdicts
from harness.judge.remembered import judge_once
from harness.plan.planning import Plan, Selection, make_plan, nothing_to_run, sources_of
from harness.plan.selecting import Seeds, choose
from harness.results.current import Reported
from harness.results.listing import measured_costs
from harness.store import Writer, default_database
from harness.store.errors import StoreHeldError
from harness.store.events import ClaimsEvent, EnvironmentEvent, RunEvent
from harness.store.queries import Queries
from harness.suite import Suite, load_suite, suite_from_dict, suite_to_json
from harness.suite.warnings import warnings_of
from harness.trial.options import Values


def run(
    suite: Suite | str | Path | Mapping[str, Any],
    *,
    scale: str = "mini",
    seeds: Seeds = None,
    benchmarks: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    database: str | Path | None = None,
    scratch: bool = False,
    report: bool = False,
    watch: Watch | None = None,
    **options: Unpack[RunOptions],
) -> SuiteRun:
    """Run a suite from Python, as ``harness run`` does; stored trials are not rerun.

    Args:
        suite: a suite, a file, the name of a shipped one, or plain data as for ``suite_from_dict``.
        seeds: a number of seeds (0…N−1), the seeds, or ``"MIN..MAX"`` to add them one by one; None: the suite's own.
        arms: only these; ``NAME=FILE.py:CLASS`` adds one.
        overrides: recipe keys in every arm, as ``--set``.
        database: the store; None: ``HARNESS_DB`` or ``results/harness.duckdb``.
        scratch: store nothing; the database is removed at the end.
        watch: receives the progress.
        options: ``executor`` (``ray``, or ``inline`` in this process), ``address``, ``gpus_per_trial``,
            ``memory_per_trial`` (MiB), ``time_budget`` (seconds), ``tuned`` (default True), ``exclusive``,
            ``fail_fast``, ``force``: see :class:`~harness.app.request.Request`.

    Raises:
        HarnessError: before anything runs, if the suite, the plan, the data or the executor is not available.
    """
    if isinstance(suite, Mapping):
        suite = suite_from_dict(suite)
    loaded = suite if isinstance(suite, Suite) else load_suite(suite)
    chosen = choose(scale, benchmarks, arms, seeds, Values(overrides or {}))
    if scratch and database is not None:
        raise HarnessError("'scratch' and 'database' exclude each other")
    with _store(database, scratch=scratch) as place:
        options.setdefault("tuned", True)
        request = Request.of(place, chosen, " ".join(["harness.run", loaded.name, *sys.argv[:1]]), **options)

        def watch_of(_: Suite) -> AbstractContextManager[Watch]:
            return contextlib.nullcontext(watch or Watch())

        return run_suites([loaded], request, watch_of, report=report and not scratch)[0]


def run_suites(
    suites: Sequence[Suite],
    request: Request,
    watch_of: Callable[[Suite], AbstractContextManager[Watch]],
    *,
    report: bool,
) -> list[SuiteRun]:
    """Run suites one after another over one executor, then write the report; raises as :func:`run_suite`."""
    results = []
    with ExitStack() as stack:
        request = replace(request, shared=SharedExecutor(stack))
        for suite in suites:
            with watch_of(suite) as watch:
                results.append(run_suite(suite, request, watch))
    index = None
    if report:
        reported = [Reported(suite, result.plan) for suite, result in zip(suites, results, strict=True)]
        index = write_run_report(request.database, reported)
    return [SuiteRun(suite, request.database, result, index) for suite, result in zip(suites, results, strict=True)]


def new_run_id() -> str:
    """A run's name: its start, and four random bytes."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def run_suite(suite: Suite, request: Request, watch: Watch) -> Result:
    """Run one suite; stored trials are not rerun.

    Raises:
        HarnessError: before anything runs, if the plan, the data or the executor is not available.
    """
    if request.executor not in EXECUTORS:
        raise HarnessError(f"unknown executor '{request.executor}'; {choices(list(EXECUTORS), request.executor)}")
    request = replace(request, own_methods=(*request.own_methods, *suite.own_methods))
    plan = make_plan(suite, request.selection)
    if not plan.trials:
        raise HarnessError(nothing_to_run(suite, plan))
    result = Result(new_run_id(), plan)
    check_data(plan)  # before a database is created
    stop_at = None if request.time_budget is None else time.monotonic() + request.time_budget
    with Writer(request.database, result.run_id) as owner:
        with owner.reader() as reader:
            result.warnings = notices_of(suite, plan, request.selection, reader)
        for warning in result.warnings:
            watch.warned(warning)
        session = Session(owner, request, replace(request.policy, stop_at=stop_at), watch)
        stored = session.stored(plan)  # a folder that cannot be read is reported before there is a run
        _announce(owner, suite, request, result)
        try:
            with session:
                _run_trials(RunningSuite(session, suite, request, result), stored)
        except BaseException:
            _end(owner, result, "cancelled")
            raise
        result.failures += [("the database", f"rejected an event: {reason}") for reason in _rejected(owner)]
        with owner.reader() as reader:
            sequential = request.selection.cap is not None
            judged = judge_once(suite, result.plan, reader, request.selection, sequential=sequential)
        result.verdicts, new = judged
        if new is not None:
            record_judgement(owner.record, suite.name, result.plan.scale, new)
        _end(owner, result, "done" if result.complete else "incomplete")
    return result


def _run_trials(running: RunningSuite, stored: Mapping[str, str]) -> None:
    request, result = running.request, running.result
    if request.force or len(stored) < len(result.plan.trials):
        with running.session.owner.reader() as reader:
            costs = measured_costs(result.plan, reader)
        for cell, seconds in costs.core_seconds.items():
            running.session.durations.ended(*cell, seconds)  # for the order in which trials begin
    running.run(result.plan, stored)
    if request.selection.cap is not None:
        running.add_seeds(request.selection.cap)
    if request.tuned and result.stopped is None:
        run_protocol(running)


def _announce(owner: Writer, suite: Suite, request: Request, result: Result) -> None:
    plan = result.plan
    commit, dirty = git_state()
    owner.record(EnvironmentEvent(environment_id(), environment()))
    row = {
        "run_id": result.run_id,
        "suite": suite.name,
        "scale": plan.scale,
        "started_at": now(),
        "status": "running",
        "git_commit": commit,
        "git_dirty": dirty,
        "command": request.command,
        "environment_id": environment_id(),
        "spec": suite_spec(suite, plan, request.selection),
    }
    owner.record(RunEvent(row))
    owner.record(ClaimsEvent(suite.name, claim_rows(suite)))


def _rejected(owner: Writer) -> list[str]:
    """Reasons for which the database rejected events; none while a shell holds it (``db check`` shows them later)."""
    try:
        return owner.refused()
    except StoreHeldError:
        return []


def _end(owner: Writer, result: Result, status: str) -> None:
    owner.record(RunEvent({"run_id": result.run_id, "status": status, "finished_at": now()}))


def suite_spec(suite: Suite, plan: Plan, selection: Selection) -> dict[str, Any]:
    """Return the whole resolved suite with licences and requested seeds."""
    from harness import registry

    sources = {
        name: {
            key: getattr(registry.entry("data", name).metadata, key) for key in ("home", "licence", "origin", "version")
        }
        for name in sorted({source.name for source in sources_of(plan.trials)})
    }
    benchmarks = {
        name: {
            "title": suite.benchmarks[name].model.title,
            "about": setting.about,
            "task": setting.task,
            "data": dict(setting.data),
            "model": dict(setting.model),
            "recipe": dict(setting.recipe),
            "metrics": {key: metric.model_dump() for key, metric in suite.benchmarks[name].model.metrics.items()},
            "stand_in": list(setting.stand_in),
            "stand_in_name": setting.stand_in_name,
        }
        for name, setting in plan.settings.items()
    }
    dumped = json.loads(suite.model.model_dump_json(exclude={"facts", "benchmarks"}))
    return {
        **dumped,
        "path": str(suite.path.resolve()),
        "absent": list(plan.absent),
        "resolved": suite_to_json(suite),  # judging and pages read it there
        "seeds_asked": {"seeds": selection.seeds, "cap": selection.cap},
        "overrides": dict(selection.overrides),
        "benchmarks": benchmarks,
        "sources": sources,
    }


@contextlib.contextmanager
def scratch_store() -> Iterator[Path]:
    """Yield a database in a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="harness-scratch-"))
    try:
        yield folder / "harness.duckdb"
    finally:
        remove(folder)


@contextlib.contextmanager
def _store(database: str | Path | None, *, scratch: bool) -> Iterator[Path]:
    if scratch:
        with scratch_store() as own:
            yield own
    else:
        yield Path(database) if database is not None else default_database()


MOST_SEEDS = 200
"""Numbers of seeds that are tried for a finite interval."""
SHOWN = 4
"""Claims that one warning names."""


def notices_of(suite: Suite, plan: Plan, selection: Selection, reader: Queries) -> tuple[str, ...]:
    """The warnings of ``harness validate``, and those of :func:`added_seeds`, one sentence each."""
    warnings = list(map(str, warnings_of(suite)))
    if selection.cap is None:
        warnings += added_seeds(suite, plan, reader)
    return tuple(warnings)


def added_seeds(suite: Suite, plan: Plan, reader: Queries) -> list[str]:
    """Warn of claims to which added pairs make the sequential test apply.

    A claim that is evaluated sequentially already is left out: it costs nothing more.
    """
    evaluated = reader.query("SELECT 1 FROM verdicts WHERE suite = ? AND scale = ? LIMIT 1", [suite.name, plan.scale])
    if not evaluated.rows:
        return []
    designs = claim_designs(suite, plan, sequential=False)
    earlier = earlier_verdicts(reader, designs, plan.scale)
    claims: dict[tuple[tuple[int, ...], int, int, int | None], list[str]] = {}
    for design in designs:
        before = earlier.get(design.claim_id, [])
        sizes = tuple(sorted({verdict.look for verdict in before if verdict.look is not None}))
        pairs, seeds = _planned(design)
        if pairs and sizes and sizes != (pairs,) and not before[-1].sequential:
            key = (sizes, pairs, seeds, seeds_for_an_interval(design))
            claims.setdefault(key, []).append(design.claim_id)
    return [_message(names, *key) for key, names in claims.items()]


def _planned(design: ClaimDesign) -> tuple[int, int]:
    """Return a claim's pairs, and the fewest seeds of a benchmark."""
    seeds = [len({seed for arm in block.chain for seed in block.cells.get(arm, {})}) for block in design.blocks]
    return sum(seeds), min(seeds, default=0)


def seeds_for_an_interval(design: ClaimDesign) -> int | None:
    """The fewest seeds at which the sequential test has a finite interval; None above ``MOST_SEEDS``.

    Corrections for several claims of a family may need more.
    """
    rule = stats.SequentialRule(design.rules.g, design.rules.seeds[2])
    spread = [(-1.0) ** k for k in range(MOST_SEEDS)]
    for seeds in range(3, MOST_SEEDS + 1):
        inference = rule.inference(spread[:seeds], design.rules.alpha)
        if abs(inference.low) != float("inf") and abs(inference.high) != float("inf"):
            return seeds
    return None


def _message(claims: list[str], sizes: tuple[int, ...], pairs: int, seeds: int, needed: int | None) -> str:
    names = ", ".join(claims[:SHOWN]) + (f" and {len(claims) - SHOWN} more" if len(claims) > SHOWN else "")
    before = ", ".join(map(str, sizes))
    message = f"{names}: evaluated at {before} pairs before and at {pairs} now, so that the sequential test applies"
    if needed is None:
        return f"{message}; its interval is not finite at any number of seeds up to {MOST_SEEDS}"
    if seeds < needed:
        return f"{message}; its interval is infinite below {needed} seeds: use --seeds {needed} or more"
    return f"{message}, whose interval is wider than that of a fixed number of seeds"
