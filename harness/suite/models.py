"""The typed form of suite, benchmark and claims files. A misspelt key is an error, never ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    RootModel,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from harness.suite.schema_errors import with_valid_keys
from harness.vocabulary import Role

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\\]+$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]
REPORTED = "reported"
"""In ``check:``, an identity that only the authors' files show."""


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="wrap")
    @classmethod
    def _named(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise with_valid_keys(error, list(cls.model_fields)) from error


class Paper(Strict):
    """The paper of a suite."""

    title: str
    authors: str = ""
    venue: str = ""
    year: int | None = None
    arxiv: str = ""
    url: str = ""
    code: str = ""


class Seeds(Strict):
    """How many seeds: at least, for cells of primary contrasts, at most."""

    min: Annotated[int, Field(ge=1, le=1000)] = 3
    primary: Annotated[int, Field(ge=1, le=1000)] | None = None
    max: Annotated[int, Field(ge=1, le=1000)] = 12

    @model_validator(mode="after")
    def _ordered(self) -> Seeds:
        if not self.min <= (self.primary or self.min) <= self.max:
            raise ValueError(f"min ≤ primary ≤ max is expected, not {self.min}, {self.primary}, {self.max}")
        return self


class Arm(Strict):
    """What fills the slots, plus overrides of recipe keys. ``parent``: the arm that an ablation changes."""

    role: Annotated[Role, Field(strict=False)]
    about: str = ""
    optimizer: str | dict[str, Any] | None = None
    norm: str | dict[str, Any] | None = None
    objective: str | dict[str, Any] | None = None
    adaptation: str | dict[str, Any] | None = None
    set: dict[str, Any] = {}
    protocol: Literal["published", "tuned"] = "published"
    parent: Name | None = None


Changes = Annotated[dict[str, Any], Field(min_length=1)]
Levels = Annotated[dict[Identifier, Changes], Field(min_length=1)]


class Ablate(Strict):
    """What an arm expands to. ``factors`` has, by factor, levels of changes to the arm.

    ``leave-one-out``: one factor at its level at a time. ``one-change``: every level of every factor, one at a time.
    ``cumulative``: factors in order, each on top of those before, compared with the step before. ``factorial``: every
    combination, with main effects and interactions. Changes are ``slot.hyper_parameter``, ``slot`` or recipe keys.
    """

    design: Literal["leave-one-out", "one-change", "cumulative", "factorial"]
    factors: Annotated[dict[Identifier, Levels], Field(min_length=1)]
    benchmarks: list[Name] | None = None


Ablations = Annotated[
    Annotated[Ablate, Tag("Ablate")] | Annotated[list[Ablate], Tag("list[Ablate]")],
    Discriminator(lambda value: "list[Ablate]" if isinstance(value, list) else "Ablate"),
]
"""One design or several; told apart before they are checked, so that a mistake is reported once."""


class Metric(Strict):
    """A final metric: unit and direction as in the claims; the floor is the smallest difference worth having."""

    unit: str
    better: Literal["higher", "lower"]
    split: Literal["test", "validation"] = "test"
    floor: Annotated[float, Field(ge=0)] | None = None
    trivial: float | None = None
    perfect: float | None = None
    smallest: Annotated[float, Field(gt=0)] | None = None


class Prerequisite(Strict):
    """A trial whose product a benchmark starts from: a teacher, a backbone; ``data`` is the benchmark's own if empty.

    ``weights`` names a source of published weights instead. ``seeds``: one product for every seed (``shared``: the
    interval is conditional on it), or one a seed (``paired``). Without ``always`` it is only needed by arms whose
    methods say so (``MethodCard.needs``).
    """

    about: str = ""
    task: str = "classification"
    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    weights: str | None = None
    seeds: Literal["shared", "paired"] = "shared"
    always: bool = False


class ScaleBlock(Strict):
    """What a scale changes against ``paper``; under ``paper`` itself, everything."""

    about: str = ""
    data: dict[str, Any] = {}
    model: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    prerequisites: dict[Identifier, Prerequisite] = {}
    stands_for: list[Name] = []
    competent: dict[str, float] = {}
    arms: list[Name] | None = None


class Source(Strict):
    """Where a leaf of a published recipe comes from."""

    trust: Literal["published", "upstream", "derived", "third-party", "unknown: our choice"]
    place: str


class Benchmark(Strict):
    """Task, data, model, recipe and metrics, at each scale."""

    benchmark: Name
    title: str
    description: str = ""
    inherits: str | list[str] = []
    abstract: bool = False
    task: str
    metrics: Annotated[dict[Identifier, Metric], Field(min_length=1)]
    reference_arm: Name | None = None
    sources: dict[str, Source] = {}
    paper: ScaleBlock | None = None
    small: ScaleBlock | None = None
    mini: ScaleBlock | None = None


class UsedBenchmark(Strict):
    """How a suite uses a benchmark: its file (or an inline definition), arms and overrides of recipe keys."""

    file: str | None = None
    define: Benchmark | None = None
    arms: list[Name] | None = None
    set: dict[str, Any] = {}


class Gate(Strict):
    """Does the cause act? ``metric`` of ``arm`` compared with ``value``.

    As a ratio to that of ``relative_to``, or less that of ``minus``: a ratio is for what cannot be zero or negative.
    """

    metric: Annotated[str, StringConstraints(pattern=r"^mechanism\.")]
    arm: Name
    relative_to: Name | None = None
    minus: Name | None = None
    op: Literal[">=", "<=", ">", "<"]
    value: float

    @model_validator(mode="after")
    def _one_reference(self) -> Gate:
        if self.relative_to is not None and self.minus is not None:
            raise ValueError("a gate is a ratio ('relative_to') or a difference ('minus'), not both")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it looks at."""
        return tuple(arm for arm in (self.arm, self.relative_to, self.minus) if arm is not None)

    @property
    def of(self) -> str:
        """Whose metric it is, in words."""
        return f"{self.arm} / {self.relative_to}" if self.relative_to else " − ".join(self.arms)


class Threshold(Strict):
    """Scope ``at_least: k``: the effect exists in at least k benchmarks."""

    at_least: Annotated[int, Field(ge=1)]


class Binding(Strict):
    """A claim bound to benchmarks and arms, or unbound with a reason.

    ``order`` is asked of orderings over several arms: ``chain`` (arm > against[0] > against[1] …) or ``best``
    (arm above each). ``baselines``: own baselines of the arm and of ``against[0]``; the claim is judged on the gains
    over them.
    ``check: reported`` marks an identity that only the authors' files show. ``domains: benchmarks`` (with ``scope:
    mean``): the claim is about domains such as persons or rooms, each a benchmark; seeds are averaged within a domain
    and the test is over domains.
    """

    id: Identifier
    unbound: Annotated[str, StringConstraints(min_length=12)] | None = None
    benchmarks: list[Name] = []
    arm: Name | None = None
    against: list[Name] = []
    metric: Identifier | None = None
    scope: Literal["each", "all", "mean", "no_worse"] | Threshold = "each"
    primary: bool = False
    protocol: Literal["published", "tuned"] = "published"
    on_divergence: Literal["worst", "invalid"] = "invalid"
    mechanism: Gate | list[Gate] | None = None
    m: Annotated[float, Field(gt=0)] | None = None
    margin: Annotated[float, Field(gt=0)] | None = None
    check: Identifier | None = None
    baselines: list[Name] = []
    order: Literal["chain", "best"] | None = None
    domains: Literal["benchmarks"] | None = None
    note: str = ""

    @property
    def gates(self) -> list[Gate]:
        """The mechanism's gates."""
        given = self.mechanism
        return given if isinstance(given, list) else [] if given is None else [given]

    @model_validator(mode="after")
    def _bound_or_not(self) -> Binding:
        if self.unbound is not None:
            given = self.model_fields_set - {"id", "unbound", "note"}
            if given:
                raise ValueError(f"an unbound claim takes no {', '.join(sorted(given))}")
        elif self.check is None and not (self.benchmarks and self.arm):
            raise ValueError("a claim is bound by 'benchmarks' and 'arm', by 'check', or has 'unbound: reason'")
        if self.domains is not None and (self.scope != "mean" or len(self.benchmarks) < 2):
            raise ValueError("'domains: benchmarks' needs 'scope: mean' and at least two benchmarks")
        return self


class Judging(Strict):
    """The pre-registered design: fixed before results, stored with every verdict."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    kappa: Annotated[float, Field(gt=0, le=1)] = 0.5
    g: Annotated[float, Field(gt=0)] = 2.0
    stand_in_smallest_sd: Annotated[float, Field(gt=0)] = 0.2
    tolerated_failures: Annotated[float, Field(ge=0, le=1)] = 0.2


class SpaceRange(Strict):
    """A range to draw from: ``choices``, or ``low`` to ``high`` (``log``: of the logarithm; ``integer``: whole)."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: Annotated[list[Any], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SpaceRange:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give 'choices', or 'low' and 'high'")
        low, high = self.low, self.high
        if low is not None and high is not None and not (low < high and (low > 0 or not self.log)):
            raise ValueError("low < high is expected, and above 0 with 'log'")
        return self


class Sweep(Strict):
    """How arms are tuned: the same sampler and number of configurations for each.

    What an arm's methods declare is tuned without being named. ``spaces`` widens, narrows or (``null``) drops ranges,
    by arm (``"*"``: every arm): ``slot.hyper_parameter``, ``slot.METHOD.hyper_parameter`` where a slot is filled per
    place, or a recipe key. ``set`` overrides recipe keys in every arm, in the comparison too. ``benchmarks`` are those
    that the section is made for; on one that does not run all ``arms``, those that it runs are tuned. ``seeds`` are
    those of a configuration, ``fresh`` those of the comparison at the end. ``metric`` is compared on test;
    ``selection_metric`` chooses on validation, where that is another one.
    """

    benchmarks: list[Name] = []
    arms: list[Name] = []
    sampler: Literal["random", "tpe", "gp", "grid"] = "random"
    pruner: Literal["none", "median", "wilcoxon", "hyperband"] = "none"
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    fresh: Annotated[int, Field(ge=2, le=100)] = 6
    batch: Annotated[int, Field(ge=1, le=1000)] = 8
    metric: Identifier | None = None
    selection_metric: Identifier | None = None
    selection_better: Literal["higher", "lower"] = "higher"
    set: dict[str, Any] = {}
    spaces: dict[Name, dict[str, SpaceRange | None]] = {}


class Published(Strict):
    """Numbers as printed."""

    method: float | None = None
    baseline: float | None = None
    difference: float | None = None
    computed_difference: float | None = None
    gain_difference: float | None = None


class Fact(Strict):
    """One claim of a paper as its fact file has it."""

    id: Identifier
    suite: str
    benchmark: str
    model: str = ""
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    method: str
    baseline: str
    published: Published
    gain_difference: float | None = None
    setting: str | None = None
    kind: Literal["difference", "absolute", "ordering", "identity", "provenance", "reference", "mechanism"]
    statement: str
    source: str = ""
    trust: Literal["published", "derived", "third-party"] = "published"

    @property
    def _gain(self) -> float | None:
        """The difference of the gains over each one's own baseline, where the setting is mixed."""
        return self.published.gain_difference if self.published.gain_difference is not None else self.gain_difference

    @property
    def direction(self) -> int:
        """+1 where the claim says that the method's number is higher, −1 where lower (statistics.md)."""
        p = self.published
        printed = (self._gain if self.setting == "mixed" else None) or p.difference or p.computed_difference
        return (1 if printed > 0 else -1) if printed else (1 if self.better == "higher" else -1)

    @property
    def effect(self) -> float | None:
        """Δ: the published difference in the metric's unit, signed; None where none is printed."""
        p = self.published
        if self.setting == "mixed":
            return self._gain
        return p.difference or (p.computed_difference if p.computed_difference is not None else p.difference)


class FactFile(RootModel[list[Fact]]):
    """A claims file: a copy of the fact file's entries of one suite."""


class SuiteFile(Strict):
    """One paper's arms, benchmarks, bindings of its claims."""

    suite: Name
    title: str
    description: str = ""
    inherits: str | list[str] = []
    paper: Paper | None = None
    seeds: Seeds = Seeds()
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    benchmarks: Annotated[dict[Name, UsedBenchmark], Field(min_length=1)]
    claims: list[Binding] = []
    facts: str | list[Fact] = []
    judge: Judging = Judging()
    sweep: Sweep | None = None
    ablate: dict[Name, Ablations] = {}

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _empty_means_default(cls, value: Any) -> Any:
        """``imagenet-resnet18:`` with nothing after it takes the benchmark as its file has it."""
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value
