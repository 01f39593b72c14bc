"""False positives of a suite, from simulated scores without effects.

The suite's designs are judged by the real judge, with seeds added by the real policy; only the scores are drawn.
Mechanism checks, baseline thresholds and teachers are left out, since they concern real training.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.evidence import StoredTrial
from harness.judge.judging import corrected_families, examine_claim
from harness.judge.rows import verdict_of
from harness.judge.seeds import next_seeds, pending_of
from harness.plan.planning import Selection, make_plan
from harness.suite import Suite
from harness.vocabulary import Status, Verdict

LAWS = ("normal", "t3", "binomial", "skewed")
"""Of a score: normal, Student's t with 3 degrees of freedom, 60 % of 100 items, lognormal on the first arm alone."""
LEVEL, ITEMS, CORRECT = 50.0, 100, 0.6

Have = Mapping[tuple[str, str], int]
"""How many seeds each arm of each benchmark has."""


@dataclass(frozen=True, slots=True)
class SimulatedNoise:
    """The distribution of scores; ``correlation`` is between benchmarks.

    ``effect``: advantage of the first arm of each claim, in standard deviations of a pair.
    """

    law: str = "normal"
    correlation: float = 0.0
    effect: float = 0.0

    def draw(self, rng: np.random.Generator, share: float, first: bool) -> float:
        """One score's noise, of this share of its variance."""
        if self.law == "binomial":
            return float(rng.binomial(round(ITEMS * share), CORRECT))
        if self.law == "skewed" and first:
            return math.sqrt(share) * float(rng.lognormal() - math.exp(0.5))
        drawn = rng.standard_t(3) if self.law == "t3" else rng.standard_normal()
        return math.sqrt(share) * float(drawn) * (0.0 if self.law == "skewed" else 1.0)


@dataclass(slots=True)
class FalseWords:
    """Counts over simulated suites, by family.

    Attributes:
        suites: with at least one verdict that states an effect.
        confirmed: tests with such a verdict on the claimed side.
    """

    repeats: int = 0
    tests: Counter[str] = field(default_factory=Counter)
    suites: Counter[str] = field(default_factory=Counter)
    anywhere: int = 0
    confirmed: Counter[str] = field(default_factory=Counter)
    pairs: int = 0

    @property
    def mean_pairs(self) -> float:
        """Seeds of a test."""
        every = self.repeats * sum(self.tests.values())
        return self.pairs / every if every else 0.0

    def rows(self) -> list[dict[str, str | int | float]]:
        """By family and over all: share of suites, its standard error, share of tests."""
        counted = {family: (tests, self.suites[family], self.confirmed[family]) for family, tests in self.tests.items()}
        counted["any"] = (sum(self.tests.values()), self.anywhere, sum(self.confirmed.values()))
        return [
            {
                "family": family,
                "tests": tests,
                "suites": share,
                "error": math.sqrt(share * (1 - share) / self.repeats),
                "confirmed": confirmed / (tests * self.repeats),
            }
            for family, (tests, suites, confirmed) in counted.items()
            if tests
            for share in (suites / self.repeats,)
        ]


def simulate_suite(
    suite: Suite, selection: Selection, noise: SimulatedNoise, repeats: int, *, seed: int = 0
) -> FalseWords:
    """Judge a suite on drawn scores; nothing is run, read or stored."""
    cap = selection.cap
    planned = selection if cap is None else replace(selection, seeds=tuple(range(cap)), cap=None)
    designs = claim_designs(suite, make_plan(suite, planned), sequential=cap is not None)
    return simulate(designs, noise, repeats, seed=seed, cap=cap)


def simulate(
    designs: Sequence[ClaimDesign], noise: SimulatedNoise, repeats: int, *, seed: int = 0, cap: int | None = None
) -> FalseWords:
    """Judge drawn scores; ``cap``: maximum seeds, added from ``seeds.min`` on (None: the plan's at once)."""
    judged = [design for design in designs if design.question.mode == "difference" and design.stopped is None]
    requested = [_bare(design, noise) for design in judged]
    result = FalseWords()
    for repeat in range(repeats):
        evidence = _evidence(requested, noise, np.random.default_rng([seed, repeat]))
        judged = requested if cap is None else _added_seeds(requested, evidence, cap)
        _count(judged, evidence, result)
    return result


def _bare(design: ClaimDesign, noise: SimulatedNoise) -> ClaimDesign:
    blocks = tuple(
        replace(
            block,
            competent=None,
            trivial=None,
            teacher=None,
            teacher_trials=(),
            invalid=None,
            # only the first arm of the skewed law varies
            deterministic=block.chain if noise.law == "skewed" else block.deterministic,
        )
        for block in design.blocks
    )
    return replace(design, gates=(), blocks=blocks)


def _evidence(
    designs: Sequence[ClaimDesign], noise: SimulatedNoise, rng: np.random.Generator
) -> dict[str, StoredTrial]:
    """Trials with drawn scores; a shared trial is drawn once for each metric."""
    shared: dict[tuple[str, int, str], float] = {}
    results: dict[str, dict[tuple[str, str], float]] = {}
    for design in designs:
        for block in design.blocks:
            place = (block.split or "train", block.metric)
            for arm, cell in block.cells.items():
                first = arm == block.chain[0]
                for number, trial in cell.items():
                    stored = results.setdefault(trial, {})
                    if place in stored:
                        continue
                    common = shared.setdefault((arm, number, block.metric), noise.draw(rng, noise.correlation, first))
                    own = noise.draw(rng, 1.0 - noise.correlation, first)
                    effect = block.direction * noise.effect * math.sqrt(2) if first else 0.0
                    stored[place] = LEVEL + common + own + effect
    return {trial: StoredTrial(trial, Status.DONE, "", scores, 1.0) for trial, scores in results.items()}


def _added_seeds(designs: Sequence[ClaimDesign], evidence: Mapping[str, StoredTrial], cap: int) -> list[ClaimDesign]:
    have: dict[tuple[str, str], int] = {
        (block.benchmark, arm): design.rules.seeds[0]
        for design in designs
        for block in design.blocks
        for arm in block.cells
    }
    while True:
        requested = [_cut(design, have) for design in designs]
        pending = pending_of(requested, evidence, cap)
        purchases = next_seeds(pending, at_most=len(pending))
        if not purchases:
            return requested
        for purchase in purchases:
            for arm in purchase.arms:
                place = (purchase.benchmark, arm)
                have[place] = max(have[place], purchase.seed + 1)


def _cut(design: ClaimDesign, have: Have) -> ClaimDesign:
    blocks = tuple(
        replace(
            block,
            cells={arm: dict(sorted(cell.items())[: have[block.benchmark, arm]]) for arm, cell in block.cells.items()},
        )
        for block in design.blocks
    )
    return replace(design, blocks=blocks)


def _count(designs: Sequence[ClaimDesign], evidence: Mapping[str, StoredTrial], counts: FalseWords) -> None:
    claims = [examine_claim(design, evidence) for design in designs]
    families = corrected_families(claims)
    wrong: set[str] = set()
    seen: set[str] = set()
    for claim in claims:
        for unit in claim.units:
            family = claim.design.family_of(unit.contrast)
            word = verdict_of(claim.design, unit, families[unit.contrast])
            against = Verdict.of(word).tone == Verdict.CONTRADICTED.tone
            # "not worse" is true where there is no difference
            if Verdict.of(word).decisive and (against or claim.design.question.scope != "no_worse"):
                wrong.add(family)
            if unit.contrast not in seen:
                seen.add(unit.contrast)
                counts.tests[family] += counts.repeats == 0
                counts.pairs += unit.reading.n if unit.reading is not None else 0
                counts.confirmed[family] += Verdict.of(word).decisive and not against
    counts.repeats += 1
    counts.suites.update(wrong)
    counts.anywhere += bool(wrong)
