"""What a sweep's bookkeeping costs a point, beside Ray Tune on the same trials that do nothing.

Ray Tune is no dependency of this project, so the comparison lives in an environment of its own::

    python3 -m venv bench && bench/bin/pip install '.[test]' 'ray[tune]'
    bench/bin/pytest tests/performance/test_sweep_overhead.py --benchmark-enable -s

Both draw at random and run the same number of trials, each of which returns a number at once, on the same Ray session
of two CPUs, in turns. Ours are tasks; Ray Tune keeps its actors (``reuse_actors=True``). Our time holds everything
from opening the store to the summary: draws, plans, identities, journal with fsync, ingestion, told points, curves.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from harness.app import sweep as engine
from harness.app.session import Session
from harness.app.sweep import SweepRequest
from harness.execute.dispatch import Policy, Watch
from harness.execute.executors import ExecutorOptions, RayExecutor
from harness.plan.tuning import make_tuning
from harness.store import Outcome, Owner
from harness.suite import load_suite
from harness.sweep.summary import summarise
from harness.trial.result import Score
from harness.vocabulary import Status

POINTS = 400
MANY = 1000  # beside Ray Tune: the start of two workers, which both pay, is then a small share
TURNS = 2
SPACES = """
sweep:
  arms: [base, better]
  spaces: {"*": {optimizer.lr: {low: 1.0e-3, high: 1.0, log: true}}}
"""

pytestmark = pytest.mark.slow


def nothing(job: Any, heartbeats: Any, home: str = "", asked: float | None = None, side_by_side: int = 1) -> Outcome:
    """A trial that returns its score at once, in the form of a real one."""
    score = -((math.log10(job.spec.slots.methods["optimizer"].values["lr"]) + 1) ** 2)
    return Outcome(
        job.trial_id,
        Status.DONE,
        job.attempt,
        "2026-01-01T00:00:00",
        device="cpu",
        wall_seconds=0.0,
        cpu_seconds=0.0,
        peak_memory_mb=1.0,
        results=(Score("validation", "score", score),),
    )


class Instant:
    """An executor whose trials have ended when they are submitted: what is left is bookkeeping."""

    isolated = False
    ahead = 0

    def __init__(self) -> None:
        self.waiting: list[Outcome] = []

    def has_room(self, job: Any) -> bool:
        return len(self.waiting) < 2

    def submit(self, job: Any) -> None:
        self.waiting.append(nothing(job, None))

    def wait(self, timeout: float) -> list[Outcome]:
        done, self.waiting = self.waiting, []
        return done

    def progress(self) -> list[Any]:
        return []

    def cancel(self, trial_id: str) -> None:
        return

    def shutdown(self) -> None:
        return


def ours(suite_file: Path, database: Path, executor: Any, sampler: str = "random", points: int = POINTS) -> float:
    """Seconds of a sweep's points, half of them an arm's, without the comparison at its end."""
    request = SweepRequest(database=database, benchmark="known", budget=points // 2, sampler=sampler)
    suite = load_suite(suite_file)
    began = time.perf_counter()
    tuning = make_tuning(suite, request.tuning)
    with Owner(database, "sweep-of-nothing") as owner:
        session = Session(owner, request, Policy(), Watch())
        session._kept.executor = executor
        search = engine.Search(tuning, request.budget, session)
        search.tune()
        owner.flush()
        summary = summarise(tuning, search.points, request.budget)
    seconds = time.perf_counter() - began
    assert summary["told"] == {"base": points // 2, "better": points // 2}
    return seconds


def ray_tune(folder: Path, points: int, sampler: str = "random") -> float:
    """Seconds of as many samples; ``tpe``: by Optuna's search, four at a time as a round of ours."""
    from ray import tune

    how: dict[str, Any] = {}
    if sampler == "tpe":
        from ray.tune.search import ConcurrencyLimiter
        from ray.tune.search.optuna import OptunaSearch

        how = {"search_alg": ConcurrencyLimiter(OptunaSearch(metric="score", mode="max"), max_concurrent=4)}

    class Nothing(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.lr = config["lr"]

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.lr = new_config["lr"]
            return True

        def step(self) -> dict[str, Any]:
            return {"score": -((math.log10(self.lr) + 1) ** 2), "process": os.getpid(), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None:
            return

    tuner = tune.Tuner(
        tune.with_resources(Nothing, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-3, 1.0)},
        tune_config=tune.TuneConfig(num_samples=points, metric="score", mode="max", reuse_actors=True, **how),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    assert len(results) == points
    assert not results.errors
    assert len({result.metrics["process"] for result in results}) <= 4  # its actors were reused
    return seconds


@pytest.fixture
def suite_file(tiny: Path) -> Path:
    tiny.write_text(tiny.read_text() + SPACES)
    return tiny


def spent() -> float:
    """Processor seconds so far of this process and all below it: other jobs disturb them less than the wall's."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.Error:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


Spans = list[tuple[float, float]]


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Wall and processor seconds."""
    before = spent()
    seconds = run()
    return seconds, spent() - before


def shown(name: str, spans: Spans, points: int = POINTS) -> None:
    wall, busy = ([1e3 * span[which] / points for span in spans] for which in (0, 1))
    print(
        f"{name:40}{points:6}{min(wall):8.2f}{median(wall):8.2f} ms a point (best, median of {len(wall)})"
        f"{min(busy):8.2f} ms of processors"
    )


class Inside:
    """Seconds within Optuna, of asking and telling."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import optuna

        self.seconds = 0.0
        for name in ("ask", "tell", "add_trials"):
            monkeypatch.setattr(optuna.study.Study, name, self._timed(getattr(optuna.study.Study, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return method(*given, **named)
            finally:
                self.seconds += time.thread_time() - began

        return call


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_bookkeeping_alone(suite_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    ours(suite_file, tmp_path / "warm.duckdb", Instant(), sampler, 16)
    print()
    for points in (100, 200, POINTS):
        inside = Inside(monkeypatch)
        spans = [
            timed(lambda at=turn, of=points: ours(suite_file, tmp_path / f"{of}-{at}.duckdb", Instant(), sampler, of))
            for turn in range(TURNS)
        ]
        shown(f"bookkeeping alone, {sampler}", spans, points)
        own = [busy for _, busy in spans]
        theirs = inside.seconds / TURNS
        print(
            f"{'':40}of it {1e3 * theirs / points:.2f} ms within Optuna, {1e3 * (min(own) - theirs) / points:.2f} ours"
        )


@pytest.mark.ray
@pytest.mark.parametrize(("sampler", "points"), [("random", POINTS), ("random", MANY), ("tpe", POINTS)])
def test_beside_ray_tune(suite_file: Path, tmp_path: Path, sampler: str, points: int) -> None:
    pytest.importorskip("ray.tune", reason="pip install 'ray[tune]' in an environment of its own")
    import ray

    executor = RayExecutor(ExecutorOptions(tmp_path / "sessions"))
    try:
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
        executor._remote = ray.remote(max_retries=0)(nothing)
        theirs: Spans = []
        own: Spans = []
        for turn in range(TURNS):
            own.append(timed(lambda at=turn: ours(suite_file, tmp_path / f"{at}.duckdb", executor, sampler, points)))
            theirs.append(timed(lambda at=turn: ray_tune(tmp_path / f"tune-{at}", points, sampler)))
    finally:
        executor.shutdown()
    print()
    shown(f"harness sweep, {sampler}, trials that do nothing", own, points)
    shown(f"Ray Tune {ray.__version__}, {sampler}, reuse_actors", theirs, points)
    for which, unit in ((0, "wall"), (1, "processors")):
        one, other = [span[which] for span in theirs], [span[which] for span in own]
        ratios = min(one) / min(other), median(one) / median(other)
        print(f"Ray Tune ÷ harness, {unit}: {ratios[0]:.1f} (best), {ratios[1]:.1f} (median)")
