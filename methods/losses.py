"""Inputs and terms shared by the losses of distillation and adaptation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Generic, Self, TypeVar

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A scalar loss with cross-entropy, and its weighted, detached summands."""

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


def sum_of(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of scalars that may differ in type."""
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first


@dataclass(frozen=True, slots=True, eq=False)
class LossInputs:
    """One training batch of a loss; subclasses name the fields."""

    def require(self, name: str) -> Tensor:
        """Return the tensor of that field (ValueError if the batch lacks it)."""
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise ValueError(f"the batch lacks {name}")
        return value

    def detached(self) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: value.detach() for name, value in values.items() if isinstance(value, Tensor)})


Inputs = TypeVar("Inputs", bound=LossInputs)


class TrainingLoss(nn.Module, Generic[Inputs]):
    """A training loss; its own parameters (weak heads, connectors) train with the model, never deployed."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()

    def forward(self, batch: Inputs) -> Loss:
        """The loss of one batch (ValueError if it lacks an input or shapes do not fit)."""
        self.check(batch)
        return self.losses(batch)

    def losses(self, batch: Inputs) -> Loss:
        """Sum the terms; overridden if a faster form than autograd's exists."""
        terms = self.terms(batch)
        return Loss(sum_of(terms), {name: term.detach() for name, term in terms.items()})

    def terms(self, batch: Inputs) -> dict[str, Tensor]:
        """Weighted summands of the loss by name; changes no state."""
        raise NotImplementedError(f"{type(self).__name__} does not define its terms")

    def probe(self, batch: Inputs) -> dict[str, Tensor]:
        """Quantities of the method's mechanism on one batch; called without gradients."""
        return {}

    def check(self, batch: Inputs) -> None:
        """Reject a batch with missing inputs or wrong shapes (ValueError)."""
        raise NotImplementedError(f"{type(self).__name__} does not define its check")

    def diagnostics(self, batch: Inputs) -> dict[str, Tensor]:
        """Scalars of a batch for the mechanism tables; changes neither state nor random streams."""
        seen = batch.detached()
        self.check(seen)
        return self.measure(seen)

    def measure(self, batch: Inputs) -> dict[str, Tensor]:
        """Quantities of terms and mechanism, from a checked batch without graph."""
        raise NotImplementedError(f"{type(self).__name__} does not define its quantities")
