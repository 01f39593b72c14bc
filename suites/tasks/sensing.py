"""Cross-domain Wi-Fi sensing: a labelled source, a target with a few labelled shots, adaptation in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.cards import TaskCard
from harness.trial.contracts import Evaluation, Probe, StepResult, Task
from harness.trial.options import option
from harness.trial.seeds import seed_torch
from methods.alignment.help_set import MODES, HelpSet, corrupt_labels
from methods.alignment.inputs import Adaptation, AdaptationBatch
from methods.alignment.neighbours import CONFIDENCES
from methods.alignment.probes import purity
from methods.alignment.stopping import FORMS, StoppingOptions, StoppingRule
from suites.data.csi_domains import CsiDomains
from suites.data.types import Labels
from suites.tasks.common import LatestProbe, NetworkWithLoss, batch_norm_momentum, evaluating, share_of
from suites.tasks.sensing_scores import STOPS, Epochs, alignment, scores
from suites.tasks.target_domain import REDUCTIONS, Target, draw_shots, halve, help_set, purities


@dataclass(frozen=True, slots=True, eq=False)
class SensingBatch:
    """Windows (B, 1, T, S) of the source with labels (B,), of the target, and of the help set with its labels."""

    source: Tensor
    labels: Tensor
    target: Tensor | None
    help: Tensor | None
    help_labels: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SensingOptions:
    """Options of the task ``sensing``."""

    shots: int = option(1, "k: labelled target windows a class", low=1)
    neighbours: int = option(0, "n: shots that vote; 0: k//2 + 1", low=0)
    help_share: float = option(0.5, "p: share of the target that the help set takes", low=0.01, high=1)
    help_mode: int = option(0, "0: equal quota a class; 1: surest of all; 2: share of each", choices=MODES)
    confidence: str = option("farthest", "agreeing neighbour that measures it", choices=CONFIDENCES)
    oracle_labels: bool = option(False, "true labels in the help set: the released code's leak")
    help_corrupted: float = option(0.0, "share of help labels made wrong", low=0, high=1)
    reduce: str = option("umap", "of windows before the nearest shots are sought", choices=REDUCTIONS)
    umap_dimensions: int = option(128, "d", low=1)
    stop: str = option("support", "which epoch is reported", choices=STOPS)
    stop_earliest: int = option(200, "no stop up to this epoch", low=0)
    stop_latest: int = option(350, "the next epoch always stops", low=0)
    stop_patience: int = option(30, "epochs without improvement that end the training", low=1)
    stop_relax_accuracy: float = option(0.8, "factor on the best accuracy at stop_earliest", low=0)
    stop_relax_loss: float = option(1.2, "factor on the best loss at stop_earliest", low=0)
    stop_triggers: str = option("released", "released: an accuracy that stays equal too", choices=FORMS)
    batch_norm: str = option("all", "passes that move running statistics", choices=("all", "source"))
    clip: str = option("encoder", "what clip_norm limits", choices=("encoder", "all"))
    train_on: str = option("source", "target: in-domain upper bound", choices=("source", "target"))
    fluctuation_epochs: int = option(50, "last epochs whose accuracies' deviation is reported", low=2)
    floor_of: str = option("whole", "what mmd_over_floor compares", choices=("whole", "classes"))
    permute_hidden: bool = option(False, "permute the target's hidden labels: a test of blindness")


class Sensing(Task):
    """Training on the source under an adaptation; every epoch the shots are scored and the target is predicted.

    The training runs its whole length. ``stop`` says which epoch is reported: the one where the stopping rule, told
    nothing but the shots' accuracy and loss, ends the training; the epoch that was best on the shots; or the last. The
    best epoch on the target is reported as ``*_oracle`` beside it. Hidden labels of the target are read for scores,
    for mechanisms in hindsight (purity, skill, alignment, the stop against the best epoch), and by ``oracle_labels``
    and ``train_on: target`` alone.

    Methods that predict without a training (``predict``) take no step.
    """

    card = TaskCard(
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

    def build(self) -> nn.Module:
        """Draw the shots, make the help set where the adaptation reads it, build network and adaptation."""
        data: CsiDomains = self.context.load_data()
        self.names, self.classes = data.classes, len(data.classes)
        self.target = draw_shots(data.target, self.options.shots, self.streams, self.options.permute_hidden)
        network = self.context.build_model({"classes": self.classes, "channels": 1})
        if "adaptation" not in self.context.slots:
            raise HarnessError("sensing: the slot 'adaptation' is open; fill it in the arm, for example source-only")
        seed_torch(self.streams.number("init", "adaptation"))
        self.method = self.context.slots["adaptation"].build()
        self.trains = isinstance(self.method, Adaptation)
        if self.trains:
            self.method.record = self.recipe.diagnostics != "off"
        self.uses = self.method.uses() if self.trains else frozenset[str]()
        self.model = NetworkWithLoss(network, self.method if self.trains else nn.Module()).to(self.device)
        self._place(data)
        self.rule = self._rule()
        self.epochs = Epochs()
        return self.model

    def _place(self, data: CsiDomains) -> None:
        """Windows on the device: what trains, what is aligned, what is scored."""
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
            given, wrong = self.help.labels, self.options.help_corrupted
            if wrong:
                given = corrupt_labels(given, wrong, self.classes, self.streams.numpy("noise", "help"))
            self.help_labels = torch.tensor(given, device=self.device)
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
        """Whole batches of the source; an in-domain training takes as many."""
        return self.steps

    def batches(self, epoch: int) -> Iterator[SensingBatch]:
        """Source batches in a fresh order; one random batch each of the target and of the help set beside them."""
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
        """The adaptation's loss of one batch; every domain passes through the network on its own."""
        features, logits = self.model(batch.source)
        moved = self.options.batch_norm == "all"
        given: dict[str, Tensor] = {}
        if batch.help is not None and batch.help_labels is not None:
            given["help_features"] = self._pass(batch.help, moved)[0]
            given["help_labels"] = batch.help_labels
        if batch.target is not None:
            given["target_features"] = self._pass(batch.target, moved)[0]
        if any(name.startswith("support_") for name in self.uses):
            # A handful of windows: too few for running statistics.
            given["support_features"], given["support_logits"] = self._pass(self.support, moved=False)
            given["support_labels"] = self.support_labels
        progress = step / self.recipe.total_steps(self.steps)
        loss = self.method(AdaptationBatch(features, logits, batch.labels, progress=progress, **given))
        return StepResult(loss.total, {f"term_{name}": value for name, value in loss.terms.items()})

    def _pass(self, windows: Tensor, moved: bool) -> tuple[Tensor, Tensor]:
        with nullcontext() if moved else batch_norm_momentum(self.model, 0.0):
            return self.model(windows)

    def optimize(self, batch: SensingBatch, step: int, update: Callable[[StepResult], None]) -> StepResult:
        """One step, and at the end of an epoch the shots' scores, the stopping rule and the target's predictions."""
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
        """Of all windows the embeddings (0) or the logits (1)."""
        with evaluating(self.model):
            return torch.cat([self.model(part)[which] for part in windows.split(self.recipe.eval_batch)])

    def evaluate(self, split: str) -> Evaluation:
        """``validation``: the shots under the present weights. ``test``: the target at the epoch that ``stop`` says."""
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
        """The epochs on the windows that are scored; one of the present weights where no epoch has ended."""
        history, target = self.epochs, self.target
        if not self.trains:
            windows, shots = target.amplitudes[target.rest], target.amplitudes[target.support]
            history = Epochs.of(self.method.predict(windows, shots, target.support_labels, self.source_labels))
        elif not len(history):
            history = Epochs.of(self._predictions())
        return history.only(self.scored)

    def clipped(self, model: nn.Module) -> list[nn.Parameter] | None:
        """The encoder alone, as released, or everything."""
        return list(self.model.network.encoder.parameters()) if self.options.clip == "encoder" else None

    def probe(self, model: nn.Module) -> Probe | None:
        """The adaptation's own diagnostics."""
        return AdaptationProbe(self.method) if self.trains else None

    def mechanisms(self) -> dict[str, float]:
        """The epoch of the stop, the help set's size, and what the hidden labels tell in hindsight."""
        found: dict[str, float] = {"reported_epoch": self._history().stop(self.options.stop, self.rule) + 1.0}
        found |= purities(self.target, self.classes, self.options)
        if self.help is not None:
            truth = self.target.hidden
            found["help_size"] = float(len(self.help.places))
            found["purity.help"] = purity(self.help_labels.cpu().numpy(), truth[self.help.places])
            found["purity.knn"] = purity(self.help.votes, truth)
            found["skill.help"] = (found["purity.help"] - 1 / self.classes) / (1 - 1 / self.classes)
        hidden = self.target.hidden[self.scored]
        found |= self._history().hindsight(self.rule, hidden, self.options.stop)
        if self.trains:
            target = self._outputs(self.rest, 0), torch.tensor(self.target.hidden, device=self.device)
            seed = self.streams.number("evaluation", "halves")
            found |= alignment(self._outputs(self.source, 0), self.labels, *target, self.classes, seed)
            found["mmd_over_floor"] = found[f"mmd_over_floor.{self.options.floor_of}"]
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def state(self) -> dict[str, Any]:
        """The stopping rule and what the epochs left."""
        return {"rule": self.rule.state_dict(), "epochs": self.epochs.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.rule.load_state_dict(state["rule"])
        self.epochs = Epochs.restored(state["epochs"])


class AdaptationProbe(LatestProbe):
    """What an adaptation says of its last batch: terms, discrepancies by class and as a whole, the kernels' reach."""

    def __init__(self, adaptation: Adaptation) -> None:
        super().__init__()
        self.adaptation = adaptation

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """The diagnostics of the batch before the step."""
        self.last = {name: float(value) for name, value in self.adaptation.diagnostics().items()}
        return self.last


CARD = Sensing.card
