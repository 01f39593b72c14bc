"""Cross-domain Wi-Fi sensing: adaptation from a source to a target with shots."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Diagnostic, Evaluation, StepResult, Task
from harness.trial.seeds import seed_torch
from methods.alignment.diagnostics import purity
from methods.alignment.help_set import HelpSet, corrupt_labels
from methods.alignment.inputs import Adaptation, AdaptationBatch
from methods.alignment.stopping import StoppingOptions, StoppingRule
from suites.data.csi_domains import CsiDomains
from suites.data.types import Labels
from suites.tasks.common import LatestDiagnostic, NetworkWithLoss, batch_norm_momentum, evaluating, share_of
from suites.tasks.sensing_scores import STOPS, Epochs, SensingOptions, alignment, scores
from suites.tasks.target_domain import Target, draw_shots, halve, help_set, purities


@dataclass(frozen=True, slots=True, eq=False)
class SensingBatch:
    """Windows (B, 1, T, S) of source, target and help set."""

    source: Tensor
    labels: Tensor
    target: Tensor | None
    help: Tensor | None
    help_labels: Tensor | None


class Sensing(Task):
    """Training on the source under an adaptation, evaluated on the target.

    Every epoch scores the shots and predicts the target; training runs its whole length. ``stop`` selects the reported
    epoch: the one at which the stopping rule, from the shots' accuracy and loss alone, ends the training; the best
    epoch on the shots; or the last. The best epoch on the target is reported as ``*_oracle`` beside it. Only scores,
    mechanisms in hindsight (purity, skill, alignment, the stop against the best epoch), ``oracle_labels`` and
    ``train_on: target`` read the target's hidden labels.

    Methods that predict without training (``predict``) take no step.
    """

    metadata = TaskMetadata(
        name="sensing",
        target="Sensing",
        summary="cross-domain Wi-Fi sensing with a few labelled target windows, scored by balanced accuracy",
        slots=("optimizer", "adaptation"),
        metrics=(
            "balanced-accuracy",
            "target-accuracy",
            "epoch-to-epoch-accuracy-fluctuation",
            *(f"balanced-accuracy_{epoch}" for epoch in (*STOPS, "oracle")),
            "target-accuracy_oracle",
            "trivial.balanced-accuracy",
            "trivial.target-accuracy",
            "support-accuracy",
            "support-loss",
        ),
        reads=("csi",),
        options=SensingOptions,
    )

    options: SensingOptions
    data: CsiDomains
    target: Target
    model: NetworkWithLoss  # to embeddings (B, F) and logits (B, C)
    seen: AdaptationBatch

    def build(self) -> nn.Module:
        data: CsiDomains = self.context.load_data()
        self.names, self.classes = data.classes, len(data.classes)
        self.target = draw_shots(data.target, self.options.shots, self.streams, self.options.permute_hidden)
        network = self.context.build_model({"classes": self.classes, "channels": 1})
        if "adaptation" not in self.context.slots:
            raise HarnessError(
                "sensing: the slot 'adaptation' is empty; fill it in the arm, for example with source-only"
            )
        seed_torch(self.streams.number("init", "adaptation"))
        self.method = self.context.slots["adaptation"].build()
        self.trains = isinstance(self.method, Adaptation)
        self.uses = self.method.uses() if self.trains else frozenset[str]()
        self.model = NetworkWithLoss(network, self.method if self.trains else nn.Module()).to(self.device)
        self._place(data)
        self.rule = self._rule()
        self.epochs = Epochs()
        return self.model

    def _place(self, data: CsiDomains) -> None:
        """Move windows to the device: for training, alignment and scoring."""
        target = self.target
        self.steps = max(1, len(data.source) // self.recipe.batch_size)
        self.scored = np.ones(len(target.rest), dtype=bool)
        windows, labels = data.source.amplitudes, data.source.labels
        self.source_labels = labels
        if self.options.train_on == "target":
            inside = halve(target.recordings, target.hidden, self.streams.numpy("split", "in-domain"))
            windows, labels, self.scored = target.amplitudes[target.rest[inside]], target.hidden[inside], ~inside
        self.source, self.labels = self._tensor(windows), torch.tensor(labels, device=self.device)
        self.rest = self._tensor(target.amplitudes[target.rest])
        self.support = self._tensor(target.amplitudes[target.support])
        self.support_labels = torch.tensor(target.support_labels, device=self.device)
        self.help: HelpSet | None = None
        if "help_features" in self.uses:
            self.help = help_set(target, self.classes, self.options, self.streams)
            help_labels, wrong = self.help.labels, self.options.help_corrupted
            if wrong:
                help_labels = corrupt_labels(help_labels, wrong, self.classes, self.streams.numpy("noise", "help"))
            self.help_labels = torch.tensor(help_labels, device=self.device)
            self.help_places = torch.tensor(self.help.places, device=self.device)

    def _tensor(self, windows: np.ndarray) -> Tensor:
        return torch.tensor(windows, device=self.device)[:, None]

    def _rule(self) -> StoppingRule:
        names = (field.name for field in fields(StoppingOptions))
        try:
            return StoppingRule(StoppingOptions(*(getattr(self.options, f"stop_{name}") for name in names)))
        except ValueError as error:
            raise HarnessError(f"sensing: {error}") from error

    def steps_per_epoch(self) -> int:
        return self.steps

    def batches(self, epoch: int) -> Iterator[SensingBatch]:
        size = min(self.recipe.batch_size, len(self.source))
        orders = -(-self.steps * size // len(self.source))
        order = torch.cat([self._order(len(self.source), epoch, part) for part in range(orders)])
        for index in range(self.steps):
            places = order[index * size : (index + 1) * size]
            target = help_ = labels = None
            if "target_features" in self.uses:
                target = self.rest[self._order(len(self.rest), "target", epoch, index)[: self.recipe.batch_size]]
            if self.help is not None:
                drawn = self._order(len(self.help_places), "help", epoch, index)[: self.recipe.batch_size]
                help_, labels = self.rest[self.help_places[drawn]], self.help_labels[drawn]
            yield SensingBatch(self.source[places], self.labels[places], target, help_, labels)

    def _order(self, count: int, *place: str | int) -> Tensor:
        return torch.randperm(count, generator=self.streams.torch("order", *place)).to(self.device)

    def training_step(self, batch: SensingBatch, step: int) -> StepResult:
        """The adaptation's loss; each domain passes through the network separately."""
        features, logits = self.model(batch.source)
        moved = self.options.batch_norm == "all"
        extra: dict[str, Tensor] = {}
        if batch.help is not None and batch.help_labels is not None:
            extra["help_features"] = self._pass(batch.help, moved)[0]
            extra["help_labels"] = batch.help_labels
        if batch.target is not None:
            extra["target_features"] = self._pass(batch.target, moved)[0]
        if any(name.startswith("support_") for name in self.uses):
            # the shots are too few for running statistics
            extra["support_features"], extra["support_logits"] = self._pass(self.support, moved=False)
            extra["support_labels"] = self.support_labels
        progress = step / self.recipe.total_steps(self.steps)
        self.seen = AdaptationBatch(features, logits, batch.labels, progress=progress, **extra)
        loss = self.method(self.seen)
        return StepResult(loss.total, {f"term_{name}": value for name, value in loss.terms.items()})

    def _pass(self, windows: Tensor, moved: bool) -> tuple[Tensor, Tensor]:
        with nullcontext() if moved else batch_norm_momentum(self.model, 0.0):
            return self.model(windows)

    def optimize(self, batch: SensingBatch, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """Take one step; at epoch ends score shots and predict the target."""
        result = self.training_step(batch, step)
        update(result)
        total = self.recipe.total_steps(self.steps)
        if (step + 1) % self.steps == 0 or step + 1 == total:
            accuracy, loss = self._on_support()
            if not self.rule.stopped:
                self.rule.update(accuracy, loss)
            self.epochs.append(self._predictions(), accuracy, loss)
        return result

    def _on_support(self) -> tuple[float, float]:
        """Accuracy in percent and mean cross-entropy of the shots."""
        with evaluating(self.model), torch.autocast(self.device.type, enabled=False):
            logits = self.model(self.support)[1].float()
            hits = logits.argmax(dim=1) == self.support_labels
            return share_of(hits), float(F.cross_entropy(logits, self.support_labels))

    def _predictions(self) -> Labels:
        return self._outputs(self.rest, 1).argmax(dim=1).cpu().numpy()

    def _outputs(self, windows: Tensor, which: int) -> Tensor:
        """Embeddings (0) or logits (1) of all windows."""
        with evaluating(self.model):
            return torch.cat([self.model(part)[which] for part in windows.split(self.recipe.eval_batch)])

    def evaluate(self, split: str) -> Evaluation:
        """Score the shots (``validation``) or the target at the reported epoch (``test``)."""
        if split == "validation" and self.trains:
            accuracy, loss = self._on_support()
            return Evaluation({"support-accuracy": accuracy, "support-loss": loss})
        if split != "test":
            return Evaluation({})
        history = self._history()
        stop = history.stop(self.options.stop, self.rule)
        hidden = self.target.hidden[self.scored]
        metrics = scores(history, self.rule, hidden, self.options)
        majority = np.bincount(self.source_labels, minlength=self.classes).argmax()
        metrics["trivial.balanced-accuracy"] = 100 / len(np.unique(hidden))
        metrics["trivial.target-accuracy"] = 100 * float((hidden == majority).mean())
        predictions = history.matrix()
        items = {
            "item": self.target.items[self.scored],
            "predictions": predictions[stop],
            "label": hidden,
            "classes": np.array(self.names, dtype=np.str_),
            "correct": predictions[stop] == hidden,
            "predictions_by_epoch": predictions.astype(np.int16),
        }
        return Evaluation(metrics, items)

    def _history(self) -> Epochs:
        """Epochs on the scored windows; without any, one of the present weights."""
        history, target = self.epochs, self.target
        if not self.trains:
            windows, shots = target.amplitudes[target.rest], target.amplitudes[target.support]
            history = Epochs.of(self.method.predict(windows, shots, target.support_labels, self.source_labels))
        elif not len(history):
            history = Epochs.of(self._predictions())
        return history.only(self.scored)

    def clipped(self, model: nn.Module) -> list[nn.Parameter] | None:
        return list(self.model.network.encoder.parameters()) if self.options.clip == "encoder" else None

    def probe(self, model: nn.Module) -> Diagnostic | None:
        return LatestDiagnostic(lambda: self.method.diagnostics(self.seen), after=True) if self.trains else None

    def mechanisms(self) -> dict[str, float]:
        """The reported epoch, help set size, and diagnostics from hidden labels."""
        report: dict[str, float] = {"reported_epoch": self._history().stop(self.options.stop, self.rule) + 1.0}
        report |= purities(self.target, self.classes, self.options)
        if self.help is not None:
            truth = self.target.hidden
            report["help_size"] = float(len(self.help.places))
            report["purity.help"] = purity(self.help_labels.cpu().numpy(), truth[self.help.places])
            report["purity.knn"] = purity(self.help.votes, truth)
            report["skill.help"] = (report["purity.help"] - 1 / self.classes) / (1 - 1 / self.classes)
        hidden = self.target.hidden[self.scored]
        report |= self._history().hindsight(self.rule, hidden, self.options.stop)
        if self.trains:
            target = self._outputs(self.rest, 0), torch.tensor(self.target.hidden, device=self.device)
            seed = self.streams.number("evaluation", "halves")
            report |= alignment(self._outputs(self.source, 0), self.labels, *target, self.classes, seed)
            report["mmd_over_floor"] = report[f"mmd_over_floor.{self.options.floor_of}"]
        return {name: value for name, value in report.items() if np.isfinite(value)}

    def state(self) -> dict[str, Any]:
        return {"rule": self.rule.state_dict(), "epochs": self.epochs.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.rule.load_state_dict(state["rule"])
        self.epochs = Epochs.restored(state["epochs"])


METADATA = Sensing.metadata
