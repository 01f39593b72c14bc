"""The typed sections that search for hyper-parameters: ``sweep:``, and ``tuned:``, the second protocol of claims."""

# ruff: noqa: RUF012  (pydantic copies the defaults of fields)

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.suite.strict import Identifier, Name, Settings, Strict

FEWEST_SEARCHES = 3
"""Searches below which a tuned claim has no verdict."""


class SpaceRange(Strict):
    """A range to draw from: ``choices``, or ``low`` to ``high`` (``log``: of the logarithm; ``integer``: whole).

    ``factors`` are choices relative to what the arm has itself on the benchmark: 1 is its own value.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: Annotated[list[Any], Field(min_length=1)] | None = None
    factors: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SpaceRange:
        ends = self.low is not None and self.high is not None
        if [self.choices is not None, self.factors is not None, ends].count(True) != 1:
            raise ValueError("give 'choices', 'factors', or 'low' and 'high'")
        low, high = self.low, self.high
        if low is not None and high is not None and not (low < high and (low > 0 or not self.log)):
            raise ValueError("low < high is expected, and above 0 with 'log'")
        return self


class Sweep(Strict):
    """Tuning of arms: one sampler and number of configurations for all.

    Ranges that an arm's methods declare are tuned by default. ``spaces`` widens, narrows or (``null``) drops ranges,
    by arm (``"*"``: every arm): ``slot.hyper_parameter``, ``slot.METHOD.hyper_parameter`` where a slot is filled per
    place, or a recipe key. ``set`` overrides recipe keys in every arm, in the comparison too. ``benchmarks`` are those
    that the section is made for; on one that does not run all ``arms``, those that it runs are tuned. ``seeds`` are
    those of a configuration, ``fresh`` those of the comparison at the end. ``metric`` is compared on test;
    ``selection_metric`` chooses on validation, where that is another one.
    """

    benchmarks: list[Name] = []
    arms: list[Name] = []
    sampler: Literal["random", "tpe", "grid"] = "random"
    pruner: Literal["none", "median"] = "none"
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    fresh: Annotated[int, Field(ge=2, le=100)] = 6
    batch: Annotated[int, Field(ge=1, le=1000)] = 8
    metric: Identifier | None = None
    selection_metric: Identifier | None = None
    selection_better: Literal["higher", "lower"] = "higher"
    set: Settings = Settings()
    spaces: dict[Name, dict[str, SpaceRange | None]] = {}


class RateCurve(Strict):
    """Learning-rate sensitivity: a claim's difference at ``factors`` times each arm's ``key``.

    ``seeds``: number of the claim's first seeds.
    """

    key: Name = "optimizer.lr"
    factors: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2)] = [1 / 9, 1 / 3, 1.0, 3.0]
    seeds: Annotated[int, Field(ge=3, le=100)] = 3


class TunedOn(Strict):
    """Changes of the tuned protocol on one benchmark."""

    budget: Annotated[int, Field(ge=1, le=1000)] | None = None
    seeds: Annotated[int, Field(ge=1, le=100)] | None = None
    selection_metric: Identifier | None = None
    selection_better: Literal["higher", "lower"] = "higher"
    rate_seeds: Annotated[int, Field(ge=3, le=100)] | None = None


class TunedProtocol(Strict):
    """The second protocol: each arm of a claim chooses its learning rate and weight decay at equal budgets.

    A search scores ``budget`` configurations on validation, each over ``seeds`` separate seeds that are never judged.
    Of ``searches`` searches each gives one difference, the mean over ``judged`` seeds, and the claims are judged again
    over searches; fewer than three give no verdict. A search begins with the arm's own configuration. ``claims``:
    those that are primary, or a list. ``spaces`` as under ``sweep:``, but what methods declare beside these keys is not
    tuned. At other scales than ``scales`` there is no tuned protocol. ``benchmarks`` has what differs on some.
    """

    claims: Literal["primaries"] | list[Identifier] = "primaries"
    scales: list[Literal["mini", "small", "paper"]] = ["mini"]
    budget: Annotated[int, Field(ge=1, le=1000)] = 8
    seeds: Annotated[int, Field(ge=1, le=100)] = 2
    searches: Annotated[int, Field(ge=1, le=100)] = 3
    judged: Annotated[int, Field(ge=1, le=100)] = 2
    sampler: Literal["grid", "random"] = "grid"
    spaces: dict[Name, dict[str, SpaceRange | None]] = {
        "*": {
            "optimizer.lr": SpaceRange(factors=[1 / 3, 1.0, 3.0, 9.0]),
            "optimizer.weight_decay": SpaceRange(factors=[1.0, 10.0]),
        }
    }
    rates: RateCurve = RateCurve()
    benchmarks: dict[Name, TunedOn] = {}

    @property
    def decides(self) -> bool:
        """True if there are enough searches for a verdict."""
        return self.searches >= FEWEST_SEARCHES

    def judged_seeds(self, search: int) -> tuple[int, ...]:
        """The seeds on which the choices of a search are judged; no other search is judged on them."""
        return tuple(range(search * self.judged, (search + 1) * self.judged))
