"""What grows with the store: each stage at 10³, 10⁴ and 10⁵ trials, with its time and memory.

    python tests/performance/growth.py FOLDER                     # 10³ … 10⁵ trials, 100 metric rows a trial
    python tests/performance/growth.py FOLDER --trials 100000 --rows 1000      # 10⁸ metric rows

A store is made as runs make it: the journal is written, line by line, and taken in by an owner. Every stage is a
process of its own, so that its memory is its own; ``seconds`` and ``processor`` begin after its imports, ``whole`` is
the command from its start to its end. Stages: ``plan``; ``journal`` (the outcomes are written); ``ingest`` (the journal
into the database, its snapshot and its archive); ``re-check`` (``harness run`` of the suite, which has finished);
``query`` (means of every cell, and the end of every series); ``claims``; ``report`` (all pages), ``report again``
(nothing is new) and ``report after one`` (one trial is new); ``dispatch`` (as many jobs wait as there are trials, half
of them for others).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BENCHMARKS, ARMS = 10, 10
SERIES = ("train loss", "train learning_rate", "validation score", "train mechanism.share", "train mechanism.norm")
RUN = "20260304T050000-0a1b2c3d"
SCALES = (1_000, 10_000, 100_000)
MB = 2**20


@dataclass(frozen=True)
class Size:
    """A store: how many trials a suite has, and how many rows of ``metrics`` each of them."""

    trials: int
    rows: int

    @property
    def seeds(self) -> int:
        """Seeds of each of the hundred cells."""
        return self.trials // (BENCHMARKS * ARMS)


def write_suite(folder: Path) -> Path:
    """Ten benchmarks and ten arms of a known truth, a claim for every arm but the baseline on every benchmark."""
    arms = ["plain", *(f"ours-{number}" for number in range(ARMS - 1))]
    lines = ["suite: growing", "title: A growing suite", "seeds: {min: 3, max: 60}", "arms:"]
    for place, arm in enumerate(arms):
        role = "baseline" if place == 0 else "method" if place < 4 else "ablation"
        lines.append(
            f"  {arm}: {{role: {role}, optimizer: {{name: sgd, lr: 0.1}}, "
            f"set: {{noise_key: '{arm}', effect: {place / 4}}}}}"
        )
    lines.append("benchmarks:")
    facts, claims = ["facts:"], ["claims:"]
    for number in range(BENCHMARKS):
        metrics = "task: synthetic, metrics: {score: {unit: points, better: higher}}"
        mini = f"mini: {{data: {{name: nothing}}, model: {{name: scalar}}, recipe: {{steps: {1 + number}}}}}"
        named = f"benchmark: bench-{number}, title: 'Benchmark {number}'"
        lines.append(f"  bench-{number}: {{define: {{{named}, {metrics}, {mini}}}}}")
        for arm in arms[1:]:
            name = f"{arm}-above-plain-{number}"
            facts.append(
                f"  - {{id: {name}, suite: growing, benchmark: b{number}, metric: score, unit: points, "
                f"better: higher, method: {arm}, baseline: Plain, published: {{difference: 1.0}}, "
                f"kind: difference, statement: '{arm} is above.', source: 'table {number}'}}"
            )
            claims.append(f"  - {{id: {name}, benchmarks: [bench-{number}], arm: {arm}, against: [plain]}}")
    path = folder / "growing.yaml"
    path.write_text("\n".join([*lines, *facts, *claims]) + "\n", encoding="utf-8")
    return path


def journal(folder: Path, size: Size) -> None:
    """The segment of a run that ended without an owner to take it in: every trial done, but the very last one."""
    from harness.app.run import suite_spec
    from harness.app.session import planned
    from harness.judge import claim_rows
    from harness.plan.planning import Selection, make_plan
    from harness.store import Outcome
    from harness.store.events import ClaimsEvent, EnvironmentEvent, OutcomeEvent, RunEvent
    from harness.store.journal import Journal
    from harness.suite import load_suite
    from harness.trial.result import MetricSeries, Score
    from harness.vocabulary import Status

    suite = load_suite(folder / "growing.yaml")
    selection = Selection(seeds=tuple(range(size.seeds)))
    plan = make_plan(suite, selection)
    draw, steps = random.Random(1), list(range(1, size.rows // len(SERIES) + 1))
    curve = [3 * math.exp(-3 * step / len(steps)) for step in steps]
    beside = {
        "step": tuple(steps),
        "epoch": tuple(step / 10 for step in steps),
        "elapsed_seconds": tuple(step / 100 for step in steps),
    }
    segment = Journal(folder / "growing.duckdb.journal", RUN)
    info = {"python": "3.11", "cpu": "test", "cores": 2, "packages": {"torch": "2"}, "class": {"torch": "2"}}
    began = {
        "run_id": RUN,
        "suite": suite.name,
        "scale": plan.scale,
        "started_at": "2026-03-04T05:00:00",
        "status": "running",
        "git_commit": "0" * 40,
        "git_dirty": False,
        "command": "harness run growing.yaml",
        "environment_id": "env-1",
        "spec": suite_spec(suite, plan, selection),
    }
    for event in (
        EnvironmentEvent("env-1", info),
        RunEvent(began),
        ClaimsEvent(suite.name, claim_rows(suite)),
        planned(RUN, plan, ()),
    ):
        segment.append(event, durable=False)
    for trial in plan.trials[:-1]:
        shift = draw.gauss(0, 0.01)
        values = tuple(value + shift for value in curve)
        series = tuple(MetricSeries(*name.split(), value=values, **beside) for name in SERIES)
        scores = (
            Score("test", "score", 50 + float(trial.spec.recipe["effect"]) + draw.gauss(0, 1)),
            Score("train", "mechanism.share", draw.random()),
        )
        outcome = Outcome(
            trial.trial_id,
            Status.DONE,
            wall_seconds=2.0,
            peak_memory_mb=300.0,
            device="cpu",
            environment_id="env-1",
            results=scores,
            series=series,
        )
        segment.append(OutcomeEvent(outcome, RUN), durable=False)
    segment.append(RunEvent({"run_id": RUN, "status": "done", "finished_at": "2026-03-04T05:06:00"}))
    segment.close()


def plan(folder: Path, size: Size) -> None:
    """Load the suite and plan it."""
    from harness.plan.planning import Selection, make_plan
    from harness.suite import load_suite

    assert len(make_plan(load_suite(folder / "growing.yaml"), Selection(seeds=tuple(range(size.seeds)))).trials)


def ingest(folder: Path, size: Size) -> None:
    """An owner takes the journal in, makes the snapshot and archives the segment."""
    from harness.store import Owner

    with Owner(folder / "growing.duckdb"):
        pass
    assert not list((folder / "growing.duckdb.journal").glob(f"*{RUN}*.jsonl"))


def finish(folder: Path, size: Size) -> None:
    """The last trial runs."""
    run(folder, size, "--executor", "inline")


def run(folder: Path, size: Size, *more: str) -> None:
    """``harness run`` of the suite."""
    command("run", folder / "growing.yaml", "--no-report", "--quiet", "--seeds", size.seeds, *more, database=folder)


def query(folder: Path, size: Size) -> None:
    """Means of every cell, and the end of every series."""
    from harness.store import open_reader

    with open_reader(folder / "growing.duckdb") as reader:
        cells = reader.query("SELECT benchmark, arm, metric, avg(value), count(*) FROM current_results GROUP BY ALL")
        ends = reader.query(
            "SELECT name, count(*), avg(v) FROM (SELECT trial_id, name, arg_max(value, step) AS v "
            "FROM metrics GROUP BY ALL) GROUP BY ALL"
        )
    assert len(cells.rows) >= 2 * BENCHMARKS * ARMS
    assert len(ends.rows) >= len(SERIES)


def claims(folder: Path, size: Size) -> None:
    """``harness claims``."""
    command("claims", folder / "growing.yaml", "--seeds", size.seeds, "--format", "json", database=folder)


def report(folder: Path, size: Size) -> None:
    """``harness report``."""
    command("report", folder / "growing.yaml", "--seeds", size.seeds, database=folder)


def command(name: str, *arguments: object, database: Path) -> None:
    """A command of the harness in this process."""
    import contextlib
    import io

    from harness.cli import main

    sys.argv = ["harness", name, *map(str, arguments), "--db", str(database / "growing.duckdb")]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise


def dispatch(folder: Path, size: Size) -> None:
    """As many jobs wait as there are trials, of which the second half start from the first."""
    from harness.execute.dispatch import Dispatcher, Policy, Recorder, Watch
    from harness.execute.worker import Job
    from harness.plan.planning import Selection, make_plan
    from harness.store import Outcome
    from harness.suite import load_suite
    from harness.vocabulary import Status

    class Instant:
        """Trials have ended when they are submitted: what is left are the decisions."""

        isolated = False
        ahead = 0

        def __init__(self) -> None:
            self.ended: list[Outcome] = []

        def has_room(self, job: Job) -> bool:
            return len(self.ended) < 2

        def submit(self, job: Job) -> None:
            self.ended.append(Outcome(job.trial_id, Status.DONE, wall_seconds=0.0))

        def wait(self, timeout: float) -> list[Outcome]:
            done, self.ended = self.ended, []
            return done

        def progress(self) -> list[Progress]:
            return []

        def cancel(self, trial_id: str) -> None:
            return

        def shutdown(self) -> None:
            return

    from harness.execute.executors.base import Progress

    spec = make_plan(load_suite(folder / "growing.yaml"), Selection(seeds=(0,))).trials[0].spec
    half = size.trials // 2
    jobs = [
        Job(f"{number:064x}", f"job {number}", spec, folder, needs=(f"{number - half:064x}",) * (number >= half))
        for number in range(size.trials)
    ]
    dispatcher = Dispatcher(Recorder(), Instant(), Policy(), Watch())
    began = time.perf_counter()
    dispatcher.submit(reversed(jobs))
    assert sum(1 for _ in dispatcher.outcomes()) == size.trials
    print(json.dumps({"a decision, ms": 1e3 * (time.perf_counter() - began) / size.trials}))


STAGES: dict[str, Callable[[Path, Size], None]] = {
    "plan": plan,
    "journal": journal,
    "ingest": ingest,
    "report": report,
    "report again": report,
    "finish": finish,
    "report after one": report,
    "re-check": run,
    "query": query,
    "claims": claims,
    "dispatch": dispatch,
}
UNTOLD = ("finish",)
"""Stages that only prepare the next one."""


def warm(stage: str) -> None:
    """Import what a stage needs, so that its seconds are of its work."""
    import pyarrow.compute  # noqa: F401
    import scipy.special  # noqa: F401

    import reports.site  # noqa: F401


def one_stage(stage: str, folder: Path, size: Size) -> None:
    """In a process of its own: print seconds, processor seconds and peak memory."""
    warm(stage)
    began, busy = time.perf_counter(), time.process_time()
    STAGES[stage](folder, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"seconds": time.perf_counter() - began, "processor": time.process_time() - busy, "MB": peak}
    print(json.dumps(told))


def measured(folder: Path, size: Size, stages: list[str]) -> dict[str, dict[str, float]]:
    """Every stage's figures, in order; prints a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    write_suite(folder)
    found: dict[str, dict[str, float]] = {}
    for stage in stages:
        began = time.perf_counter()
        given = ["--stage", stage, "--trials", str(size.trials), "--rows", str(size.rows)]
        done = subprocess.run([sys.executable, __file__, str(folder), *given], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found[stage] = {key: value for line in lines for key, value in line.items()}
        found[stage]["whole"] = time.perf_counter() - began
        if stage not in UNTOLD:
            row = found[stage]
            more = f"{row['a decision, ms']:10.4f} ms a decision" if "a decision, ms" in row else ""
            print(
                f"{size.trials:9,}{size.trials * size.rows:13,}  {stage:18}{row['seconds']:9.2f}"
                f"{row['processor']:11.2f}{row['whole']:9.2f}{row['MB']:9.0f}{more}",
                flush=True,
            )
    return found


def main() -> None:
    """The table, or one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, nargs="*", default=list(SCALES))
    parser.add_argument("--rows", type=int, default=100, help="of metrics, a trial")
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--keep", action="store_true", help="leave the stores")
    given = parser.parse_args()
    if given.stage:
        one_stage(given.stage, given.folder, Size(given.trials[0], given.rows))
        return
    heads = (("trials", 9), ("metric rows", 13))
    print(
        "".join(f"{text:>{width}}" for text, width in heads) + f"  {'stage':18}{'seconds':>9}{'processor':>11}"
        f"{'whole':>9}{'MB':>9}"
    )
    for trials in given.trials:
        place = given.folder / str(trials)
        measured(place, Size(trials, given.rows), given.stages)
        if not given.keep:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
