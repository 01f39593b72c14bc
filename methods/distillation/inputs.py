"""Inputs, results and base class of the objectives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from methods.distillation.logits import non_target_mass, teacher_quantities
from methods.losses import LossInputs, TrainingLoss, sum_of
from methods.precision import widen

NEEDS: Mapping[str, str] = {
    "teacher": "teacher_logits",
    "feature": "feature",
    "teacher_feature": "teacher_feature",
    "teacher_head": "teacher_head",
    "index": "index",
}
"""Optional inputs of an objective, and the fields of ``DistillationBatch`` that hold them."""


@dataclass(frozen=True, slots=True, eq=False)
class DistillationBatch(LossInputs):
    """One training batch of an objective: N items, C classes.

    Attributes:
        logits: the student's outputs, (N, C), any floating type.
        labels: class indices (N,), or the mass of each class (N, C) after mixup or CutMix.
        teacher_logits: the teacher's outputs, (N, C), without gradient.
        feature: the student's intermediate feature, pooled (N, F) or a map (N, F, H, W).
        teacher_feature: the teacher's, pooled (N, G) or a map (N, G, H, W), without gradient.
        teacher_head: the teacher's frozen classifier, from pooled features (N, G) to logits (N, C).
        index: number of each item in the training set, (N,).
        progress: share of the training that is done, in [0, 1].
        epoch: number of the epoch, from 1; whole.
    """

    logits: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    feature: Tensor | None = None
    teacher_feature: Tensor | None = None
    teacher_head: Callable[[Tensor], Tensor] | None = None
    index: Tensor | None = None
    progress: float = 0.0
    epoch: int = 1


class Objective(TrainingLoss[DistillationBatch]):
    """A training loss of a classifier."""

    slot, family = "objective", "distillation"

    def probe(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """``student_non_target_mass``; with a teacher all of ``TEACHER_QUANTITIES``."""
        if "teacher" in self.needs:
            return teacher_quantities(batch.logits, batch.require("teacher_logits"), batch.labels)
        return {"student_non_target_mass": non_target_mass(batch.logits, batch.labels)}

    def measure(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """Norms of the terms' gradients by the logits; with the result of ``probe``.

        ``grad_norm_<term>`` is a Frobenius norm over the batch, ``grad_share_<term>`` its share of the sum.
        """
        with _unchanged(self):
            norms = self._gradient_norms(batch)
            with torch.no_grad():
                quantities = self.probe(batch)
        total = sum_of(norms).clamp_min(torch.finfo(torch.float32).tiny)
        shares = {f"grad_share_{name}": norm / total for name, norm in norms.items()}
        return {**{f"grad_norm_{name}": norm for name, norm in norms.items()}, **shares, **quantities}

    def _gradient_norms(self, batch: DistillationBatch) -> dict[str, Tensor]:
        with torch.enable_grad():
            logits = widen(batch.logits.detach()).requires_grad_()
            terms = self.terms(replace(batch, logits=logits))
            norms = {}
            for name, term in terms.items():
                gradient = None
                if term.requires_grad:
                    (gradient,) = torch.autograd.grad(term, logits, retain_graph=True, allow_unused=True)
                norms[name] = torch.zeros_like(term) if gradient is None else torch.linalg.vector_norm(gradient)
        return {name: norm.detach() for name, norm in norms.items()}

    def check(self, batch: DistillationBatch) -> None:
        """Reject a batch with missing inputs or wrong shapes (ValueError)."""
        logits, labels = batch.logits, batch.labels
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise ValueError(
                f"{self.name}: logits must be (items, classes) with two classes or more, got {tuple(logits.shape)}"
            )
        if labels.shape not in (logits.shape[:1], logits.shape):
            raise ValueError(
                f"{self.name}: labels must be ({logits.shape[0]},) indices or {tuple(logits.shape)} masses, "
                f"got {tuple(labels.shape)}"
            )
        missing = [NEEDS[need] for need in self.needs if getattr(batch, NEEDS[need]) is None]
        if missing:
            raise ValueError(f"{self.name}: the batch lacks {', '.join(missing)}")
        if batch.teacher_logits is not None and batch.teacher_logits.shape != logits.shape:
            raise ValueError(
                f"{self.name}: teacher_logits must be {tuple(logits.shape)} as the student's, "
                f"got {tuple(batch.teacher_logits.shape)}"
            )


def as_map(feature: Tensor) -> Tensor:
    """Turn pooled features (N, F) into maps of one position."""
    return feature[:, :, None, None] if feature.ndim == 2 else feature


def check_channels(method: str, batch: DistillationBatch, student: int, teacher: int) -> None:
    """Reject features that are neither pooled nor maps of these channels (ValueError)."""
    for name, channels in (("feature", student), ("teacher_feature", teacher)):
        feature: Tensor | None = getattr(batch, name)
        if feature is None or feature.ndim not in (2, 4) or feature.shape[1] != channels:
            shape = None if feature is None else tuple(feature.shape)
            raise ValueError(f"{method}: {name} must be (items, {channels}) or (items, {channels}, H, W), got {shape}")


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Restore buffers and random streams: diagnostics must not shift the training."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    streams = [(part, part.get_extra_state()) for part in module.modules() if isinstance(part, RandomStream)]
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])
        for part, state in streams:
            part.set_extra_state(state)


class RandomStream(nn.Module):
    """A separate, resumable stream of uniform random numbers from the CPU."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Draw float32 numbers in [0, 1) on the device of ``like``."""
        return torch.rand(shape, generator=self._generator).to(like.device)

    def get_extra_state(self) -> Tensor:
        """The generator's state as bytes, for ``state_dict``."""
        return self._generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue from such a state, for ``load_state_dict``."""
        self._generator.set_state(state.cpu())

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomStream:
        copy = RandomStream(0)
        copy.set_extra_state(self.get_extra_state())
        memo[id(self)] = copy
        return copy


def shape_arguments(factory: Callable[..., Objective], **facts: int) -> dict[str, int]:
    """Select the shapes that an objective's constructor takes."""
    return {name: facts[name] for name in inspect.signature(factory).parameters if name in facts}


def gradient_names(*terms: str) -> tuple[str, ...]:
    """Names of these terms' gradients in ``Objective.measure``."""
    return tuple(f"grad_{quantity}_{term}" for quantity in ("norm", "share") for term in terms)
