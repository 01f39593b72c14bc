"""The shared loop: trains any task under its recipe, and collects series, final results and mechanism traces.

Every random number is a function of (stream, seed, step), so the numbers do not depend on what ran before in the
process, on the executor, or on the order of trials.
"""

import contextlib
import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, OutOfTimeError, choices
from harness.trial.assembly import assemble
from harness.trial.contracts import Diagnostic, Evaluation, StepResult, Task
from harness.trial.data_parallel import replicas
from harness.trial.loading import PendingBatch
from harness.trial.recipe import Recipe, evenly, factors, log_spaced
from harness.trial.result import Artifact, MetricSeries, Score, TrainingResult
from harness.trial.runtime import Runtime
from harness.trial.saved import drop_checkpoint, load_checkpoint, save_checkpoint, save_trained_weights
from harness.trial.seeds import seed_torch
from harness.trial.spec import TrialSpec

LOGGED_STEPS = 200
LAG = 16
"""Steps by which a device's losses are read late, so that the host never waits for a step that it has just queued."""
LARGEST_ITEMS = 200_000  # values; larger per-item outputs are not kept
_COUNTERS = ("step", "epoch", "position")
_STATEFUL = ("model", "optimizer", "scaler")


class DivergedError(Exception):
    """The loss is NaN or infinite."""

    def __init__(self, step: int, loss: float) -> None:
        self.step = step
        super().__init__(f"loss is {loss} at step {step}")


def settle(recipe: Recipe) -> None:
    """Set threads and determinism of this process from the recipe."""
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It also fills every new tensor with NaN, a tenth of a small network's step; what is read here was written before.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.set_default_dtype(torch.float32)


def train(spec: TrialSpec, runtime: Runtime) -> TrainingResult:
    """Run a trial to its end; errors are the task's, and OutOfTimeError between steps."""
    task = assemble(spec, runtime)
    settle(task.recipe)
    if task.recipe.devices != replicas().count:
        several = "a trial on several devices is run by Ray Train: --executor ray"
        raise HarnessError(f"devices: {task.recipe.devices}: {several}")
    seed_torch(task.streams.number("init"))
    with contextlib.closing(task.loader):
        return Loop(task, task.build(), runtime).run()


def _of_epoch(epoch: int, batch: Any) -> tuple[int, Any]:
    return epoch, batch


def build_optimizer(task: Task, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer slot over the task's parameter groups."""
    slot = task.context.slots["optimizer"]
    groups = []
    for group in task.parameter_groups(model):
        own = {key: value for key, value in group.items() if key != "lr_scale"}
        if "lr_scale" in group:
            own["lr"] = slot.hyper_parameters["lr"] * group["lr_scale"]
        groups.append(own)
    built: torch.optim.Optimizer = slot.build(groups)
    return built


class Loop:
    """One training, from the first step to the final scores."""

    def __init__(self, task: Task, model: nn.Module, runtime: Runtime) -> None:
        self.task, self.model, self.runtime = task, model, runtime
        self.recipe = task.recipe
        self.replicas = replicas()
        self.optimizer = build_optimizer(task, model)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.per_epoch = max(1, task.steps_per_epoch())
        self.total = self.recipe.total_steps(self.per_epoch) if task.trains else 0
        self.factor = factors(self.recipe, self.total)
        place = () if self.replicas.first else ("replica", self.replicas.rank)
        self.noise = task.streams.by_step("noise", *place)
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=self.recipe.precision == "float16")
        probed = self.recipe.diagnostics != "off" and self.replicas.first
        self.probe: Diagnostic | None = task.probe(model) if probed else None
        self.series: dict[tuple[str, str], MetricSeries] = {}
        self.best: tuple[float, dict[str, Tensor]] | None = None
        self.selected: Evaluation | None = None  # on validation, of the weights that the recipe selects so far
        self.started = time.perf_counter()
        self.last_beat = time.monotonic()  # the worker has just sent one
        self.last_checkpoint = time.monotonic()
        self.probing = False
        # Losses of steps that are queued but not read yet; on a CPU, and between processes, each is read at once.
        self.unread: deque[tuple[int, Tensor]] = deque()
        self.lag = LAG if runtime.device.type != "cpu" and self.replicas.count == 1 else 0
        self.step = self.epoch = self.position = 0  # steps done, the epoch, and batches of it that are done
        self._resume()
        if self.replicas.mean(self.step, runtime.device) != self.step:
            raise HarnessError(
                f"devices: {self.replicas.count}: the processes do not share {runtime.folder}, where the checkpoint "
                f"lies; keep the database on a file system that all machines see"
            )

    def run(self) -> TrainingResult:
        logged = evenly(self.total, min(self.total, LOGGED_STEPS)) | {0}
        probed = log_spaced(self.total) if self.probe is not None else set()
        evaluated = evenly(self.total, min(self.total, self.recipe.evaluations))
        try:
            for batch in self._batches():
                step = self.step
                self.probing = step in probed
                if self.probing:
                    self._read_losses()
                result = self.take_step(step, batch)
                if step in logged or step in evaluated:
                    self._read_losses()
                if step in logged:
                    self._log_step(step, result)
                if step in evaluated:
                    self._evaluate(step)
                self.step, self.position = step + 1, self.position + 1
                self._beat(step, result.loss)
                self._checkpoint()
            self._read_losses()
        except DivergedError as error:
            if self.replicas.first:
                drop_checkpoint(self.runtime.folder)
            series = list(self.series.values())
            return TrainingResult("diverged", self._mechanisms(), series, [], error.step, str(error))
        if not self.replicas.first:
            return TrainingResult("done", [], [], [], self.total)
        outcome = self.finish()
        drop_checkpoint(self.runtime.folder)
        return outcome

    def _batches(self) -> Iterator[Any]:
        """Yield the remaining batches, read ahead."""
        for epoch, batch in self.task.loader.ahead(self._readings()):
            if time.monotonic() > self.runtime.deadline:
                raise OutOfTimeError(f"out of time at step {self.step} of {self.total}")
            if epoch != self.epoch:
                self.epoch, self.position = epoch, 0
            yield batch

    def _readings(self) -> Iterator[PendingBatch[tuple[int, Any]]]:
        """Yield the remaining batches with their epochs; after a resumption finished ones are skipped."""
        epoch, done, left = self.epoch, self.position, self.total - self.step
        while left > 0:
            listed = done
            for reading in itertools.islice(self.task.readings(epoch), done, done + left):
                yield reading.then(partial(_of_epoch, epoch))
                listed, left = listed + 1, left - 1
            if listed == 0:
                raise ValueError("the task yields no batch: is the batch larger than the training data?")
            epoch, done = epoch + 1, 0

    def _checkpoint(self) -> None:
        now = time.monotonic()
        due = now - self.last_checkpoint >= self.runtime.checkpoint_seconds and self.step < self.total
        if not self.replicas.agreed(due, self.runtime.device):
            return
        self._read_losses()
        self.last_checkpoint = now
        self.task.gather(self.replicas)
        if self.replicas.first:
            state = {
                **{name: getattr(self, name) for name in _COUNTERS},
                **{name: getattr(self, name).state_dict() for name in _STATEFUL},
                "elapsed": time.perf_counter() - self.started,
                "best": None if self.best is None else list(self.best),
                "series": [dataclasses.asdict(series) for series in self.series.values()],
                "probe": None if self.probe is None else self.probe.state_dict(),
                "task": self.task.state(),
            }
            save_checkpoint(self.runtime.folder, state)

    def _resume(self) -> None:
        """Continue from the last checkpoint, bit-equal to an undisturbed training."""
        state = load_checkpoint(self.runtime.folder)
        if state is None:
            return
        self.step, self.epoch, self.position = (state[name] for name in _COUNTERS)
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.started = time.perf_counter() - state["elapsed"]
        self.best = None if state["best"] is None else (state["best"][0], state["best"][1])
        self.series = {(item["split"], item["name"]): MetricSeries(**item) for item in state["series"]}
        if self.probe is not None and state["probe"] is not None:
            self.probe.load_state_dict(state["probe"])
        self.task.restore(state["task"])

    def take_step(self, step: int, batch: Any) -> StepResult:
        """Take a step with the schedule's learning rate and its own noise."""
        if not self.model.training:  # after a score; asking every module at every step takes a twentieth of small ones
            self.model.train()
        seed_torch(self.noise(step))  # dropout and the like
        if self.replicas.count > 1:
            batch = self.task.share(batch, self.replicas)
        rate = self.factor(step)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        with self._autocast():
            return self.task.optimize(batch, step, lambda result: self._update(step, result))

    def _update(self, step: int, result: StepResult) -> None:
        """Backward and optimizer step, outside autocast."""
        if self.lag:
            self.unread.append((step, result.loss.detach()))
            self._read_losses(self.lag)
        else:
            self._must_be_finite(step, result.loss.item())
        device = self.runtime.device.type
        # Where it is off already, turning it off costs a thirtieth of a small network's step.
        off = torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()
        with off:
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(result.loss).backward()
            if self.replicas.count > 1:
                self.replicas.average(self._parameters())
            if self.recipe.clip_norm is not None or self.probing:
                self.scaler.unscale_(self.optimizer)
            if self.recipe.clip_norm is not None:
                limited = self.task.clipped(self.model) or self._parameters()
                norm = nn.utils.clip_grad_norm_(limited, self.recipe.clip_norm)
                if self.probing:
                    self._append("train", "gradient_norm", step, float(norm))
            if self.probing and self.probe is not None:
                self.probe.before_step()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.probing and self.probe is not None:
                for name, quantity in self.probe.after_step(self.optimizer).items():
                    self._append("train", f"mechanism.{name}", step, float(quantity))

    def _read_losses(self, unread: int = 0) -> None:
        """Read the losses of all steps but the last few; the first that is not finite ends the training."""
        while len(self.unread) > unread:
            step, loss = self.unread.popleft()
            self._must_be_finite(step, loss.item())

    def _must_be_finite(self, step: int, loss: float) -> None:
        value = self.replicas.mean(loss, self.runtime.device)
        if not math.isfinite(value):
            raise DivergedError(step, value)

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.recipe.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.runtime.device.type, dtype=getattr(torch, self.recipe.precision))

    def _log_step(self, step: int, result: StepResult) -> None:
        device = self.runtime.device
        self._append("train", "loss", step, self.replicas.mean(float(result.loss.detach()), device))
        self._append("train", "learning_rate", step, self.optimizer.param_groups[0]["lr"])
        for name, value in result.logged.items():
            self._append("train", name, step, self.replicas.mean(float(value), device))

    def _append(self, split: str, name: str, step: int, value: float) -> None:
        series = self.series.get((split, name))
        if series is None:
            series = self.series[split, name] = MetricSeries(split, name)
        series.step.append(step + 1)
        series.epoch.append((step + 1) / self.per_epoch)
        series.value.append(value)
        series.elapsed_seconds.append(time.perf_counter() - self.started)

    def _score(self, split: str) -> Evaluation:
        self.model.eval()
        seed_torch(self.task.streams.number("evaluation"))
        with torch.no_grad():
            return self.task.evaluate(split)

    def _evaluate(self, step: int) -> None:
        if not self.replicas.first:
            return
        evaluation = self._score("validation")
        for name, value in evaluation.metrics.items():
            self._append("validation", name, step, value)
        if self.recipe.select == "best_on_validation" and self.recipe.selection_metric is not None:
            score = evaluation.metrics[self.recipe.selection_metric]
            score = -score if self.recipe.selection_better == "lower" else score
            if math.isfinite(score) and (self.best is None or score > self.best[0]):
                weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
                self.best, self.selected = (score, weights), evaluation
        elif step + 1 == self.total:
            self.selected = evaluation

    def _beat(self, step: int, loss: Tensor) -> None:
        now = time.monotonic()
        if now - self.last_beat >= 1.0:
            self.last_beat = now
            self.runtime.beat(step + 1, self.total, float(loss.detach()))

    def _mechanisms(self) -> list[Score]:
        quantities = {} if self.probe is None else dict(self.probe.summary())
        if self.recipe.diagnostics != "off":
            quantities.update(self.task.mechanisms())
        return [Score("train", f"mechanism.{name}", float(value)) for name, value in quantities.items()]

    def finish(self) -> TrainingResult:
        """Final scores of the weights that the recipe selects, mechanisms, artifacts."""
        results = self._mechanisms()
        if self.best is not None:
            self.model.load_state_dict(self.best[1])
        artifacts: list[Artifact] = []
        for split in ("validation", "test"):
            # After a resumption the selected weights may have to be scored again.
            evaluation = (self.selected if split == "validation" else None) or self._score(split)
            results += [Score(split, name, float(value)) for name, value in evaluation.metrics.items()]
            if split == "test" and evaluation.items:
                artifacts += self._keep_items(evaluation.items)
        artifacts += self.task.artifacts()
        if self.runtime.keep_product:
            path = save_trained_weights(self.runtime.folder, self.task.product(self.model))
            artifacts.append(Artifact("product", "weights", path, "what other trials start from"))
        return TrainingResult("done", _checked(self.task, results), list(self.series.values()), artifacts, self.total)

    def _keep_items(self, items: Mapping[str, np.ndarray]) -> list[Artifact]:
        """Save per-item outputs below a size, for intervals with item noise."""
        kept = {name: array for name, array in items.items() if array.size <= LARGEST_ITEMS}
        if not kept:
            return []
        path = self.runtime.folder / "items.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **kept)  # type: ignore[arg-type]
        return [Artifact("items", "npz", path, "per-item outputs on the test split")]


def _checked(task: Task, results: list[Score]) -> list[Score]:
    """Return results whose metrics are declared, or a mechanism's, and unique."""
    seen: set[tuple[str, str]] = set()
    for split, metric, _ in results:
        if metric not in task.metadata.metrics and not metric.startswith("mechanism."):
            undeclared = (
                f"the task '{task.metadata.name}' reports '{metric}' on {split}, which its metadata does not declare"
            )
            raise HarnessError(f"{undeclared}; {choices(task.metadata.metrics, metric)}")
        if (split, metric) in seen:
            raise HarnessError(f"the task '{task.metadata.name}' reports '{metric}' on {split} twice")
        seen.add((split, metric))
    return results
