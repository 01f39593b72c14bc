"""Guards of five budgets by counts, never by times: start, plan, ingest, report, step.

Counted are calls of functions (by ``cProfile``, in the calling thread), imported modules, openings of the database and
operations on tensors: they are the same on a loaded machine. ``growth.py`` prints the times.
"""

import cProfile
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import growth
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.plan.planning import Selection, make_plan
from harness.registry.metadata import TaskMetadata
from harness.suite import load_suite
from harness.trial.contracts import Evaluation, Slot, StepResult, Task, TrialContext
from harness.trial.loop import Loop
from harness.trial.recipe import Recipe
from harness.trial.runtime import Runtime
from harness.trial.seeds import Streams

FOUR_TIMES = 4.4
"""Calls that four times as many trials may take: linear growth, and a tenth for what comes in blocks."""
MODULES = {"--help": 160, "plan": 750}
OPENINGS = 36
"""Openings of the database in a run of two trials."""
LOOP_CALLS = 95
"""Calls of functions that a step of the shared loop may take beside those of a loop by hand."""


def calls(work: Callable[[], object]) -> int:
    """Count the calls of functions, built-in ones included."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


# start


@pytest.mark.default
@pytest.mark.parametrize("command", MODULES)
def test_start_imports_few_modules(command: str, tiny: Path, database: Path) -> None:
    arguments = [command] if command == "--help" else [command, str(tiny), "--db", str(database)]
    code = f"import sys\nfrom harness.cli.group import run_main\nrun_main({arguments!r})\nprint(len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) <= MODULES[command]


# plan, dispatch


@pytest.mark.default
def test_planning_and_dispatch_are_linear(tmp_path: Path) -> None:
    suite = load_suite(growth.write_suite(tmp_path))

    def planned(seeds: int) -> int:
        return calls(lambda: make_plan(suite, Selection(seeds=tuple(range(seeds)))))

    def decided(trials: int) -> int:
        return calls(lambda: growth.dispatch(tmp_path, growth.Size(trials, 0)))

    planned(1)  # what is computed once a process
    assert planned(20) < FOUR_TIMES * planned(5)
    decided(4)
    assert decided(4000) < FOUR_TIMES * decided(1000)


# ingest, report


STAGES = ("journal", "ingest", "finish", "re-check", "query", "report")


def calls_of_stages(folder: Path, trials: int) -> dict[str, int]:
    growth.write_suite(folder)
    size = growth.Size(trials, 20)
    return {name: calls(lambda name=name: growth.STAGES[name](folder, size)) for name in STAGES}  # type: ignore[misc]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, int]]:
    """Calls of each stage, for a small store and a larger one."""
    growth.warm("report")
    calls_of_stages(tmp_path_factory.mktemp("warm"), 100)  # imports modules and fills caches
    return {trials: calls_of_stages(tmp_path_factory.mktemp("growing"), trials) for trials in (100, 400)}


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "finish"])
def test_a_stage_grows_at_most_linearly(counted: dict[int, dict[str, int]], stage: str) -> None:
    assert counted[400][stage] < FOUR_TIMES * counted[100][stage]


@pytest.mark.default
def test_a_run_of_two_trials_opens_the_database_rarely(
    tiny: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    from harness.cli.group import run_main

    opened = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda *place, **more: (opened.append(place), connect(*place, **more))[1])
    run = ["run", str(tiny), "--seeds", "1", "--executor", "inline", "--no-report", "--quiet", "--db", str(database)]
    assert run_main(run) == 0
    assert len(opened) <= OPENINGS


# step


Batch = tuple[Tensor, Tensor]


class Ready(Task):
    """A linear layer on a batch in memory: what else a step does is the loop's."""

    metadata = TaskMetadata(
        name="ready", target="Ready", summary="a batch in memory", slots=("optimizer",), metrics=(), reads=()
    )

    def __init__(self, context: TrialContext) -> None:
        super().__init__(context)
        self.model = nn.Linear(4, 3)
        self.batch = (torch.ones(2, 4), torch.tensor([0, 1]))

    def build(self) -> nn.Module:
        """The layer."""
        return self.model

    def steps_per_epoch(self) -> int:
        """All steps."""
        return int(self.recipe.steps or 0)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The same batch for every step."""
        for _ in range(self.steps_per_epoch()):
            yield self.batch

    def training_step(self, batch: Batch, step: int) -> StepResult:
        """Cross-entropy."""
        return StepResult(nn.functional.cross_entropy(self.model(batch[0]), batch[1]))

    def evaluate(self, split: str) -> Evaluation:
        """No metrics."""
        return Evaluation({})


def by_the_loop(steps: int) -> Callable[[], object]:
    """A training by the shared loop."""
    context = TrialContext(
        recipe=Recipe(steps=steps, schedule="cosine", evaluations=1, diagnostics="off"),
        options=None,
        load_data=lambda: None,
        build_model=lambda facts: nn.Linear(4, 3),
        slots={"optimizer": Slot("adam", torch.optim.Adam, {"lr": 1e-3, "fused": True})},
        streams=Streams(0),
        device=torch.device("cpu"),
        scale="mini",
        folder=Path(),
        load_prerequisite=lambda name, facts: nn.Linear(4, 3),
    )
    task = Ready(context)
    components: Callable[[str, str], object] = lambda kind, name: None  # noqa: E731
    runtime = Runtime(Path("nowhere"), torch.device("cpu"), components, Path())  # type: ignore[arg-type]
    return Loop(task, task.model, runtime).run


def by_hand(steps: int) -> Callable[[], object]:
    """The same training without anything else."""

    def train() -> None:
        model, batch = nn.Linear(4, 3), (torch.ones(2, 4), torch.tensor([0, 1]))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()

    return train


class Operations(TorchDispatchMode):
    """Counts operations on tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return operation(*arguments, **(options or {}))


def operations(train: Callable[[], object]) -> int:
    with Operations() as mode:
        train()
    return mode.count


@pytest.mark.default
@pytest.mark.parametrize(("count", "most"), [(calls, LOOP_CALLS), (operations, 2.1)])
def test_a_step_of_the_loop_is_little_more_than_its_work(count: Callable[..., int], most: float) -> None:
    by_the_loop(10)()
    by_hand(10)()
    a_step = {train: (count(train(300)) - count(train(100))) / 200 for train in (by_the_loop, by_hand)}
    assert a_step[by_the_loop] - a_step[by_hand] <= most
