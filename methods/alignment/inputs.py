"""What an adaptation loss is given, and what all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.distillation.loss import Loss, sum_of


@dataclass(frozen=True, slots=True, eq=False)
class AdaptationBatch:
    """One training step's embeddings: F wide, C classes. There is no field for the target's hidden labels.

    Attributes:
        source_features: embeddings of labelled source items, (N, F).
        source_logits: the classifier's outputs on them, (N, C).
        source_labels: their classes, (N,).
        target_features: embeddings of unlabelled target items, (M, F).
        help_features: embeddings of help-set items, (H, F).
        help_labels: the classes that the help set gives them, (H,).
        support_features: embeddings of the labelled target shots, (S, F).
        support_logits: the classifier's outputs on them, (S, C).
        support_labels: their classes, (S,).
        progress: share of the training that is done, in [0, 1].
    """

    source_features: Tensor
    source_logits: Tensor
    source_labels: Tensor
    target_features: Tensor | None = None
    help_features: Tensor | None = None
    help_labels: Tensor | None = None
    support_features: Tensor | None = None
    support_logits: Tensor | None = None
    support_labels: Tensor | None = None
    progress: float = 0.0

    @property
    def classes(self) -> int:
        """C."""
        return self.source_logits.shape[1]

    def require(self, name: str) -> Tensor:
        """The tensor of that field (ValueError where the batch lacks it)."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"the batch lacks {name}")
        return value

    def detached(self) -> AdaptationBatch:
        """The same batch cut off from the graph of the network."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.detach() for k, v in tensors.items() if isinstance(v, Tensor)})


class Adaptation(nn.Module):
    """A training loss over source and target embeddings. Its own parameters train with the model.

    A subclass writes ``terms``, and where it has mechanisms to show, ``probe``.

    Attributes:
        record: whether forwards keep their batch (detached) for ``diagnostics``; off in timing runs.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.record = False
        self._recorded: AdaptationBatch | None = None

    def forward(self, batch: AdaptationBatch) -> Loss:
        """The loss of one step.

        Raises:
            ValueError: the batch lacks what the method needs, or shapes do not fit.
        """
        self.check(batch)
        if self.record and not torch.compiler.is_compiling():
            self._recorded = batch.detached()
        terms = self.terms(batch)
        return Loss(sum_of(terms), {name: term.detach() for name, term in terms.items()})

    def terms(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """The weighted summands of the loss by name, each a scalar with a gradient; changes no state."""
        raise NotImplementedError(f"{type(self).__name__} does not define its terms")

    def uses(self) -> frozenset[str]:
        """Fields of the batch, beyond the source's, that the loss reads with its present options."""
        return frozenset(self.needs)

    def probe(self, batch: AdaptationBatch) -> dict[str, Tensor]:
        """Quantities of the method's mechanism on one batch; called without gradients."""
        return {}

    def diagnostics(self, batch: AdaptationBatch | None = None) -> dict[str, Tensor]:
        """What the mechanism tables read.

        Args:
            batch: the batch to look at; by default the last one seen while ``record`` was true.

        Returns:
            Scalars without graph: each term (``term_<name>``) and the method's own quantities. Empty where no batch
            was recorded.
        """
        seen = self._recorded if batch is None else batch.detached()
        if seen is None:
            return {}
        self.check(seen)
        with torch.no_grad():
            terms = {f"term_{name}": term for name, term in self.terms(seen).items()}
            return {**terms, **self.probe(seen)}

    def check(self, batch: AdaptationBatch) -> None:
        """Refuse a batch that lacks what the method needs or whose shapes do not fit (ValueError)."""
        features, logits, labels = batch.source_features, batch.source_logits, batch.source_labels
        if features.ndim != 2 or logits.ndim != 2 or labels.ndim != 1:
            raise ValueError(
                f"{self.name}: source features, logits and labels must be (items, width), (items, classes), (items,); "
                f"got {tuple(features.shape)}, {tuple(logits.shape)}, {tuple(labels.shape)}"
            )
        if not features.shape[0] == logits.shape[0] == labels.shape[0]:
            raise ValueError(f"{self.name}: source features, logits and labels must have one number of items")
        missing = sorted(name for name in self.uses() if getattr(batch, name) is None)
        if missing:
            raise ValueError(f"{self.name}: the batch lacks {', '.join(missing)}")


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in float32 or wider."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, labels)


def check_choice(method: str, name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value that an option does not have (ValueError naming method, option and choices)."""
    if value not in allowed:
        raise ValueError(f"{method}: {name} must be one of {', '.join(map(str, allowed))}, got {value!r}")
