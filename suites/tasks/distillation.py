"""Distillation: image classification by an objective, with or without a teacher."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import TaskMetadata
from harness.trial.contracts import Diagnostic, Evaluation, StepResult
from harness.trial.loading import PendingBatch
from harness.trial.options import option
from harness.trial.seeds import seed_torch
from methods.distillation import inputs
from methods.distillation.inputs import Objective, shape_arguments
from methods.distillation.logits import is_target, teacher_quantities
from methods.precision import widen
from suites.models.taps import Taps, tapped, taps_of
from suites.tasks.augment import MixingOptions, mix_batch
from suites.tasks.classification import SCORES, classified
from suites.tasks.common import (
    ImageTask,
    LatestDiagnostic,
    NetworkWithLoss,
    calibrate_batch_norms,
    evaluating,
    share_of,
)

PROBED_IMAGES = 1024
NEEDS_TEACHER = {"teacher", "teacher_feature", "teacher_head"}
DECAYED = ("all", "no-norms", "weights")
TABLES = ("cls_token", "dist_token", "pos_embed", "relative_position_bias_table")
NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True, slots=True)
class StudentBatch:
    """Images (B, C, H, W), labels or masses, item numbers, epoch."""

    images: Tensor
    labels: Tensor
    index: Tensor
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationOptions(MixingOptions):
    """Options of the task ``distillation``."""

    label_smoothing: float = option(0.0, "share of every label spread over all classes", low=0, high=1)
    teacher_mode: str = option("eval", "mode of the teacher during training", choices=("eval", "train"))
    teacher_temperature: float = option(1.0, "divisor of the teacher's logits", low=0.05)
    decayed: str = option("all", "parameters with weight decay", choices=DECAYED)
    precise_batch_norm: int = option(0, "training images that set BatchNorm's statistics before a score", low=0)


class Distillation(ImageTask):
    """A student trained by an objective, scored as in classification.

    The teacher is the dependency ``teacher``, in evaluation mode; ``teacher_mode: train`` puts its BatchNorm and
    stochastic depth into training mode, as the released loop does by accident. A benchmark that needs its teacher
    ``always`` gives it to every arm: mechanisms are measured against it. The objective's own parameters (weak heads,
    connectors) train beside the student and are not among the trained weights.
    """

    metadata = TaskMetadata(
        name="distillation",
        target="Distillation",
        summary="image classification by an objective: distillation from a teacher, self-distillation, cross-entropy",
        slots=("optimizer", "objective"),
        metrics=SCORES,
        reads=("images",),
        options=DistillationOptions,
    )

    options: DistillationOptions
    objective: Objective
    teacher: nn.Module | None
    teacher_taps: Taps
    seen: inputs.DistillationBatch

    def build(self) -> nn.Module:
        self.load_images()
        self.model = self.context.build_model(self.facts).to(self.device)
        self.taps = taps_of(self.model)
        self.teacher = None
        if "teacher" in self.context.prerequisites:
            self.teacher = self.context.load_prerequisite("teacher", self.facts)
            self.teacher_taps = taps_of(self.teacher)
        self.objective = self._objective()
        return NetworkWithLoss(self.model, self.objective).to(self.device)

    @property
    def _teachers(self) -> list[nn.Module]:
        return [self.teacher] if self.teacher is not None else []

    def _objective(self) -> Objective:
        slot = self.context.slots.get("objective")
        if slot is None:
            raise HarnessError(
                "distillation: the slot 'objective' is empty; fill it in an arm or in the recipe's 'slots:'"
            )
        needs = set(getattr(slot.factory, "needs", ()))
        if slot.hyper_parameters.get("rank") == "teacher":
            needs.add("teacher")
        self.needs_teacher = bool(needs & NEEDS_TEACHER)
        if self.needs_teacher and self.teacher is None:
            raise HarnessError(
                f"distillation: '{slot.name}' needs a teacher; add the dependency 'teacher' to the benchmark"
            )
        # Feature losses compare the last maps; a weak head reads the stage before last.
        self.reads = "last" if "teacher_feature" in needs else "middle" if "feature" in needs else None
        with evaluating(self.model, *self._teachers):
            example = self.laid_out(self.splits["train"].take(torch.arange(2, device=self.device))[0])
            own = _read(self.model, self.taps, example, self.reads)[1]
            theirs = self._teacher(example)[1] if self.reads == "last" else None
        shapes = {"classes": self.facts["classes"], "items": len(self.splits["train"])}
        if own is not None:
            shapes["feature_channels"] = own.shape[1]
        if theirs is not None:
            shapes["teacher_channels"] = theirs.shape[1]
        arguments = shape_arguments(slot.factory, **shapes)
        for name in ("mask_seed", "rank_seed"):  # an objective's own draws differ between seeds of a trial
            if name in inspect.signature(slot.factory).parameters:
                arguments[name] = self.streams.number("noise", name) % 2**31
        seed_torch(self.streams.number("init", "objective"))
        built: Objective = slot.build(**arguments)
        return built

    def _teacher(self, images: Tensor) -> tuple[Tensor, Tensor | None, nn.Module | None]:
        """The teacher's logits (B, C), last feature and head, without gradient."""
        assert self.teacher is not None
        last = self.reads == "last"
        with torch.no_grad():
            logits, feature = _read(self.teacher, self.teacher_taps, images, "last" if last else None)
        if self.options.teacher_temperature != 1:
            logits = logits / self.options.teacher_temperature
        return logits, feature, self.teacher.get_submodule(self.teacher_taps.head) if last else None

    def readings(self, epoch: int) -> Iterator[PendingBatch[StudentBatch]]:
        train = self.splits["train"]
        for places, generator in self.shuffled(epoch):
            finish = partial(self._student_batch, places, epoch, generator)
            yield train.reading(places, self.options.augment, generator).then(finish)

    def _student_batch(
        self, places: Tensor, epoch: int, generator: torch.Generator, taken: tuple[Tensor, Tensor]
    ) -> StudentBatch:
        images, labels = self._labelled(*taken, generator)
        return StudentBatch(self.laid_out(images), labels, places.to(self.device, non_blocking=True), epoch)

    def _labelled(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Mixed images and masses (B, C), or labels if nothing is mixed."""
        classes, smoothing = self.facts["classes"], self.options.label_smoothing
        if not self.options.mixes and smoothing == 0:
            return images, labels
        images, partner, weight = mix_batch(images, generator, self.options)
        own = F.one_hot(labels, classes).float()
        masses = weight * own + (1 - weight) * own[partner]
        return images, (1 - smoothing) * masses + smoothing / classes

    def inputs_of(self, batch: StudentBatch, progress: float, *, with_teacher: bool) -> inputs.DistillationBatch:
        """The objective's inputs for a batch, with the teacher's on request."""
        logits, feature = _read(self.model, self.taps, batch.images, self.reads)
        theirs, their_feature, head = self._teacher(batch.images) if with_teacher else (None, None, None)
        return inputs.DistillationBatch(
            logits, batch.labels, theirs, feature, their_feature, head, batch.index, progress, batch.epoch + 1
        )

    def training_step(self, batch: StudentBatch, step: int) -> StepResult:
        if self.teacher is not None:
            self.teacher.train(self.options.teacher_mode == "train")
        progress = step / self.recipe.total_steps(self.steps_per_epoch())
        self.seen = self.inputs_of(batch, progress, with_teacher=self.needs_teacher)
        loss = self.objective(self.seen)
        return StepResult(loss.total, {f"term.{name}": value for name, value in loss.terms.items()})

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return decay_groups(model, self.options.decayed)

    def scores(self, split: str) -> Evaluation:
        """The student's scores as in classification, correctness by item.

        With ``precise_batch_norm`` the running statistics are first set to their mean over that many training images,
        and training continues from these (PreciseBN, Wu and Johnson 2021, arXiv 2105.07576).
        """
        if self.options.precise_batch_norm:
            calibrate_batch_norms(self.model, self.calibration(self.options.precise_batch_norm))
        return classified(self, self.model, split)

    def probe(self, model: nn.Module) -> Diagnostic | None:
        return ObjectiveDiagnostic(lambda: self.objective.diagnostics(self.seen))

    def product(self, model: nn.Module) -> Mapping[str, Tensor]:
        return self.model.state_dict()

    def state(self) -> dict[str, dict[str, Tensor]]:
        return {"teacher": dict(self.teacher.named_buffers())} if self.teacher is not None else {}

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        if self.teacher is not None:
            with torch.no_grad():
                for name, buffer in self.teacher.named_buffers():
                    buffer.copy_(state["teacher"][name])

    def mechanisms(self) -> dict[str, float]:
        """Final quantities on up to 1,024 plain images, in evaluation mode.

        ``teacher_advantage`` is the teacher's minus the student's test accuracy in points, ``weak_advantage`` the weak
        head's minus the majority's. Non-target masses come from training images; their gap, the divergence of the
        normalised non-target distributions and rank correlations come from test images, which neither network has
        memorised. ``nontarget_sum_gap`` is the mean distance of the sums that the objective compares.
        """
        with evaluating(self.model, self.objective, *self._teachers):
            held = self._probed("test")
            report = self._beside_teacher(held) if self.teacher is not None else {}
            quantities = self.objective.probe(held) if self.reads == "middle" or self.needs_teacher else {}
        if "weak_accuracy" in quantities:
            labels = self.splits["test"].labels[: len(held.labels)]
            report["weak_advantage"] = float(quantities["weak_accuracy"]) - share_of(labels == self.majority)
        for kind in ("rank", "weak"):
            if f"{kind}_teacher_spearman" in quantities:
                report[f"{kind}_spearman"] = float(quantities[f"{kind}_teacher_spearman"])
        return report

    def _probed(self, split: str) -> inputs.DistillationBatch:
        part = self.splits[split]
        places = torch.arange(min(len(part), PROBED_IMAGES), device=self.device)
        chunks = []
        for some in places.split(self.recipe.eval_batch):
            images, labels = part.take(some)
            batch = StudentBatch(self.laid_out(images), labels, some, 0)
            chunks.append(self.inputs_of(batch, 1.0, with_teacher=self.teacher is not None))
        joined = {
            name: torch.cat([getattr(chunk, name) for chunk in chunks])
            for name in ("logits", "labels", "teacher_logits", "feature", "teacher_feature", "index")
            if getattr(chunks[0], name) is not None
        }
        return replace(chunks[0], **joined)

    def _beside_teacher(self, held: inputs.DistillationBatch) -> dict[str, float]:
        assert self.teacher is not None
        learned = self._probed("train")
        at_training = teacher_quantities(learned.logits, learned.require("teacher_logits"), learned.labels)
        at_held = teacher_quantities(held.logits, held.require("teacher_logits"), held.labels)
        theirs, ours = (self.accuracy(network, "test") for network in (self.teacher, self.model))
        return {
            "teacher_accuracy": theirs,
            "teacher_advantage": theirs - ours,
            "teacher_non_target_mass": float(at_training["teacher_non_target_mass"]),
            "student_non_target_mass": float(at_training["student_non_target_mass"]),
            "non_target_mass_gap": float(at_held["non_target_mass_gap"]),
            "nontarget_sum_gap": float(self._compared_gap(held)),
            "nontarget_kl": float(at_held["normalised_kl"]),
        }

    def _compared_gap(self, held: inputs.DistillationBatch) -> Tensor:
        """Mean gap |Σ T − Σ S| of the compared non-target sums; NKD and DKD drop the target before the softmax."""
        hyper = self.context.slots["objective"].hyper_parameters
        name = self.context.slots["objective"].name
        normalises = name == "dkd" or (name == "nkd" and hyper["normalise"] and hyper["mask"] == "others")
        dropped = is_target(held.logits, held.labels)
        sums = []
        for logits in (held.logits, held.require("teacher_logits")):
            cooled = widen(logits) / float(hyper.get("temperature", 1.0))
            if normalises:
                cooled = cooled.masked_fill(dropped, -torch.inf)
            sums.append(cooled.softmax(dim=1).masked_fill(dropped, 0.0).sum(dim=1))
        return (sums[0] - sums[1]).abs().mean()


class ObjectiveDiagnostic(LatestDiagnostic):
    """Diagnostics of the objective on the last batch; their summary is the gradients' shares."""

    def summary(self) -> dict[str, float]:
        return {name: value for name, value in self.last.items() if name.startswith("grad_share_")}


def _read(network: nn.Module, taps: Taps, images: Tensor, which: str | None) -> tuple[Tensor, Tensor | None]:
    if which is None:
        return network(images), None
    with tapped(network, taps, middle=which == "middle", last=which == "last") as features:
        logits = network(images)
    return logits, features.middle if which == "middle" else features.last


def decay_groups(model: nn.Module, decayed: str) -> list[dict[str, Any]]:
    """Group parameters as mmcls's ``paramwise_cfg``: with weight decay, and without.

    ``all`` is one group. ``no-norms`` exempts the norms' parameters (ShuffleNetV2 upstream), ``weights`` every
    bias, every norm, and the tables and tokens of transformers (DeiT and Swin upstream).
    """
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if decayed == "all":
        return [{"params": [p for _, p in trained]}]
    of_norms = {id(p) for part in model.modules() if isinstance(part, NORMS) for p in part.parameters()}

    def spared(name: str, p: nn.Parameter) -> bool:
        table = p.ndim < 2 or name.rpartition(".")[2] in TABLES
        return id(p) in of_norms or (decayed == "weights" and table)

    groups: list[dict[str, Any]] = [
        {"params": [p for name, p in trained if not spared(name, p)]},
        {"params": [p for name, p in trained if spared(name, p)], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


METADATA = Distillation.metadata
