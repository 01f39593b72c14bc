"""``harness.run``: a suite run from Python, as ``harness run`` does it."""

from __future__ import annotations

import contextlib
import html
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.app.run import Request, run_suite
from harness.app.run_record import run_record
from harness.app.tuned import foreseen, run_protocol
from harness.errors import HarnessError, choices
from harness.execute.dispatch import Policy, Watch
from harness.execute.executors import EXECUTORS
from harness.plan.planning import Selection, parse_seeds
from harness.plan.user_arms import user_arm
from harness.results.scratch import scratch_store
from harness.results.verdict_records import verdict_frame
from harness.store import default_database
from harness.suite import Suite, load_suite, suite_from_dict

if TYPE_CHECKING:
    import pandas as pd

Seeds = int | str | Sequence[int] | None


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What a run gave.

    Attributes:
        database: the store; of a scratch run it is gone.
        record: everything as plain data, as ``harness run --json`` prints it: counts, failures, headline, verdicts.
        report: the ``index.html`` of the pages, where they were asked for.
    """

    suite: Suite
    scale: str
    database: Path
    record: Mapping[str, Any]
    report: Path | None = None

    @property
    def run_id(self) -> str:
        """Its name in the store."""
        return str(self.record["run_id"])

    @property
    def complete(self) -> bool:
        """Whether every trial of the plan has a result."""
        return not self.record["failures"] and self.record["stopped"] is None

    @property
    def headline(self) -> list[str]:
        """What the verdicts come to, in sentences."""
        return list(self.record["headline"])

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row a claim (and protocol); the columns are those of ``harness.open(…).verdicts``."""
        return verdict_frame(self.record["verdicts"], self.suite.name)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.record["counts"].items())
        words = "; ".join(f"{one['claim_id']}: {one['verdict']}" for one in self.record["verdicts"])
        named = f"run {self.run_id} of {self.suite.name} at {self.scale}"
        return f"<{named}: {counts} ({self.record['reused']} reused); {words}>"

    def _repr_html_(self) -> str:
        """The notebook's view."""
        shown = ["claim_id", "verdict", "difference", "ci_low", "ci_high", "n", "adjusted_p", "stand_in"]
        table = self.verdicts[shown].to_html(index=False, border=0, float_format="{:.3g}".format, na_rep="")
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self.headline)
        failed = "".join(f"<li>{html.escape(f'{label}: {error}')}</li>" for label, error in self.record["failures"])
        head = f"<p><b>{html.escape(self.suite.name)}</b> at {self.scale}, run {self.run_id}</p>"
        return f"{head}{table}{said}{f'<p>failed:</p><ul>{failed}</ul>' if failed else ''}"


def run(
    suite: Suite | str | Path | Mapping[str, Any],
    *,
    scale: str = "mini",
    seeds: Seeds = None,
    benchmarks: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    database: str | Path | None = None,
    executor: str = "ray",
    address: str | None = None,
    gpus_per_trial: float | None = None,
    memory_per_trial: float | None = None,
    tuned: bool = True,
    report: bool = False,
    time_budget: float | None = None,
    exclusive: bool = False,
    fail_fast: bool = False,
    force: bool = False,
    scratch: bool = False,
    watch: Watch | None = None,
) -> SuiteRun:
    """Run a suite; what is already stored is reused.

    Args:
        suite: a suite, a file, the name of a shipped one, or plain data as for ``suite_from_dict``.
        seeds: how many (0…N−1), which, or ``"MIN..MAX"`` to buy them one by one; None: the suite's own number.
        arms: only these; ``NAME=FILE.py:CLASS`` adds one.
        overrides: recipe keys in every arm, as ``--set``.
        database: the store; None: ``HARNESS_DB`` or ``results/harness.duckdb``.
        executor: ``ray``, or ``inline`` in this process, one trial after another.
        memory_per_trial: MiB above which a trial is ended; None: the machine's memory decides.
        tuned: also tune the arms of the suite's ``tuned:`` claims.
        time_budget: seconds after which no further trial begins.
        force: delete the plan's stored results first, so that all its trials run.
        scratch: store nothing; the database is removed at the end.
        watch: is told what happens.

    Raises:
        HarnessError: before anything runs, where the suite, the plan, the data or the executor cannot be had.
    """
    if executor not in EXECUTORS:
        raise HarnessError(f"no executor '{executor}'; {choices(list(EXECUTORS), executor)}")
    loaded = _suite(suite)
    names = tuple(arms or ())
    added = [user_arm(text) for text in names if "=" in text]
    numbers, cap = _seeds(seeds)
    selection = Selection(
        scale=scale,
        benchmarks=None if benchmarks is None else tuple(benchmarks),
        arms=tuple(name for name in names if "=" not in name) or None,
        seeds=numbers,
        cap=cap,
        overrides=dict(overrides or {}),
        added_arms={name: arm for name, arm, _ in added},
    )
    if scratch and database is not None:
        raise HarnessError("a scratch run touches no store, and 'database' names one; give one of them")
    with _store(database, scratch=scratch) as where:
        request = Request(
            where,
            selection,
            time_budget,
            run_protocol if tuned else None,
            foreseen if tuned else None,
            force=force,
            executor=executor,
            address=address,
            gpus_per_trial=gpus_per_trial,
            memory_per_trial=memory_per_trial,
            policy=Policy(fail_fast=fail_fast, exclusive=exclusive),
            command=" ".join(["harness.run", loaded.name, *sys.argv[:1]]),
            own_methods=tuple(method for _, _, method in added),
        )
        result = run_suite(loaded, request, watch or Watch())
        index = None
        if report and not scratch:
            from harness.results.reporting import Reported, write_run_report

            index = write_run_report(where, [Reported(loaded, result.plan)])
    return SuiteRun(loaded, scale, where, run_record(loaded.name, result), index)


def _suite(given: Suite | str | Path | Mapping[str, Any]) -> Suite:
    if isinstance(given, Suite):
        return given
    return suite_from_dict(given) if isinstance(given, Mapping) else load_suite(given)


def _seeds(given: Seeds) -> tuple[tuple[int, ...] | None, int | None]:
    """The seeds and the cap of a selection."""
    if given is None or isinstance(given, str | int):
        return parse_seeds(None if given is None else str(given))
    numbers = tuple(given)
    if not numbers or not all(isinstance(seed, int) and seed >= 0 for seed in numbers):
        raise HarnessError(f"seeds {numbers!r}: how many, or a sequence of whole numbers from 0 on, is expected")
    return numbers, None


@contextlib.contextmanager
def _store(database: str | Path | None, *, scratch: bool) -> Iterator[Path]:
    if scratch:
        with scratch_store() as own:
            yield own
    else:
        yield Path(database) if database is not None else default_database()
