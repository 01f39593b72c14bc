"""The record of a verdict: its design and the results computed from it.

``verdicts.design`` holds it as JSON, since version 1 field by field; version 2 has families of tests and lists of
searches. :mod:`harness.judge.former_details` reads former versions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter

from harness.judge.design import PREFIX, ClaimDesign, DesignBlock
from harness.judge.mechanism import Mechanism, MechanismReading
from harness.vocabulary import present_text

VERSION = 2

HyperParameter = str | int | float | bool
Registration = Mapping[str, Any]
"""Plain values by name: ``kappa``, ``digits: smallest``, ``digits/adamp: optimizer.lr``."""
FamilyBound = tuple[str, float | None, bool, float | None]
"""A test, its smallest effect, whether it points as claimed, and the p of "smaller than that"."""


@dataclass(frozen=True, slots=True)
class Ends:
    """An interval."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ItemInterval:
    """Interval of a comparison over seeds and items, up = as claimed.

    ``overlap`` is None where every seed has the same items, else the mean share of items that a seed shares.
    """

    low: float | None
    high: float | None
    p: float
    n: int
    items: int
    seed_sd: float | None
    item_sd: float | None
    overlap: float | None

    @property
    def conditional_on(self) -> str:
        """The condition of the inference, as a clause."""
        if self.overlap is None:
            return f"every seed is tested on the same {self.items} items"
        return (
            f"every seed splits one pool of {self.items} items again ({self.overlap:.0%} of its test items are shared)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredComparison:
    """Two arms on one benchmark, unadjusted, up = as claimed; or the scores of one arm.

    Attributes:
        shares: other benchmarks that the same stand-in serves.
        differences: by seed; infinite where a diverged arm lost the pair.
        scores: by seed, of an absolute claim.
        verdict: of this benchmark, where it is a separate test (``contrast``).
        active: True if every mechanism check passed; None without any.
        mismatched: seeds that ran in two environment classes.
    """

    benchmark: str
    arm: str = ""
    against: str | None = None
    metric: str = ""
    n: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    differences: Mapping[int, float] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    method_mean: float | None = None
    baseline_mean: float | None = None
    correlation: float | None = None
    shares: tuple[str, ...] = ()
    contrast: str = ""
    stand_in_name: str = ""
    verdict: Annotated[str, AfterValidator(present_text)] | None = None
    reason: str | None = None
    unequal: tuple[str, ...] = ()
    active: bool | None = None
    missing: int = 0
    failed: int = 0
    diverged: int = 0
    mismatched: int = 0
    two_way: ItemInterval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSize:
    """Sizes of the deciding comparison of a verdict on one benchmark.

    Attributes:
        d_z: Hedges-corrected, with its exact interval.
        level: at which the family's correction accepts this test.
        mde: minimum detectable effect at 80 % power and that level.
        seeds_needed: pairs of a fixed design with 80 % power for the least effect that the interval of d_z allows.
        bootstrap: studentised, from five pairs on.
        again: probability that the same design gives this direction again, where the interval of d_z excludes zero.
        share_better: P(method > baseline) over pairs, ties counted half; ``share_ends`` is its interval.
        decided_against: the hardest of several comparators that all decide.
    """

    d_z: float | None = None
    d_z_low: float | None = None
    d_z_high: float | None = None
    level: float | None = None
    mde: float | None = None
    seeds_needed: int | None = None
    seeds_won: int = 0
    sign_flip_p: float | None = None
    correlation: float | None = None
    relative_error_reduction: float | None = None
    bootstrap: Ends | None = None
    again: float | None = None
    share_better: float | None = None
    share_ends: Ends | None = None
    decided_against: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Counts over a claim's comparisons, and the rules of its test.

    ``smallest`` is the SESOI in the unit of the difference, ``unequal`` are differences of the arms beyond the claim.
    """

    smallest: float | None = None
    missing: int = 0
    failed: int = 0
    diverged: int = 0
    mismatched: int = 0
    unequal: tuple[str, ...] = ()
    deciding: tuple[str, ...] = ()
    stopping_rule: str | None = None
    standardised_by: str | None = None
    replicated_over: str | None = None
    equivalence_margin: float | None = None
    margin_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTest:
    """The deciding test, and its family's uncorrected p."""

    contrast: str
    family: str = ""
    correction: str
    p: Mapping[str, float | None] = field(default_factory=dict)
    bounds: tuple[FamilyBound, ...] = ()

    @property
    def size(self) -> int:
        return len(self.p)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The two sides of an identity's check, and its code's fingerprint."""

    ours: float
    theirs: float
    tolerance: float
    unit: str = ""
    detail: str = ""
    relation: str = "equal"
    holds: bool = False
    code: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RegisteredChange:
    """A registered value and its present value."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {_text(self.before)} → {_text(self.now)}"


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 4 else f"{len(value)} ({', '.join(map(str, value[:2]))} …)"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedSearch:
    """A search at equal budgets on one benchmark.

    Attributes:
        budget: configurations of each arm, of which ``told`` have finished.
        seeds: trials of a configuration.
        ends: by arm, the chosen values at an end of the grid (``largest`` or ``smallest``).
    """

    sweep_id: str
    budget: int
    seeds: int
    told: Mapping[str, int]
    chosen: Mapping[str, Mapping[str, HyperParameter]]
    ends: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEntry:
    """The difference at one multiple of the recipe's learning rates.

    ``holds``: the unadjusted interval lies on the claimed side; ``measured``: its trials ran, even if they diverged.
    ``rates`` are by benchmark and arm, ``trials`` by seed too.
    """

    factor: float
    rates: Mapping[str, Mapping[str, float]]
    n: int
    difference: float | None
    low: float | None
    high: float | None
    holds: bool
    reason: str | None
    measured: bool
    diverged: int
    trials: Mapping[str, Mapping[str, Mapping[int, str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedResults:
    """A file that trials of a verdict were imported from."""

    file: str
    sha256: str
    mapping: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictDetail(ClaimDesign):
    """A claim's design with its results; trial_ids are cut to ``PREFIX`` digits.

    Attributes:
        registered: sha256 of the values that must not change once results exist.
        reason: of a verdict without a test, or of the deciding benchmark.
        per_benchmark: every comparison that decides; ``shown`` the others.
        other_families: of the claim's tests that do not decide.
        two_way: of a verdict that rests on one comparison.
        look: pairs of this interim analysis; None below the fewest of a verdict.
        planned: pairs of the whole plan, while trials are still to come.
        look_sizes: pairs at every interim analysis so far.
        registration: the fixed values, stored with the first verdict that has results.
        changed: differences from the registration, since ``changed_since``.
        judged_from: digest of everything that the evaluation read.
    """

    version: int = VERSION
    registered: str = ""
    reason: str | None = None
    numbers: Numbers = Numbers()
    test: FamilyTest | None = None
    other_families: tuple[FamilyTest, ...] = ()
    effect: EffectSize | None = None
    per_benchmark: tuple[MeasuredComparison, ...] = ()
    shown: tuple[MeasuredComparison, ...] = ()
    mechanism: Mechanism | None = None
    gate_readings: tuple[MechanismReading, ...] = ()
    two_way: ItemInterval | None = None
    warnings: tuple[str, ...] = ()
    look: int | None = None
    look_sizes: tuple[int, ...] = ()
    planned: int | None = None
    registration: Registration | None = None
    changed: tuple[RegisteredChange, ...] = ()
    changed_since: str | None = None
    check: CheckResult | None = None
    tuning: Mapping[str, tuple[TunedSearch, ...]] = field(default_factory=dict)
    rate_curve: tuple[RateEntry, ...] = ()
    imported: tuple[ImportedResults, ...] = ()
    judged_from: str | None = None

    @property
    def is_check(self) -> bool:
        """True if a check of both sides decides."""
        return self.question.mode == "check"

    @property
    def replicates(self) -> tuple[str, str]:
        """The name of a pair, singular and plural."""
        return ("paired seed", "paired seeds") if self.pairing.seeds_of_search is None else ("search", "searches")

    @property
    def measured_rates(self) -> tuple[RateEntry, ...]:
        """Entries of the learning-rate sensitivity whose trials ran."""
        return tuple(entry for entry in self.rate_curve if entry.measured)

    def to_json(self) -> dict[str, Any]:
        return _adapter().dump_python(self, mode="json")


@cache
def _adapter() -> TypeAdapter[VerdictDetail]:
    return TypeAdapter(VerdictDetail)


def from_json(stored: Mapping[str, Any]) -> VerdictDetail:
    """Read a stored detail of any version; unknown names are ignored.

    Raises:
        pydantic.ValidationError: a value is not of its type.
    """
    from harness.judge.former_details import upgraded  # which needs the records here

    return _adapter().validate_python(stored if stored.get("version") == VERSION else upgraded(stored))


def detail_of(design: ClaimDesign, reason: str | None = None) -> VerdictDetail:
    """The detail of a verdict without numbers."""
    fixed = {each.name: getattr(design, each.name) for each in fields(ClaimDesign)}
    fixed["blocks"] = tuple(_shortened(block) for block in design.blocks)
    return VerdictDetail(**fixed, registered=design.digest(), reason=reason)


def without_results(detail: VerdictDetail, reason: str) -> VerdictDetail:
    """The same question without results, not run."""
    question = detail_of(detail, reason)
    return replace(question, registered=detail.registered, changed_since=detail.changed_since)


def _shortened(block: DesignBlock) -> DesignBlock:
    cells = {arm: {seed: trial[:PREFIX] for seed, trial in cell.items()} for arm, cell in block.cells.items()}
    return replace(block, cells=cells, teacher_trials=tuple(trial[:PREFIX] for trial in block.teacher_trials))


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
