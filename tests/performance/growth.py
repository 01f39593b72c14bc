"""Cost of each stage at 10³, 10⁴ and 10⁵ trials: time and memory, printed as a table.

    python tests/performance/growth.py FOLDER                     # 10³ … 10⁵ trials, 100 metric rows a trial
    python tests/performance/growth.py FOLDER --trials 100000 --rows 1000      # 10⁸ metric rows

The event log is written line by line and ingested by a writer, as in a run. Each stage runs in its own process, so that
its memory is its own; ``seconds`` and ``processor`` begin after its imports, ``whole`` is the command from start to
end. ``test_costs.py`` counts the work of the same stages at small sizes.
"""

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
    """Size of a store: trials of the suite, rows of ``metrics`` a trial."""

    trials: int
    rows: int

    @property
    def seeds(self) -> int:
        """Seeds of each of the hundred configurations."""
        return self.trials // (BENCHMARKS * ARMS)


def write_suite(folder: Path) -> Path:
    """Write a suite of ten benchmarks, ten arms and ninety claims."""
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
    """Write the log segment of a run whose writer died: all trials done but the last."""
    from harness.app.run import suite_spec
    from harness.app.session import planned
    from harness.judge import claim_rows
    from harness.plan.planning import Selection, make_plan
    from harness.store import Outcome
    from harness.store.event_log import EventLog
    from harness.store.events import ClaimsEvent, EnvironmentEvent, OutcomeEvent, RunEvent
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
    segment = EventLog(folder / "growing.duckdb.journal", RUN)
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
    """Ingest the event log, write the snapshot, archive the log segment."""
    from harness.store import Writer

    with Writer(folder / "growing.duckdb"):
        pass
    assert not list((folder / "growing.duckdb.journal").glob(f"*{RUN}*.jsonl"))


def finish(folder: Path, size: Size) -> None:
    """Run the last trial."""
    run(folder, size, "--executor", "inline")


def run(folder: Path, size: Size, *more: str) -> None:
    """``harness run`` on the finished suite."""
    command("run", folder / "growing.yaml", "--no-report", "--quiet", "--seeds", size.seeds, *more, database=folder)


def query(folder: Path, size: Size) -> None:
    """Query means of all configurations and the ends of all series."""
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
    """Run a command of the harness in this process."""
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
    """Dispatch as many jobs as there are trials; the second half depends on the first."""
    from harness.execute.dispatch import Dispatcher, Policy, Recorder, Watch
    from harness.execute.executors.base import Progress
    from harness.execute.worker import Job
    from harness.plan.planning import Selection, make_plan
    from harness.store import Outcome
    from harness.suite import load_suite
    from harness.vocabulary import Status

    class Instant:
        """An executor whose trials end when submitted: only decisions are left."""

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

    spec = make_plan(load_suite(folder / "growing.yaml"), Selection(seeds=(0,))).trials[0].spec
    half = size.trials // 2
    jobs = [
        Job(f"{number:064x}", "job", str(number), spec, folder, needs=(f"{number - half:064x}",) * (number >= half))
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
HIDDEN = ("finish",)
"""Stages that only prepare the next stage."""


def warm(stage: str) -> None:
    """Import the modules of a stage before it is timed."""
    import pyarrow.compute  # noqa: F401
    import scipy.special  # noqa: F401

    import reports.site  # noqa: F401


def one_stage(stage: str, folder: Path, size: Size) -> None:
    """Print time, processor time and peak memory of a stage."""
    warm(stage)
    began, busy = time.perf_counter(), time.process_time()
    STAGES[stage](folder, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"seconds": time.perf_counter() - began, "processor": time.process_time() - busy, "MB": peak}
    print(json.dumps(figures))


def measured(folder: Path, size: Size, stages: list[str]) -> dict[str, dict[str, float]]:
    """Measure the stages in order and print a line each."""
    folder.mkdir(parents=True, exist_ok=True)
    write_suite(folder)
    rows: dict[str, dict[str, float]] = {}
    for stage in stages:
        began = time.perf_counter()
        options = ["--stage", stage, "--trials", str(size.trials), "--rows", str(size.rows)]
        done = subprocess.run([sys.executable, __file__, str(folder), *options], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        rows[stage] = {key: value for line in lines for key, value in line.items()}
        rows[stage]["whole"] = time.perf_counter() - began
        if stage not in HIDDEN:
            row = rows[stage]
            more = f"{row['a decision, ms']:10.4f} ms a decision" if "a decision, ms" in row else ""
            print(
                f"{size.trials:9,}{size.trials * size.rows:13,}  {stage:18}{row['seconds']:9.2f}"
                f"{row['processor']:11.2f}{row['whole']:9.2f}{row['MB']:9.0f}{more}",
                flush=True,
            )
    return rows


def main() -> None:
    """Print the table, or run a single stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, nargs="*", default=list(SCALES))
    parser.add_argument("--rows", type=int, default=100, help="of metrics, a trial")
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--stages", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--keep", action="store_true", help="leave the stores")
    options = parser.parse_args()
    if options.stage:
        one_stage(options.stage, options.folder, Size(options.trials[0], options.rows))
        return
    heads = (("trials", 9), ("metric rows", 13))
    print(
        "".join(f"{text:>{width}}" for text, width in heads) + f"  {'stage':18}{'seconds':>9}{'processor':>11}"
        f"{'whole':>9}{'MB':>9}"
    )
    for trials in options.trials:
        place = options.folder / str(trials)
        measured(place, Size(trials, options.rows), options.stages)
        if not options.keep:
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
