"""What every training loss here returns, objectives and adaptations alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """What an objective returns.

    Attributes:
        total: scalar to call ``backward`` on; cross-entropy included, by the method's own weights.
        terms: its summands by name, weighted and detached, for logging.
    """

    total: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


def sum_of(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of scalars that may differ in type."""
    first, *rest = terms.values()
    for term in rest:
        first = first + term
    return first
