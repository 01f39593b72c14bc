"""From a frame and the stored trials to tests: one unit for each thing that gets a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from harness.judge import fairness
from harness.judge.evidence import Evidence, Pairs, pair
from harness.judge.frame import Block, Frame
from harness.judge.gates import GateReading, read_gate
from harness.judge.scopes import Conjunction, Mean, NoWorse, Paired, Test
from harness.judge.verdicts import Reading, read


@dataclass(frozen=True, slots=True)
class BlockFound:
    """One benchmark: the pairs of each comparison, gates, and why it gets no test, if so."""

    block: Block
    pairs: tuple[Pairs, ...]
    gates: tuple[GateReading, ...]
    stopped: tuple[str, str] | None
    baseline: tuple[float, ...] = ()

    @property
    def active(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True)
class Unit:
    """What gets one verdict: a benchmark under scope ``each``, else all of the claim's benchmarks together."""

    contrast: str
    blocks: tuple[BlockFound, ...]
    test: Test | None
    reading: Reading | None
    smallest: float | None
    stopped: tuple[str, str] | None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def p(self) -> float | None:
        """For the family's correction; None where there is no test."""
        return None if self.reading is None or self.stopped is not None else self.reading.p


def examine(frame: Frame, evidence: Evidence) -> list[Unit]:
    """Every unit of a frame that is to be judged from trials."""
    found = [_block(frame, block, evidence) for block in frame.blocks]
    if frame.scope == "each" or len(found) == 1:
        return [_unit(frame, (one,), one.block.contrast) for one in found]
    return [_unit(frame, tuple(found), frame.contrast)]


def _block(frame: Frame, block: Block, evidence: Evidence) -> BlockFound:
    gates = tuple(read_gate(rule, block, evidence) for rule in frame.gates)
    pairs = tuple(pair(frame, block, upper, lower, evidence) for upper, lower in block.pairs)
    baseline = tuple(pairs[0].baseline.values()) if pairs else ()
    return BlockFound(block, pairs, gates, _stopped(frame, block, pairs, gates, evidence), baseline)


def _stopped(
    frame: Frame, block: Block, pairs: tuple[Pairs, ...], gates: tuple[GateReading, ...], evidence: Evidence
) -> tuple[str, str] | None:
    """Why a benchmark gets no test: nothing ran, the gate, divergence, failures, unequal arms, a weak baseline."""
    unplanned = [arm for arm in (*block.chain, *frame.own_baselines) if not block.cells.get(arm)]
    if unplanned:
        return "not run", f"this plan has no trials of {', '.join(unplanned)} on {block.benchmark}"
    if not any(one.differences or one.failed or one.diverged or one.mismatched for one in pairs):
        return "not run", f"no trials of {block.benchmark} are stored that could be paired"
    for gate in gates:
        if gate.value is None:
            return "not run" if "no results" in gate.reason else "invalid", f"the gate was not measured: {gate.reason}"
    if any(not gate.passed for gate in gates):
        return "inactive", "; ".join(_gate_text(gate) for gate in gates if not gate.passed)
    if block.invalid is not None:
        return "invalid", block.invalid
    unstable = _unstable(frame, block, evidence)
    if unstable:
        return "invalid", f"nondeterminism: {unstable} trials gave another {block.metric} when they ran again"
    failed, diverged, planned = (sum(getattr(one, name) for one in pairs) for name in ("failed", "diverged", "planned"))
    if diverged and frame.on_divergence == "invalid":
        return "invalid", f"{diverged} trials diverged, and the claim declares 'on_divergence: invalid'"
    if failed and failed > frame.tolerated_failures * planned:
        return "invalid", f"{failed} of {planned} trials failed; {frame.tolerated_failures:.0%} are tolerated"
    if not any(one.differences for one in pairs):
        return "invalid", "no pair of one seed in one environment class"
    scores = list(pairs[0].baseline.values())
    weak = fairness.weak_baseline(block, scores) or fairness.weak_teacher(block, evidence, scores)
    return None if weak is None else ("invalid", weak)


def _unstable(frame: Frame, block: Block, evidence: Evidence) -> int:
    """Trials of the compared arms whose number is not a function of their content; times never are."""
    if frame.log_ratio:
        return 0
    arms = (*block.chain, *frame.own_baselines)
    found = [evidence[trial] for arm in arms for trial in block.cells.get(arm, {}).values() if trial in evidence]
    return sum(
        any(metric == block.metric and block.split in (None, split) for split, metric in one.unstable) for one in found
    )


def _gate_text(gate: GateReading) -> str:
    rule = gate.rule
    return f"{rule.metric} of {rule.of} is {gate.value:.4g} on {gate.benchmark}, not {rule.op} {rule.value:g}"


def _unit(frame: Frame, blocks: tuple[BlockFound, ...], contrast: str) -> Unit:
    stopped = _unit_stopped(frame, blocks)
    if frame.scope == "mean" and len(blocks) > 1:
        test, extra = _mean(frame, blocks)
    else:
        k = frame.k if frame.k is not None and len(blocks) > 1 else len(blocks)
        tests = [_test_of(frame, one) for one in blocks]
        test, extra = (tests[0] if len(tests) == 1 else Conjunction(tuple(tests), k)), {}
    if test is None:
        return Unit(contrast, blocks, None, None, None, ("invalid", extra["reason"]), extra)
    reading = read(test, frame.alpha, frame.scope == "no_worse")
    return Unit(contrast, blocks, test, reading, smallest_effect(frame, blocks), stopped, extra)


def _unit_stopped(frame: Frame, blocks: tuple[BlockFound, ...]) -> tuple[str, str] | None:
    """A unit of several benchmarks stops where all of them do, where one is invalid, or where gates fail.

    A benchmark that has not run counts as one without evidence.
    """
    reasons = [one.stopped for one in blocks if one.stopped is not None]
    if len(blocks) == 1 or not reasons:
        return reasons[0] if reasons else None
    for word, reason in reasons:
        if word == "invalid":
            return word, reason
    inactive = [reason for word, reason in reasons if word == "inactive"]
    needed = frame.k if frame.k is not None else len(blocks)
    if inactive and len(blocks) - len(inactive) < needed:
        return "inactive", "; ".join(inactive)
    if len(reasons) == len(blocks):
        return reasons[0]
    return None


def _test_of(frame: Frame, found: BlockFound) -> Test:
    """The test of one benchmark: that of its only comparison, or that all of them hold."""
    silent = found.stopped is not None and found.stopped[0] in ("inactive", "not run")
    tests: list[Test] = []
    for one in found.pairs:
        paired = Paired(() if silent else tuple(one.values), frame.sequential, frame.g)
        tests.append(NoWorse(paired, frame.margin or 0.0) if frame.scope == "no_worse" else paired)
    return tests[0] if len(tests) == 1 else Conjunction(tuple(tests), len(tests))


def _mean(frame: Frame, blocks: tuple[BlockFound, ...]) -> tuple[Test | None, dict[str, Any]]:
    """The mean over benchmarks of one comparison, or that the means of all comparisons hold.

    Differences in one unit enter as they are; those in several units divided by each metric's floor, never by their
    own sd: three seeds on five benchmarks would reject a true null 24 % of the time.
    """
    mixed = len({(one.block.unit, one.block.metric) for one in blocks}) > 1
    floors = [one.block.floor for one in blocks]
    if mixed and not all(floors):
        return None, {"reason": "a mean over several metrics needs a 'floor' of each to bring them to one unit"}
    units = tuple(float(floor or 1.0) if mixed else 1.0 for floor in floors)
    # Every benchmark of a claim has the same comparisons, in one order.
    compared = [_mean_of(frame, found, units) for found in zip(*(one.pairs for one in blocks), strict=True)]
    if not compared:
        return None, {"reason": "scope mean is for differences of two arms"}
    test = compared[0] if len(compared) == 1 else Conjunction(tuple(compared), len(compared))
    if frame.domains is not None:
        return test, {"replication": "domains"}
    return test, {"standardised_by": "floor" if mixed else "none: one unit"}


def _mean_of(frame: Frame, found: tuple[Pairs, ...], units: tuple[float, ...]) -> Test:
    """One comparison's test over its benchmarks."""
    if frame.domains is not None:
        return _over_domains(frame, found, units)
    parts = tuple(Paired(tuple(one.values), frame.sequential, frame.g) for one in found)
    return Mean(parts, tuple(tuple(sorted(one.differences)) for one in found), units)


def _over_domains(frame: Frame, found: tuple[Pairs, ...], units: tuple[float, ...]) -> Test:
    """Nested replication: one number a domain, the mean of its seeds; more seeds never make more domains.

    The number of domains is fixed before results, so it is a paired t in a sequential run too, there of the first
    ``seeds.min`` seeds: seeds bought because of what was seen do not enter. Where arms diverge alternately in a
    domain, neither wins it.
    """
    first = frame.seeds[0] if frame.sequential else None
    means = []
    for one, unit in zip(found, units, strict=True):
        kept = [value / unit for seed, value in sorted(one.differences.items()) if first is None or seed < first]
        if kept:
            mean = sum(kept) / len(kept)
            means.append(0.0 if math.isnan(mean) else mean)
    return Paired(tuple(means), False, frame.g)


def smallest_effect(frame: Frame, blocks: tuple[BlockFound, ...]) -> float | None:
    """m: the smallest effect of interest, in the unit of the differences; None over benchmarks of several units."""
    if len({(one.block.metric, one.block.unit) for one in blocks}) > 1:
        return None
    found = [_smallest(frame, one) for one in blocks]
    known = [value for value in found if value is not None]
    return min(known) if known and len(known) == len(found) else None


def _smallest(frame: Frame, found: BlockFound) -> float | None:
    block = found.block
    if frame.log_ratio:
        return frame.m
    if frame.is_stand_in:
        if block.smallest is not None:
            return block.smallest
        spread = _sd(found.baseline)
        return frame.stand_in_smallest_sd * spread if spread else None
    if frame.m is not None or block.smallest is not None:
        return frame.m if frame.m is not None else block.smallest
    floor = block.floor
    if floor is None and block.relative_floor is not None and found.baseline:
        floor = block.relative_floor * abs(sum(found.baseline) / len(found.baseline))
    if frame.delta is None:
        return floor
    return max(0.2 * frame.delta, floor or 0.0) or None


def _sd(values: tuple[float, ...]) -> float | None:
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
