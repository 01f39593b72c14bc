"""Units of a design: everything that gets a separate verdict."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness import stats
from harness.judge import fairness
from harness.judge.design import ClaimDesign, DesignBlock, Stop
from harness.judge.evidence import Evidence, trials_in_words
from harness.judge.mechanism import MechanismReading, read_mechanism
from harness.judge.pairs import Pairs, constant, one_score, pair
from harness.judge.tests import Conjunction, Mean, NoWorse, Paired, SignedRanks, Test, guarded, too_many_failures
from harness.judge.verdicts import Criteria, Reading, read
from harness.vocabulary import Verdict


@dataclass(frozen=True, slots=True)
class ExaminedBlock:
    """One benchmark: its pairs, mechanism checks, and the reason for no test."""

    block: DesignBlock
    pairs: tuple[Pairs, ...]
    gates: tuple[MechanismReading, ...]
    stopped: Stop | None = None

    @property
    def active(self) -> bool:
        """True if every mechanism check passed."""
        return all(gate.passed for gate in self.gates)

    @property
    def runs(self) -> bool:
        """True if more seeds may still give it a test."""
        return self.stopped is None or self.stopped.verdict == Verdict.NOT_RUN

    @property
    def baseline(self) -> list[float]:
        return list(self.pairs[0].baseline.values()) if self.pairs else []


Bound = tuple[str, float | None, bool]
"""A test, the size that its effect is held against, and whether it points as claimed."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A benchmark under scope ``each``, else all of the claim's benchmarks together."""

    contrast: str
    blocks: tuple[ExaminedBlock, ...]
    reading: Reading | None
    smallest: float | None
    stopped: Stop | None
    standardised_by: str | None = None
    replicated_over: str | None = None

    @property
    def p(self) -> float | None:
        """For the family's correction; None where there is no test."""
        return None if self.reading is None or self.stopped is not None else self.reading.p

    @property
    def p_smaller(self) -> dict[Bound, float]:
        """p of "smaller than the SESOI" by bound (claims that share a test may have two); empty without a test."""
        if self.reading is None or self.stopped is not None:
            return {}
        return {(self.contrast, self.smallest, self.reading.estimate > 0): self.reading.p_smaller}

    def criteria(self, design: ClaimDesign) -> Criteria:
        rules = design.rules
        return Criteria(rules.alpha, rules.kappa, design.estimand.delta, self.smallest, design.sizeless)


def units_of(design: ClaimDesign, evidence: Evidence) -> tuple[Unit, ...]:
    """Every unit of a design."""
    blocks = tuple(_examine(design, block, evidence) for block in design.blocks)
    if design.question.scope == "each" or len(blocks) == 1:
        return tuple(_unit(design, (block,), block.block.contrast) for block in blocks)
    return (_unit(design, blocks, design.multiplicity.contrast),)


def _examine(design: ClaimDesign, block: DesignBlock, evidence: Evidence) -> ExaminedBlock:
    gates = tuple(read_mechanism(rule, block, evidence) for rule in design.gates)
    pairs = tuple(pair(design.pairing, block, upper, lower, evidence) for upper, lower in block.comparisons)
    examined = ExaminedBlock(block, pairs, gates)
    return replace(examined, stopped=_stop_of(design, examined, evidence))


def _stop_of(design: ClaimDesign, examined: ExaminedBlock, evidence: Evidence) -> Stop | None:
    """The reason for no test of a benchmark; at paper scale a failed mechanism check is none."""
    block, pairs, gates = examined.block, examined.pairs, examined.gates
    unplanned = [arm for arm in (*block.chain, *design.pairing.own_baselines) if not block.cells.get(arm)]
    if unplanned:
        return Stop(Verdict.NOT_RUN, f"this plan has no trials of {', '.join(unplanned)} on {block.benchmark}")
    if not any(each.differences or each.failed or each.diverged or each.mismatched for each in pairs):
        return Stop(Verdict.NOT_RUN, f"no trials of {block.benchmark} are stored that could be paired")
    if block.stand_in and (stop := _stopped_by(gates)) is not None:
        return stop
    reason = block.invalid or _trouble(design, block, pairs, evidence)
    weak = fairness.weak_baseline(block, evidence, examined.baseline) or fairness.below_trivial(block, pairs, evidence)
    if reason is None and weak:
        return Stop(Verdict.WEAK_BASELINE, weak)
    reason = reason or fairness.weak_teacher(block, evidence, examined.baseline)
    return None if reason is None else Stop(Verdict.INVALID, reason)


def _stopped_by(gates: Sequence[MechanismReading]) -> Stop | None:
    for gate in gates:
        if gate.value is None:
            word = Verdict.NOT_RUN if "no results" in gate.reason else Verdict.INVALID
            return Stop(word, f"the mechanism check was not measured: {gate.reason}")
    failed = [str(gate) for gate in gates if not gate.passed]
    return Stop(Verdict.INACTIVE, "; ".join(failed)) if failed else None


def _trouble(design: ClaimDesign, block: DesignBlock, pairs: tuple[Pairs, ...], evidence: Evidence) -> str | None:
    unstable = _unstable(design, block, evidence)
    if unstable:
        return f"nondeterminism: {trials_in_words(unstable)} gave another {block.metric} when they ran again"
    diverged = sum(each.diverged for each in pairs)
    if diverged and design.pairing.on_divergence == "invalid":
        return f"{trials_in_words(diverged)} diverged, and the claim declares 'on_divergence: invalid'"
    reason = fairness.shares_for_percent(block, pairs) or too_many_failures(pairs, design.rules.tolerated_failures)
    if reason is None and not any(each.differences for each in pairs):
        return "no pair of one seed in one environment class"
    return reason or next(_constant(block, pairs), None)


def _constant(block: DesignBlock, pairs: Iterable[Pairs]) -> Iterator[str]:
    """The reason of each undeclared arm that gives one score."""
    for (upper, lower), each in zip(block.comparisons, pairs, strict=True):
        for arm, scores in ((upper, each.method), (lower, each.baseline)):
            if arm not in block.deterministic and constant(scores):
                yield one_score(block, arm, scores)


def _unstable(design: ClaimDesign, block: DesignBlock, evidence: Evidence) -> int:
    """Number of trials that gave another score when rerun; times are exempt."""
    if design.pairing.log_ratio:
        return 0
    trials = block.trials_of((*block.chain, *design.pairing.own_baselines))
    return sum(
        any(metric == block.metric and block.split in (None, split) for split, metric in evidence[trial].unstable)
        for trial in trials
        if trial in evidence
    )


def _unit(design: ClaimDesign, blocks: tuple[ExaminedBlock, ...], contrast: str) -> Unit:
    question = design.question
    standardised_by = replicated_over = None
    stopped = _unit_stop(question.k, blocks)
    if question.scope == "mean" and len(blocks) > 1:
        units = _common_unit(blocks)
        # every benchmark of a claim has the same comparisons, in one order
        compared = list(zip(*(each.pairs for each in blocks), strict=True))
        if units is None or not compared:
            lacking = "a mean over several metrics needs a 'floor' of each to bring them to one unit"
            reason = lacking if units is None else "scope mean is for differences of two arms"
            return Unit(contrast, blocks, None, None, Stop(Verdict.INVALID, reason))
        tests = tuple(_mean(design, pairs, units) for pairs in compared)
        test = tests[0] if len(tests) == 1 else Conjunction(tests, len(tests))
        if question.domains is not None:
            replicated_over = "domains"
        else:
            standardised_by = "floor" if _mixed(blocks) else "none: one unit"
    else:
        k = question.k if question.k is not None and len(blocks) > 1 else len(blocks)
        # what decides nothing is shown with the effect that was measured
        shown = stopped is not None and stopped.verdict == Verdict.INACTIVE
        tests = tuple(_test_of(design, each, inactive_too=shown) for each in blocks)
        test = tests[0] if len(tests) == 1 else Conjunction(tests, k)
    smallest = smallest_effect(design, blocks)
    reading = read(test, design.rules.alpha, smallest, margin=question.scope == "no_worse")
    return Unit(contrast, blocks, reading, smallest, stopped, standardised_by, replicated_over)


def _unit_stop(k: int | None, blocks: tuple[ExaminedBlock, ...]) -> Stop | None:
    """The stop of a whole unit: a benchmark is invalid, too few mechanisms acted, or all stop."""
    stops = [each.stopped for each in blocks if each.stopped is not None]
    if len(blocks) == 1 or not stops:
        return stops[0] if stops else None
    invalid = [stop for stop in stops if stop.verdict in (Verdict.INVALID, Verdict.WEAK_BASELINE)]
    if invalid:
        return invalid[0]
    inactive = [stop.reason for stop in stops if stop.verdict == Verdict.INACTIVE]
    if inactive and len(blocks) - len(inactive) < (k if k is not None else len(blocks)):
        return Stop(Verdict.INACTIVE, "; ".join(inactive))
    return stops[0] if len(stops) == len(blocks) else None


def _test_of(design: ClaimDesign, examined: ExaminedBlock, *, inactive_too: bool) -> Test:
    """The test of one benchmark; without evidence if it has not run, or (unless ``inactive_too``) did not act."""
    silences = (Verdict.NOT_RUN,) if inactive_too else (Verdict.INACTIVE, Verdict.NOT_RUN)
    silent = examined.stopped is not None and examined.stopped.verdict in silences
    rules, margin = design.rules, design.estimand.margin or 0.0
    no_worse = design.question.scope == "no_worse"
    tests: list[Test] = []
    for each in examined.pairs:
        values = () if silent else tuple(each.values)
        if design.pairing.ranked:
            test: Paired = SignedRanks(values)
        elif no_worse:
            test = NoWorse(values, rules.stopping, each.noise, margin)
        else:
            test = Paired(values, rules.stopping, each.noise)
        tests.append(guarded(test, [each], [1.0], margin if no_worse else 0.0, rules.sequential))
    return tests[0] if len(tests) == 1 else Conjunction(tuple(tests), len(tests))


def _mixed(blocks: tuple[ExaminedBlock, ...]) -> bool:
    return len({(each.block.unit, each.block.metric) for each in blocks}) > 1


def _common_unit(blocks: tuple[ExaminedBlock, ...]) -> tuple[float, ...] | None:
    """Divisors of each benchmark's differences before averaging; None where a floor is missing.

    Never their sd: three seeds on five benchmarks would reject a true null 24 % of the time.
    """
    floors = [each.block.floor for each in blocks]
    if not _mixed(blocks):
        return (1.0,) * len(blocks)
    return tuple(float(floor or 1.0) for floor in floors) if all(floors) else None


def _mean(design: ClaimDesign, pairs: tuple[Pairs, ...], units: tuple[float, ...]) -> Test:
    rules = design.rules
    if design.question.domains is not None:
        return _over_domains(design, pairs, units)
    parts = tuple(Paired(tuple(each.values), rules.stopping, each.noise) for each in pairs)
    mean = Mean(parts, tuple(tuple(sorted(each.differences)) for each in pairs), units)
    return guarded(mean, pairs, units, 0.0, rules.sequential)


def _over_domains(design: ClaimDesign, pairs: tuple[Pairs, ...], units: tuple[float, ...]) -> Test:
    """Nested replication: one number by domain, the mean of its seeds.

    The number of domains is fixed before results, so it is a paired t in a sequential run too, of the first
    ``seeds.min`` seeds. Where arms diverge alternately in a domain, neither wins it.
    """
    first = design.rules.seeds[0] if design.rules.sequential else None
    means, rounding = [], []
    for each, unit in zip(pairs, units, strict=True):
        kept = [value / unit for seed, value in sorted(each.differences.items()) if first is None or seed < first]
        if kept:
            mean = sum(kept) / len(kept)
            means.append(0.0 if math.isnan(mean) else mean)
            rounding.append(each.noise.least_sd / unit / math.sqrt(len(kept)))
    noise = stats.Noise(math.hypot(*rounding) / math.sqrt(len(means))) if means else stats.INDEPENDENT
    return Paired(tuple(means), noise=noise)


def smallest_effect(design: ClaimDesign, blocks: tuple[ExaminedBlock, ...]) -> float | None:
    """The SESOI in the unit of the differences; None over several units."""
    if _mixed(blocks):
        return None
    smallest = [_smallest(design, each) for each in blocks]
    existing = [value for value in smallest if value is not None]
    return min(existing) if existing and len(existing) == len(smallest) else None


def _smallest(design: ClaimDesign, examined: ExaminedBlock) -> float | None:
    block, m, delta = examined.block, design.estimand.m, design.estimand.delta
    if design.pairing.log_ratio:
        return m
    if m is not None and not design.is_stand_in:
        return m
    if design.sizeless:
        return block.smallest if block.smallest is not None else _share(block.relative_smallest, examined)
    floor = block.floor if block.floor is not None else _share(block.relative_floor, examined)
    if delta is None:
        return floor
    return max(0.2 * delta, floor or 0.0) or None


def _share(of: float | None, examined: ExaminedBlock) -> float | None:
    scores = examined.baseline
    return of * abs(sum(scores) / len(scores)) if of is not None and scores else None
