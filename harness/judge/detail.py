"""The record of a verdict: the design that was fixed before results, and what was computed from them.

``verdicts.design`` holds it as JSON. Version 1 is :class:`VerdictDetail`, field by field; version 0, which has no
``version``, had the same values under flat names and is read by :func:`upgraded`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter

from harness.judge.design import (
    PREFIX,
    ClaimDesign,
    DesignBlock,
    Estimand,
    Multiplicity,
    Pairing,
    Question,
    StatisticalRules,
)
from harness.judge.mechanism import Mechanism, MechanismReading
from harness.vocabulary import present_text

VERSION = 1

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
    """The interval of one comparison over seeds and items, in the claim's direction and the metric's unit.

    ``overlap`` is None where every seed has the same items, else the share of its items that a seed shares with
    another one on average.
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
            f"every seed splits one pool of {self.items} items anew ({self.overlap:.0%} of its test items are shared)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredComparison:
    """Two arms on one benchmark, unadjusted, up = as claimed; of an absolute claim the scores of its arm.

    Attributes:
        shares: other benchmarks that the same stand-in serves.
        differences: by seed; infinite where an arm diverged and the claim counts that as a lost pair.
        scores: by seed, of an absolute claim.
        contrast: the test that it belongs to.
        verdict: of this benchmark, where it is a test of its own.
        active: whether every mechanism check passed here; None without one.
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
    """Sizes of the comparison that decides, where a verdict rests on one benchmark.

    Attributes:
        d_z: Hedges-corrected, with its exact interval; an end is None where it is not known.
        level: at which the family's correction accepts this test.
        mde: minimum detectable effect at 80 % power and that level.
        seeds_needed: pairs of a fixed design with 80 % power for the least effect that the interval of d_z allows.
        correlation: of the two arms' scores over seeds.
        bootstrap: studentised, from five pairs on.
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
    decided_against: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Counts over every comparison of a claim, and the rules that its test used.

    Attributes:
        smallest: smallest effect size of interest, in the unit of the difference.
        unequal: differences of the two arms beyond the claim.
        deciding: the benchmarks whose test decides.
        stopping_rule: of a sequential design.
        margin_from: origin of the equivalence margin of an absolute claim.
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
    """The test that decides, and the p values of its family before the correction."""

    contrast: str
    correction: str
    p: Mapping[str, float | None] = field(default_factory=dict)
    bounds: tuple[FamilyBound, ...] = ()

    @property
    def size(self) -> int:
        """Number of tests in the family."""
        return len(self.p)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The two sides of an identity's check; ``code`` is the fingerprint of what computed them."""

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
    """A registered value and its present one; None where there is none."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name} {_text(self.before)} → {_text(self.now)}"


def _text(value: Any) -> str:
    """A value as people read it; long lists by their length."""
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 4 else f"{len(value)} ({', '.join(map(str, value[:2]))} …)"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedSearch:
    """A search at equal budgets on one benchmark.

    Attributes:
        budget: configurations of each arm.
        seeds: trials of a configuration.
        told: finished configurations by arm.
        chosen: hyper-parameters by arm.
        ends: by arm, the chosen values at an end of the grid: ``largest`` or ``smallest`` by key.
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

    Attributes:
        rates: by benchmark and arm.
        holds: whether the unadjusted interval lies on the claimed side, by the claim's own test.
        measured: whether its trials ran, even if they diverged.
        trials: by benchmark, arm and seed.
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
    """A claim's design with everything that was computed from it; trial_ids are cut to ``PREFIX`` digits.

    Attributes:
        registered: sha256 of what must not change once results exist.
        reason: why there is no verdict, or which benchmark decides.
        test: the test that decides; None where there is none.
        effect: where the verdict rests on one benchmark.
        per_benchmark: every comparison that decides.
        shown: comparisons that do not decide.
        mechanism: of all mechanism checks together; None without one.
        two_way: of a verdict that rests on one comparison.
        look: pairs of this interim analysis; None where trials are still to come.
        look_sizes: pairs at every interim analysis so far.
        registration: what was fixed, stored with the first verdict that has results.
        changed: what differs from the registration.
        changed_since: moment of the first verdict that differed.
        judged_from: digest of everything that the judgement read.
    """

    version: int = VERSION
    registered: str = ""
    reason: str | None = None
    numbers: Numbers = Numbers()
    test: FamilyTest | None = None
    effect: EffectSize | None = None
    per_benchmark: tuple[MeasuredComparison, ...] = ()
    shown: tuple[MeasuredComparison, ...] = ()
    mechanism: Mechanism | None = None
    gate_readings: tuple[MechanismReading, ...] = ()
    two_way: ItemInterval | None = None
    warnings: tuple[str, ...] = ()
    look: int | None = None
    look_sizes: tuple[int, ...] = ()
    registration: Registration | None = None
    changed: tuple[RegisteredChange, ...] = ()
    changed_since: str | None = None
    check: CheckResult | None = None
    tuning: Mapping[str, TunedSearch] = field(default_factory=dict)
    rate_curve: tuple[RateEntry, ...] = ()
    imported: tuple[ImportedResults, ...] = ()
    judged_from: str | None = None

    @property
    def is_check(self) -> bool:
        """Whether a check of both sides decides it, not trials."""
        return self.question.mode == "check"

    @property
    def measured_rates(self) -> tuple[RateEntry, ...]:
        """Entries of the learning-rate sensitivity whose trials ran."""
        return tuple(entry for entry in self.rate_curve if entry.measured)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        plain: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return plain


@cache
def _adapter() -> TypeAdapter[VerdictDetail]:
    return TypeAdapter(VerdictDetail)


def from_json(stored: Mapping[str, Any]) -> VerdictDetail:
    """Read a stored detail of any version; unknown names are ignored.

    Raises:
        pydantic.ValidationError: a value is not of its type.
    """
    return _adapter().validate_python(stored if "version" in stored else upgraded(stored))


def detail_of(design: ClaimDesign, reason: str | None = None) -> VerdictDetail:
    """The detail of a verdict without numbers."""
    return VerdictDetail(
        scale=design.scale,
        question=design.question,
        pairing=design.pairing,
        estimand=design.estimand,
        rules=design.rules,
        multiplicity=design.multiplicity,
        gates=design.gates,
        blocks=tuple(_shortened(block) for block in design.blocks),
        absent=design.absent,
        stand_in=design.stand_in,
        stopped=design.stopped,
        registered=design.digest(),
        reason=reason,
    )


def without_results(detail: VerdictDetail, reason: str) -> VerdictDetail:
    """The same question, not run: nothing that was computed, no interim analysis."""
    question = detail_of(detail, reason)
    return replace(question, registered=detail.registered, changed_since=detail.changed_since)


def _shortened(block: DesignBlock) -> DesignBlock:
    cells = {arm: {seed: trial[:PREFIX] for seed, trial in cell.items()} for arm, cell in block.cells.items()}
    return replace(block, cells=cells, teacher_trials=tuple(trial[:PREFIX] for trial in block.teacher_trials))


def finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


PARTS = {
    "question": Question,
    "pairing": Pairing,
    "estimand": Estimand,
    "rules": StatisticalRules,
    "multiplicity": Multiplicity,
    "numbers": Numbers,
    "effect": EffectSize,
}
"""Parts whose fields stood flat in version 0."""


UNSTATED: dict[str, Any] = {
    "scale": "",
    "claim_id": "",
    "suite": "",
    "kind": "difference",
    "mode": "difference",
    "direction": 1,
    "metric": "",
    "unit": "",
    "alpha": 0.05,
    "kappa": 0.5,
    "g": 0.5,
    "tolerated_failures": 0.2,
    "seeds": (0, 0, 0),
    "sequential": False,
    "family": "secondary",
}
"""Values of fields that a design of version 0 may lack."""


def upgraded(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0, as versions up to 0.1.0 wrote it, in the names of version 1."""
    check, contrast = stored.get("check"), stored.get("contrast")
    tested = contrast if isinstance(contrast, Mapping) else {}
    flat = {
        **UNSTATED,
        **stored,
        "check": check.get("name") if isinstance(check, Mapping) else check,
        "contrast": stored.get("contrast_id") or (contrast if isinstance(contrast, str) else ""),
    }
    new: dict[str, Any] = {
        name: {each.name: flat[each.name] for each in fields(part) if each.name in flat} for name, part in PARTS.items()
    }
    kept = {each.name for each in fields(VerdictDetail)} - PARTS.keys()
    new |= {name: value for name, value in stored.items() if name in kept}
    test = {
        "contrast": tested.get("id", ""),
        "correction": stored.get("correction", ""),
        "p": stored.get("family_p") or {},
        "bounds": stored.get("family_bounds") or (),
    }
    return new | {
        "version": VERSION,
        "scale": flat["scale"],
        "test": test if tested else None,
        "effect": new["effect"] if "d_z" in stored else None,
        "check": stored.get("check_result") or (check if isinstance(check, Mapping) else None),
        "shown": [{"arm": stored.get("arm") or "", **entry} for entry in stored.get("shown") or ()],
        "gate_readings": [_mechanism_reading(entry) for entry in stored.get("gate_readings") or ()],
    }


def _mechanism_reading(entry: Mapping[str, Any]) -> dict[str, Any]:
    rule = {name: entry.get(name) for name in ("metric", "arm", "relative_to", "minus", "op")}
    reading = {"benchmark": entry["benchmark"], "value": entry["value"], "passed": entry["passed"]}
    return {"rule": {**rule, "value": entry["threshold"]}, **reading, "reason": entry.get("reason") or ""}
