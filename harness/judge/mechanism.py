"""Mechanism checks: a claim on a stand-in is ``inactive`` where its mechanism did not act."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.judge.design import DesignBlock
from harness.judge.evidence import Evidence
from harness.suite.models import MechanismCheck

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class MechanismReading:
    """A mechanism check on one benchmark; ``value`` is None where not measured."""

    rule: MechanismCheck
    benchmark: str
    value: float | None
    passed: bool
    reason: str = ""

    @property
    def slack(self) -> float:
        """Distance on the passing side; −inf where not measured."""
        if self.value is None:
            return -math.inf
        return (self.value - self.rule.value) * (1 if self.rule.op in (">=", ">") else -1)

    def __str__(self) -> str:
        rule = self.rule
        return f"{rule.metric} of {rule.of} is {self.value:.4g} on {self.benchmark}, not {rule.op} {rule.value:g}"


Mechanism = Literal["acted", "did not act", "not measured"]


def mechanism_in_words(readings: Sequence[MechanismReading]) -> Mechanism | None:
    """``acted``, ``did not act`` or ``not measured``; None without a check."""
    if not readings:
        return None
    if any(gate.value is None for gate in readings):
        return "not measured"
    return "acted" if all(gate.passed for gate in readings) else "did not act"


def read_mechanism(rule: MechanismCheck, block: DesignBlock, evidence: Evidence) -> MechanismReading:
    """The check's metric over the seeds of its arm that are done."""
    value, reason = _mean(rule.metric, rule.arm, block, evidence)
    if value is not None and rule.relative_to is not None:
        below, reason = _mean(rule.metric, rule.relative_to, block, evidence)
        value = value / below if below else None
        reason = reason or f"{rule.metric} of {rule.relative_to} is zero"
    if value is not None and rule.minus is not None:
        less, reason = _mean(rule.metric, rule.minus, block, evidence)
        value = None if less is None else value - less
    if value is None or math.isnan(value):
        return MechanismReading(rule, block.benchmark, None, False, reason)
    return MechanismReading(rule, block.benchmark, value, _OPERATORS[rule.op](value, rule.value))


def _mean(metric: str, arm: str, block: DesignBlock, evidence: Evidence) -> tuple[float | None, str]:
    trials = [evidence[trial] for trial in block.trials_of((arm,)) if trial in evidence and evidence[trial].done]
    if not trials:
        return None, f"the arm {arm} of the mechanism check has no results on {block.benchmark}"
    values = [value for trial in trials if (value := trial.value(metric, None)) is not None]
    if not values:
        return None, f"{metric} was not logged by {arm} on {block.benchmark}"
    return sum(values) / len(values), ""
