"""Choice of the next seed: the claim most likely to be resolved per second of compute.

Pure functions over designs and plain records: the same records give the same seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from statistics import median

import numpy as np

from harness import stats
from harness.judge.bindings import claim_designs
from harness.judge.correction import needed_p
from harness.judge.design import ClaimDesign
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.judging import corrected_families, examine_claim
from harness.judge.tests import Paired
from harness.judge.units import ExaminedBlock
from harness.judge.verdicts import Criteria, Reading
from harness.plan.planning import Plan, Selection
from harness.store.events import LogEvent
from harness.store.queries import Queries
from harness.suite import Suite

ENOUGH = 8
"""Seeds after which an adjusted rejection is kept although the size is not settled."""
QUANTILES = tuple((i + 0.5) / 10 for i in range(10))


@dataclass(frozen=True, slots=True)
class OpenComparison:
    """A comparison whose next seed could be added; its arms run together."""

    benchmark: str
    arms: tuple[str, ...]
    differences: tuple[float, ...]
    next_seed: int
    seconds: float
    p: float
    noise: stats.Noise = stats.INDEPENDENT


@dataclass(frozen=True, slots=True)
class Pending:
    """An unresolved test; its correction accepts p up to ``threshold`` as the family stands."""

    claim_id: str
    contrast: str
    n: int
    adjusted_p: float
    threshold: float
    comparisons: tuple[OpenComparison, ...]
    criteria: Criteria
    stopping: stats.SequentialRule
    margin: float | None
    cap: int


@dataclass(frozen=True, slots=True)
class AddedSeeds:
    """A seed to run for all arms of a comparison."""

    claim_id: str
    benchmark: str
    arms: tuple[str, ...]
    seed: int
    expected_resolution_per_second: float
    alternatives: tuple[tuple[str, float], ...]
    contrast: str = ""
    n: int = 0
    adjusted_p: float = 1.0
    threshold: float = 0.0

    @property
    def reason(self) -> str:
        others = ", ".join(f"{claim} {rate:.3g}" for claim, rate in self.alternatives[:3])
        return (
            f"{self.claim_id} is unresolved after {self.n} pairs (adjusted p {self.adjusted_p:.3g}, needs p ≤ "
            f"{self.threshold:.3g}): {self.expected_resolution_per_second:.3g} resolutions per second expected"
            + (f"; next: {others}" if others else "")
        )

    def as_event(self, run_id: str) -> LogEvent:
        return LogEvent("seed-bought", asdict(self) | {"reason": self.reason}, run_id)


def resolved(reading: Reading, adjusted_p: float, criteria: Criteria, adjusted_smaller: float = 1.0) -> str | None:
    """The reason that a sequential verdict can no longer change, or None.

    Running interval, p and its correction only shrink. Excluding an effect of the smallest size of interest is not the
    end where the estimate is at −m or below: "contradicted" is still possible.
    """
    certain = adjusted_p <= criteria.alpha
    if reading.margin:
        if certain and reading.above:
            return "not worse than the margin"
        return "worse than the margin" if certain and reading.below else None
    if criteria.sizeless:
        return "direction settled" if certain and (reading.above or reading.below) else None
    if certain:
        if criteria.delta is None or not reading.sized:
            return "direction settled"
        bar = criteria.kappa * criteria.delta
        if reading.low >= bar or reading.high < bar or reading.n >= ENOUGH:
            return "direction and size settled"
    m = criteria.smallest if criteria.smallest is not None else 0.0
    if reading.sized and adjusted_smaller <= criteria.alpha and (certain or reading.estimate > -m):
        return "an effect of the smallest size of interest is excluded"
    return None


def pending_claims(suite: Suite, plan: Plan, reader: Queries, *, cap: int) -> list[Pending]:
    """The unresolved tests of a suite; ``cap`` is the maximum number of seeds."""
    designs = claim_designs(suite, plan, sequential=True)
    evidence = read_evidence(reader, {trial for design in designs for trial in design.trial_ids()})
    return pending_of(designs, evidence, cap)


def pending_of(designs: Sequence[ClaimDesign], evidence: Evidence, cap: int) -> list[Pending]:
    """Unresolved tests from plain records; a test that claims share appears once."""
    claims = [examine_claim(design, evidence) for design in designs]
    families = corrected_families(claims)
    pending: dict[str, Pending] = {}
    for claim in claims:
        design = claim.design
        for unit in claim.units if design.question.domains is None else ():  # seeds make no more domains
            if unit.contrast in pending or unit.stopped is not None or unit.reading is None:
                continue
            family, criteria = families[unit.contrast], unit.criteria(design)
            adjusted_p = family.adjusted[unit.contrast]
            if resolved(unit.reading, adjusted_p, criteria, family.smaller_of(unit.p_smaller)):
                continue
            possible = [_open_comparison(design, examined, evidence) for examined in unit.blocks if examined.runs]
            comparisons = tuple(comparison for comparison in possible if comparison.next_seed < cap)
            if comparisons:
                pending[unit.contrast] = Pending(
                    design.claim_id,
                    unit.contrast,
                    unit.reading.n,
                    adjusted_p,
                    threshold=needed_p(family.name, family.p, unit.contrast, criteria.alpha),
                    comparisons=comparisons,
                    criteria=criteria,
                    stopping=_stopping(design),
                    cap=cap,
                    margin=design.estimand.margin if design.question.scope == "no_worse" else None,
                )
    return list(pending.values())


def _stopping(design: ClaimDesign) -> stats.SequentialRule:
    return design.rules.stopping or stats.SequentialRule(design.rules.g)


def _open_comparison(design: ClaimDesign, examined: ExaminedBlock, evidence: Evidence) -> OpenComparison:
    block = examined.block
    arms = tuple(dict.fromkeys((*block.chain, *design.pairing.own_baselines)))
    cells = [block.cells.get(arm, {}) for arm in arms]
    # an arm may have more seeds already, added for another comparison
    following = next(seed for seed in count() if any(seed not in cell for cell in cells))
    stored = ([evidence[trial].seconds for trial in cell.values() if trial in evidence] for cell in cells)
    seconds = sum(median(existing) if (existing := [time for time in times if time]) else 1.0 for times in stored)
    values = [(tuple(pairs.values), pairs.noise) for pairs in examined.pairs]
    weakest, noise = min(
        values, key=lambda each: (len(each[0]), sum(each[0]) / max(1, len(each[0]))), default=((), stats.INDEPENDENT)
    )
    p = Paired(weakest, _stopping(design), noise).p if weakest else 1.0
    return OpenComparison(block.benchmark, arms, weakest, following, seconds, p, noise)


def next_seeds(pending: Sequence[Pending], at_most: int = 1) -> list[AddedSeeds]:
    """The ``at_most`` best next seeds, each comparison once.

    A claim gets its seed where its evidence is weakest; where none is expected to resolve, the cheapest is next.
    """
    weakest = [(test, max(test.comparisons, key=lambda each: (each.p, -len(each.differences)))) for test in pending]
    rated = [(resolution_rate(test, comparison), test, comparison) for test, comparison in weakest]
    ranked = sorted(rated, key=lambda each: (-each[0], each[2].seconds * (each[1].n + 1), each[1].contrast))
    bought: dict[tuple[str, tuple[str, ...], int], AddedSeeds] = {}
    for rate, test, comparison in ranked:
        place = (comparison.benchmark, comparison.arms, comparison.next_seed)
        others = tuple((other.claim_id, score) for score, other, _ in ranked if other is not test)
        purchase = AddedSeeds(
            test.claim_id, *place, rate, others, test.contrast, test.n, test.adjusted_p, test.threshold
        )
        bought.setdefault(place, purchase)
    return list(bought.values())[:at_most]


def resolution_rate(pending: Pending, comparison: OpenComparison) -> float:
    """Expected resolutions per second if this comparison gets further seeds.

    Over ten equally likely true means (quantiles of the t posterior): one over the seconds until evidence and interval,
    projected with the present sd, resolve the claim, or zero beyond the maximum.
    """
    values = np.asarray(comparison.differences, dtype=np.float64)
    n, cap, criteria = len(values), pending.cap, pending.criteria
    if n < 2 or not np.isfinite(values).all():
        return 1.0 / (comparison.seconds * max(1, cap - n))
    if n >= cap:
        return 0.0
    from scipy import special

    future = np.arange(n + 1, cap + 1)
    mean, sd = float(values.mean()) + (pending.margin or 0.0), max(float(values.std(ddof=1)), comparison.noise.least_sd)
    truths = mean + special.stdtrit(n - 1, np.array(QUANTILES))[:, None] * sd / math.sqrt(n)
    means = (n * mean + (future - n) * truths) / future
    squares = (future - 1) * sd**2
    rule = pending.stopping.after(cap)
    evidence = stats.log_e_of_moments(future, means, squares, rule.g)
    half = stats.half_width_of_moments(future, squares, rule.g, rule.log_threshold(criteria.alpha))
    enough = evidence >= rule.log_threshold(pending.threshold)
    if pending.margin is not None:
        done = (enough & (means > 0)) | (means + half < 0)
    elif criteria.sizeless or criteria.delta is None:
        done = enough
    else:
        bar = criteria.kappa * criteria.delta
        done = enough & ((means - half >= bar) | (means + half < bar) | (future >= ENOUGH))
    if pending.margin is None and not criteria.sizeless:
        done |= means + half < (criteria.smallest or 0.0)
    first = np.where(done.any(axis=1), done.argmax(axis=1) + 1, np.inf)
    return float(np.mean(1.0 / first)) / comparison.seconds


def with_added_seeds(selection: Selection, purchases: Sequence[AddedSeeds]) -> Selection:
    """A selection with added seeds for every arm of each comparison."""
    bought = dict(selection.bought)
    for purchase in purchases:
        for arm in purchase.arms:
            have = bought.get((purchase.benchmark, arm), ())
            if purchase.seed not in have:
                bought[purchase.benchmark, arm] = (*have, purchase.seed)
    return replace(selection, bought=bought)
