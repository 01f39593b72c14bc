"""The metadata of a method: slot, defaults, options, search space.

Every method module ends with ``METADATA = MethodMetadata(of=..., ...)``. The records hold plain data only, so that an
index of them can be written once and read without importing torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Slot = Literal["optimizer", "norm", "objective", "adaptation"]
Role = Literal["method", "baseline"]
Value = None | bool | int | float | str | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A real hyper-parameter in [low, high]; ``log`` samples its logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole hyper-parameter in [low, high]; ``log`` samples its logarithm."""

    low: int
    high: int
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """A hyper-parameter that takes one of a few values."""

    values: tuple[Value, ...]


Range = Uniform | Integer | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodMetadata:
    """Metadata of a method, which the registry reads without importing it.

    Args:
        of: the class or factory. It gives ``target`` and ``defaults``, and, if it has attributes of these
            names, ``name``, ``slot``, ``family`` and ``needs``; explicit arguments take precedence.

    Attributes:
        name: key in suite files, lower case (``adamp``).
        title: the field's spelling (``AdamP``).
        slot: the slot it fills.
        role: proposed by one of the papers (``method``) or a comparator (``baseline``).
        family: methods of one family share the recipe's hyper-parameters (``adam``, ``sgd``, ``sequence``, …).
        paper: citation: authors, title, venue, year, arXiv number.
        target: name in this module of the class or factory that builds it.
        summary: one line for ``harness list methods``.
        defaults: every optional hyper-parameter that it accepts, with its default.
        required: hyper-parameters without a default (SGD's ``lr``).
        options: hyper-parameters with a closed list of values, such as ``("released", "paper")``.
        search_space: the ranges that a sweep draws from.
        needs: inputs that the task must provide (``teacher``, ``feature``, ``mask``, ``target_data``, …).
        diagnostics: names of the ``mechanism.*`` quantities that it reports itself.

    Raises:
        ValueError: no name, slot, family or target, or a range of an unknown hyper-parameter.
    """

    of: InitVar[Callable[..., Any] | None] = None
    name: str = ""
    title: str
    slot: Slot | Literal[""] = ""
    role: Role = "baseline"
    family: str = ""
    paper: str
    target: str = ""
    summary: str
    defaults: Mapping[str, Value] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    options: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    search_space: Mapping[str, Range] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()

    def __post_init__(self, of: Callable[..., Any] | None) -> None:
        if of is not None:
            own = {name: getattr(of, name, "") for name in ("name", "slot", "family", "needs")}
            for name, value in {**own, "target": of.__name__, "defaults": defaults_of(of)}.items():
                if value and not getattr(self, name):
                    object.__setattr__(self, name, value)
        missing = [name for name in ("name", "slot", "family", "target") if not getattr(self, name)]
        if missing:
            raise ValueError(f"the metadata of '{self.title}' lacks {', '.join(missing)}")
        for name in ("defaults", "options", "search_space"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        unknown = (set(self.options) | set(self.search_space)) - set(self.defaults) - set(self.required)
        if unknown:
            raise ValueError(f"method '{self.name}': {sorted(unknown)} have a range but are not hyper-parameters")


def defaults_of(target: Callable[..., Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Optional hyper-parameters of a class or factory, with their defaults.

    Args:
        target: the class or factory.
        without: optional arguments that are not hyper-parameters.
    """
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in without}
