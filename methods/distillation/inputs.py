"""What an objective is given, what it returns, and what all objectives share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.distillation.loss import Loss, sum_of

NEEDS: Mapping[str, str] = {
    "teacher": "teacher_logits",
    "feature": "feature",
    "teacher_feature": "teacher_feature",
    "teacher_head": "teacher_head",
    "index": "index",
}
"""What an objective may need beyond logits and labels, and the field of ``Batch`` that holds it."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One training batch as an objective sees it: N items, C classes.

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

    def require(self, name: str) -> Tensor:
        """The tensor of that field (ValueError where the batch lacks it)."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"the batch lacks {name}")
        return value

    def detached(self) -> Batch:
        """The same batch cut off from the graph of the network."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.detach() for k, v in tensors.items() if isinstance(v, Tensor)})


class Objective(nn.Module):
    """A training loss. Its own parameters (weak heads, connectors) train with the model and are never deployed.

    A subclass writes ``terms``, and where it has mechanisms to show, ``probe``.

    Attributes:
        record: whether forwards keep their batch (detached) for ``diagnostics``; off in timing runs.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.record = False
        self._recorded: Batch | None = None

    def forward(self, batch: Batch) -> Loss:
        """The loss of one batch.

        Raises:
            ValueError: the batch lacks what the method needs, or shapes do not fit.
        """
        self.check(batch)
        if self.record and not torch.compiler.is_compiling():
            self._recorded = batch.detached()
        return self.losses(batch)

    def losses(self, batch: Batch) -> Loss:
        """The sum of the terms; overridden where a faster form than autograd's exists."""
        terms = self.terms(batch)
        return Loss(sum_of(terms), {name: term.detach() for name, term in terms.items()})

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted summands of the loss by name, each a scalar with a gradient; changes no state."""
        raise NotImplementedError(f"{type(self).__name__} does not define its terms")

    def probe(self, batch: Batch) -> dict[str, Tensor]:
        """Quantities of the method's mechanism on one batch; called without gradients."""
        return {}

    def diagnostics(self, batch: Batch | None = None) -> dict[str, Tensor]:
        """What the mechanism tables read; neither parameters, buffers nor random streams move.

        Args:
            batch: the batch to look at; by default the last one seen while ``record`` was true.

        Returns:
            Scalars without graph: the Frobenius norm over the batch of each term's gradient by the student's logits
            (``grad_norm_<term>``), its share of the sum of norms (``grad_share_<term>``), and the method's own
            quantities. Empty where no batch was recorded.
        """
        seen = self._recorded if batch is None else batch.detached()
        if seen is None:
            return {}
        self.check(seen)
        with _unchanged(self):
            norms = self._gradient_norms(seen)
            with torch.no_grad():
                quantities = self.probe(seen)
        total = sum_of(norms).clamp_min(torch.finfo(torch.float32).tiny)
        shares = {f"grad_share_{name}": norm / total for name, norm in norms.items()}
        return {**{f"grad_norm_{name}": norm for name, norm in norms.items()}, **shares, **quantities}

    def _gradient_norms(self, batch: Batch) -> dict[str, Tensor]:
        with torch.enable_grad():
            logits = batch.logits.detach().to(torch.promote_types(batch.logits.dtype, torch.float32)).requires_grad_()
            terms = self.terms(replace(batch, logits=logits))
            norms = {}
            for name, term in terms.items():
                (gradient,) = (
                    torch.autograd.grad(term, logits, retain_graph=True, allow_unused=True)
                    if term.requires_grad
                    else (None,)
                )
                norms[name] = torch.zeros_like(term) if gradient is None else torch.linalg.vector_norm(gradient)
        return {name: norm.detach() for name, norm in norms.items()}

    def check(self, batch: Batch) -> None:
        """Refuse a batch that lacks what the method needs or whose shapes do not fit (ValueError)."""
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


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Put buffers and random streams back afterwards: a probe must not shift the training that it watches."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    streams = [(part, part.state()) for part in module.modules() if isinstance(part, RandomStream)]
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                buffer.copy_(buffers[name])
        for part, state in streams:
            part.restore(state)


class RandomStream(nn.Module):
    """Uniform random numbers of its own, drawn on the CPU: no other stream shifts, and ``state_dict`` resumes it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers in [0, 1) of a shape, float32, on the device of ``like``."""
        return torch.rand(shape, generator=self._generator).to(like.device)

    def state(self) -> Tensor:
        """The generator's state as bytes."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Go on from a state that ``state`` returned."""
        self._generator.set_state(state.cpu())

    def get_extra_state(self) -> Tensor:
        """For ``state_dict``: the generator's state."""
        return self.state()

    def set_extra_state(self, state: Tensor) -> None:
        """For ``load_state_dict``."""
        self.restore(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomStream:
        copy = RandomStream(0)
        copy.restore(self.state())
        memo[id(self)] = copy
        return copy


def shape_arguments(factory: Callable[..., Objective], **facts: int) -> dict[str, int]:
    """The facts (``classes``, ``feature_channels``, ``teacher_channels``, ``items``) that an objective is built with.

    A task knows all of them; each objective takes those that its constructor names.
    """
    return {name: facts[name] for name in inspect.signature(factory).parameters if name in facts}


def check_choice(method: str, name: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Refuse a value that an option does not have (ValueError naming method, option and choices)."""
    if value not in allowed:
        raise ValueError(f"{method}: {name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_positive(method: str, **values: float) -> None:
    """Refuse numbers that are not above zero (ValueError)."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{method}: {name} must be above 0, got {value}")
