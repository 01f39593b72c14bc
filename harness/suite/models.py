"""The typed form of suite, benchmark and claims files. A misspelt key is an error, never ignored."""

# ruff: noqa: RUF012  (pydantic copies the defaults of fields)

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator, model_validator

from harness.suite.paper_claims import FactKind as FactKind
from harness.suite.paper_claims import PaperClaim as PaperClaim
from harness.suite.paper_claims import PaperClaims as PaperClaims
from harness.suite.paper_claims import Published as Published
from harness.suite.search_models import Sweep, TunedProtocol
from harness.suite.strict import Identifier as Identifier
from harness.suite.strict import Name as Name
from harness.suite.strict import Settings
from harness.suite.strict import Strict as Strict
from harness.vocabulary import Role

REPORTED = "reported"
"""In ``check:``, an identity that only the authors' files show."""


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
    """Numbers of seeds: least, for primary comparisons, most."""

    min: Annotated[int, Field(ge=1, le=1000)] = 3
    primary: Annotated[int, Field(ge=1, le=1000)] | None = None
    max: Annotated[int, Field(ge=1, le=1000)] = 12

    @model_validator(mode="after")
    def _ordered(self) -> Seeds:
        if not self.min <= (self.primary or self.min) <= self.max:
            raise ValueError(f"min ≤ primary ≤ max is expected, not {self.min}, {self.primary}, {self.max}")
        return self


class Arm(Strict):
    """Methods by slot and overrides of recipe keys; ``parent``: the arm that an ablation changes.

    ``deterministic``: an arm that may give equal scores at every seed, as a dummy baseline.
    """

    role: Annotated[Role, Field(strict=False)]
    about: str = ""
    optimizer: str | Settings | None = None
    norm: str | Settings | None = None
    objective: str | Settings | None = None
    adaptation: str | Settings | None = None
    set: Settings = Settings()
    protocol: Literal["published", "tuned"] = "published"
    parent: Name | None = None
    deterministic: bool = False


Levels = Annotated[dict[Identifier, Annotated[Settings, Field(min_length=1)]], Field(min_length=1)]


class Ablate(Strict):
    """A design of ablations: ``factors`` has levels of changes to the arm.

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
"""One design or several, distinguished before validation so that a mistake is reported once."""


class Metric(Strict):
    """A final metric: unit and direction as in the claims.

    ``floor`` is the smallest effect size of interest at paper scale, ``smallest`` on a stand-in, or
    ``relative_smallest``, as a share of the baseline's mean. ``trivial`` is the score of a dummy baseline,
    ``deterministic``: arms may give equal scores at every seed.
    """

    unit: str
    better: Literal["higher", "lower"]
    split: Literal["test", "validation"] = "test"
    floor: Annotated[float, Field(ge=0)] | None = None
    trivial: float | None = None
    perfect: float | None = None
    smallest: Annotated[float, Field(gt=0)] | None = None
    relative_smallest: Annotated[float, Field(gt=0, lt=1)] | None = None
    deterministic: bool = False

    @model_validator(mode="after")
    def _one_smallest(self) -> Metric:
        if self.smallest is not None and self.relative_smallest is not None:
            raise ValueError("give 'smallest' or 'relative_smallest', not both")
        return self


class Dependency(Strict):
    """A trial whose trained weights a benchmark starts from; ``data`` defaults to the benchmark's.

    ``weights`` names a source of published weights instead. ``seeds``: one trial for every seed (``shared``: the
    interval is conditional on it), or one a seed (``paired``). Without ``always`` only arms whose methods need it
    (``MethodMetadata.needs``) start from it.
    """

    about: str = ""
    task: str = "classification"
    data: Settings = Settings()
    model: Settings = Settings()
    recipe: Settings = Settings()
    weights: str | None = None
    seeds: Literal["shared", "paired"] = "shared"
    always: bool = False


class ScaleBlock(Strict):
    """Changes of a scale against ``paper``; under ``paper`` itself, everything.

    ``competent``: baseline thresholds by metric, a number or an arm (a dummy baseline) to reach on the same seeds. A
    baseline below it makes its claims ``weak baseline``.
    """

    about: str = ""
    data: Settings = Settings()
    model: Settings = Settings()
    recipe: Settings = Settings()
    prerequisites: dict[Identifier, Dependency] = {}
    stands_for: list[Name] = []
    competent: dict[str, float | Name] = {}
    arms: list[Name] | None = None


class Source(Strict):
    """Origin of a value of a published recipe."""

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
    """A suite's use of a benchmark: file or inline definition, arms, overrides of recipe keys."""

    file: str | None = None
    define: Benchmark | None = None
    arms: list[Name] | None = None
    set: Settings = Settings()


class MechanismCheck(Strict):
    """Check of a claim's cause: ``metric`` of ``arm`` compared with ``value``.

    Taken as a ratio to ``relative_to`` (of positive quantities) or less that of ``minus``.
    """

    metric: Annotated[str, StringConstraints(pattern=r"^mechanism\.")]
    arm: Name
    relative_to: Name | None = None
    minus: Name | None = None
    op: Literal[">=", "<=", ">", "<"]
    value: float

    @model_validator(mode="after")
    def _one_reference(self) -> MechanismCheck:
        if self.relative_to is not None and self.minus is not None:
            raise ValueError("a mechanism check is a ratio ('relative_to') or a difference ('minus'), not both")
        return self

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(arm for arm in (self.arm, self.relative_to, self.minus) if arm is not None)

    @property
    def of(self) -> str:
        """Its arms as text: ``adamp / adam``, ``adamp − adam``."""
        return f"{self.arm} / {self.relative_to}" if self.relative_to else " − ".join(self.arms)

    def __str__(self) -> str:
        return f"{self.metric} of {self.of} {self.op} {self.value:g}"


class Threshold(Strict):
    """Scope ``at_least: k``: the effect exists in at least k benchmarks."""

    at_least: Annotated[int, Field(ge=1)]


class Claim(Strict):
    """A claim, bound to benchmarks and arms or unbound with a reason.

    A claim of a paper has an ``id``; its sentence and numbers are in the facts. A claim of the suite has a ``kind``: an
    ``intervention`` changes a cause, and the gain must change with it; a ``comparison`` is any question without a
    printed number (default ``benchmarks``: those that have the metric). It has its ``statement`` and ``published``
    numbers itself.

    ``order`` is required by orderings over several arms: ``chain`` (arm > against[0] > against[1] …) or ``best``
    (arm above each); a difference may have it too, and then all of ``against`` decides, else the first of them.
    ``shown``: comparators that never decide. ``baselines``: own baselines of the arm and of ``against[0]``; the claim
    is judged on the gains over them. ``m`` is the smallest effect size of interest, in the metric's unit.
    ``check: reported`` marks an identity that only the authors' files show. ``domains: benchmarks`` (with ``scope:
    mean``): the claim is about domains such as persons or rooms, each a benchmark; seeds are averaged within a domain
    and the test is over domains. ``stand_in: false``: the claim is about these very networks and data (of pairs that
    share a stand-in, some are published to win and some to lose), so that a stand-in is ``not comparable``.
    """

    id: Identifier
    kind: FactKind | None = None
    statement: str = ""
    published: Published | None = None
    unbound: Annotated[str, StringConstraints(min_length=12)] | None = None
    benchmarks: list[Name] = []
    arm: Name | None = None
    against: list[Name] = []
    shown: list[Name] = []
    metric: Identifier | None = None
    scope: Literal["each", "all", "mean", "no_worse"] | Threshold = "each"
    primary: bool = False
    protocol: Literal["published", "tuned"] = "published"
    on_divergence: Literal["worst", "invalid"] = "invalid"
    mechanism: MechanismCheck | list[MechanismCheck] | None = None
    m: Annotated[float, Field(gt=0)] | None = None
    margin: Annotated[float, Field(gt=0)] | None = None
    check: Identifier | None = None
    baselines: list[Name] = []
    order: Literal["chain", "best"] | None = None
    domains: Literal["benchmarks"] | None = None
    stand_in: bool = True
    note: str = ""

    @property
    def gates(self) -> list[MechanismCheck]:
        values = self.mechanism
        return values if isinstance(values, list) else [] if values is None else [values]

    def deciding(self, kind: str) -> list[Name]:
        """The comparators that decide a claim of this kind: all of an ordering's, else the first."""
        return self.against if kind == "ordering" or self.order is not None else self.against[:1]

    def fact(self, suite: str, metric: Metric) -> PaperClaim:
        """A claim of the suite in the form of a paper's claim."""
        assert self.kind is not None
        assert self.arm is not None
        assert self.metric is not None
        better = f"{self.arm} is better than {' and '.join(self.against)} in {self.metric}."
        return PaperClaim(
            id=self.id,
            suite=suite,
            benchmark=self.benchmarks[0],
            metric=self.metric,
            unit=metric.unit,
            better=metric.better,
            method=self.arm,
            baseline=self.against[0],
            published=self.published or Published(),
            kind=self.kind,
            statement=self.statement or better,
            source=f"{'an' if self.kind[0] in 'aio' else 'a'} {self.kind} of this suite",
            trust="derived",
        )

    @model_validator(mode="after")
    def _bound_or_not(self) -> Claim:
        if self.unbound is not None:
            values = self.model_fields_set - {"id", "unbound", "note"}
            if values:
                raise ValueError(f"an unbound claim takes no {', '.join(sorted(values))}")
        elif self.check is None and not (self.arm and (self.benchmarks or self.kind == "comparison")):
            raise ValueError("a claim is bound by 'benchmarks' and 'arm', by 'check', or has 'unbound: reason'")
        if self.domains is not None and (self.scope != "mean" or len(self.benchmarks) < 2):
            raise ValueError("'domains: benchmarks' needs 'scope: mean' and at least two benchmarks")
        return self

    @model_validator(mode="after")
    def _states_itself(self) -> Claim:
        if self.kind is None:
            if self.statement or self.published is not None:
                raise ValueError("'statement' and 'published' belong to a claim with a 'kind'; a paper's are its facts")
            return self
        if lacking := [key for key in ("arm", "against", "metric") if not getattr(self, key)]:
            raise ValueError(f"a claim with a 'kind' needs {' and '.join(map(repr, lacking))}")
        if self.kind == "intervention" and len(self.statement) < 12:
            raise ValueError("an intervention needs a 'statement' of at least 12 characters")
        if len(self.baselines) > 2:
            raise ValueError("'baselines' are at most two: the arm's, then the other's")
        return self


class ComparisonEntry(Claim):
    """An entry of ``compare:``, each of ``against`` a claim; ``jointly``: one claim."""

    id: Identifier | None = None  # type: ignore[assignment]
    jointly: bool = False


class Judging(Strict):
    """The pre-registered design: fixed before results, stored with every verdict."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    kappa: Annotated[float, Field(gt=0, le=1)] = 0.5
    g: Annotated[float, Field(gt=0)] = 0.5
    tolerated_failures: Annotated[float, Field(ge=0, le=1)] = 0.2


class SuiteFile(Strict):
    """One paper's arms, benchmarks and claims.

    ``interventions`` and ``compare`` are short forms of claims, which ``short_forms`` adds to ``claims``.
    """

    suite: Name
    title: str
    description: str = ""
    inherits: str | list[str] = []
    paper: Paper | None = None
    seeds: Seeds = Seeds()
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    benchmarks: Annotated[dict[Name, UsedBenchmark], Field(min_length=1)]
    claims: list[Claim] = []
    interventions: list[Claim] = []
    compare: list[ComparisonEntry] = []
    facts: str | list[PaperClaim] = []
    judge: Judging = Judging()
    sweep: Sweep | None = None
    tuned: TunedProtocol | None = None
    ablate: dict[Name, Ablations] = {}

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _empty_means_default(cls, value: Any) -> Any:
        """Take the benchmark of the file for ``imagenet-resnet18:`` without a value."""
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value
