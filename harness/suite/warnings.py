"""Warnings of a suite: valid, but probably not intended."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import registry
from harness.errors import Problem
from harness.suite.cells import Setting, content, setting, shared_values
from harness.suite.load import Suite
from harness.suite.models import Arm
from harness.suite.spaces import tuned_space
from harness.vocabulary import WRITTEN_SCALES


@dataclass(frozen=True, slots=True)
class UntunedArm:
    """An arm at a default that the recipe tunes for another arm.

    Attributes:
        setting: the key of the recipe: ``optimizer.adam.lr``.
    """

    benchmark: str
    scale: str
    arm: str
    method: str
    hyper_parameter: str
    default: Any
    tuned_arm: str
    setting: str

    @property
    def message(self) -> str:
        return (
            f"on benchmark '{self.benchmark}' the recipe's {self.setting} tunes '{self.tuned_arm}', but '{self.arm}' "
            f"keeps the default {self.hyper_parameter} of {self.method} ({self.default})"
        )


def warnings_of(suite: Suite) -> list[Problem]:
    """Unused configurations and arms, unequal tuning, percentages that look like shares."""
    scales: dict[tuple[str, str], list[str]] = {}
    for scale in WRITTEN_SCALES:
        for untuned in untuned_arms(suite, scale):
            scales.setdefault((untuned.arm, untuned.message), []).append(scale)
    untuned_at = [(suite.place("arms", arm), f"{text} at {', '.join(at)}") for (arm, text), at in scales.items()]
    return [*_idle(suite), *_shares(suite), *_unequal_spaces(suite), *(Problem(*warning) for warning in untuned_at)]


LEAST_PERCENT = 0.1
"""A difference in percent below it is seldom printed, and seldom meant."""


def _shares(suite: Suite) -> Iterator[Problem]:
    """Claims in percent, 0 to 100, with numbers that look like shares."""
    for number, binding in enumerate(suite.model.claims):
        fact = suite.facts.get(binding.id)
        if fact is None or fact.unit.lower() != "percent" or binding.unbound is not None:
            continue
        place, p = suite.node.find(("claims", number, "id")), fact.published
        printed = [value for value in (p.method, p.baseline) if value is not None]
        if printed and all(0 < abs(value) <= 1 for value in printed):
            numbers = " and ".join(f"{value:g}" for value in printed)
            message = f"claim '{fact.id}' is in percent (0 to 100), and its published numbers {numbers} lie in [0, 1]"
            yield Problem(place, message)
        difference = None if printed else fact.effect
        for name, value in (("difference", difference), ("m", binding.m), ("margin", binding.margin)):
            if value is not None and 0 < abs(value) < LEAST_PERCENT:
                message = f"{name} {value:g} of claim '{fact.id}' is less than {LEAST_PERCENT:g} percent (0 to 100)"
                yield Problem(place, message)


def _unequal_spaces(suite: Suite) -> Iterator[Problem]:
    """Tuned claims whose arms have different spaces at equal budgets."""
    tuned = suite.model.tuned
    if tuned is None:
        return
    for binding in suite.tuned_claims:
        arms = (str(binding.arm), *binding.deciding(suite.facts[binding.id].kind))
        settings = (setting(suite, name, scale) for name in binding.benchmarks for scale in tuned.scales)
        for base in filter(None, settings):
            first, *others = (tuned_space(tuned, arm, content(base, suite.model.arms[arm])) for arm in arms)
            for arm, space in zip(arms[1:], others, strict=True):
                differing = sorted(key for key in first.keys() | space if first.get(key) != space.get(key))
                if differing:
                    where = f"{arms[0]} and {arm} on {base.benchmark} in {', '.join(differing)}"
                    message = f"the tuned claim '{binding.id}' compares arms with different spaces: {where}"
                    yield Problem(suite.node.find(("tuned",)), message)


def _idle(suite: Suite) -> Iterator[Problem]:
    arms = suite.model.arms
    serving: set[tuple[str, str]] = set()
    for binding in suite.model.claims:
        gated = (arm for gate in binding.gates for arm in gate.arms)
        named = {binding.arm, *binding.against, *binding.shown, *binding.baselines, *gated}
        serving.update((name, arm) for name in binding.benchmarks for arm in named if arm is not None)
    used: set[str] = set()
    for name in suite.benchmarks:
        settings = (setting(suite, name, scale) for scale in WRITTEN_SCALES)
        running = {arm for base in settings if base is not None for arm in base.runs(arms)}
        used |= running
        for arm in sorted(running):
            if (name, arm) not in serving and arms[arm].role != "ablation":
                place = suite.node.find(("benchmarks", name))
                yield Problem(place, f"the configuration {name}/{arm} serves no claim and no ablation")
    for arm in arms:
        if arm not in used:
            yield Problem(suite.place("arms", arm), f"no benchmark uses the arm '{arm}'")


def untuned_arms(suite: Suite, scale: str) -> list[UntunedArm]:
    """Arms at their optimizer's defaults while the recipe tunes another arm's.

    A number (the learning rate, the weight decay) is tuned where the recipe gives it for the family or the method of
    some arm's optimizer. An arm whose optimizer has a number of that name, to which neither the recipe nor the arm
    gives a value, is untuned. In other slots one name means different things in different methods, and ablations are
    what they are.
    """
    settings = (setting(suite, name, scale) for name in suite.benchmarks)
    return [result for base in settings if base is not None for result in _untuned_on(suite, base)]


def _untuned_on(suite: Suite, base: Setting) -> Iterator[UntunedArm]:
    arms = {name: suite.model.arms[name] for name in base.runs(suite.model.arms)}
    trained = ((name, _optimizer(base, arm)) for name, arm in arms.items() if arm.role != "ablation")
    optimizers = {name: optimizer for name, optimizer in trained if optimizer is not None}
    tuned: dict[str, tuple[str, str]] = {}  # hyper-parameter → an arm that is tuned, and what the recipe says
    for name, (method, _) in optimizers.items():
        for group, values in shared_values(base.recipe, "optimizer", method).items():
            for key in values:
                tuned.setdefault(key, (name, f"optimizer.{group}.{key}"))
    for name, (method, value) in optimizers.items():
        for key in sorted((tuned.keys() & method.options.keys()) - value):
            declared, (other, where) = method.options[key], tuned[key]
            if declared.type in ("int", "float") and not declared.required:
                yield UntunedArm(base.benchmark, base.scale, name, method.name, key, declared.default, other, where)


def _optimizer(base: Setting, arm: Arm) -> tuple[registry.Entry[Any], set[str]] | None:
    """An arm's optimizer with the hyper-parameters that recipe and arm set; None without one."""
    recipe = base.overridden(arm.set).recipe
    value = arm.optimizer if arm.optimizer is not None else recipe.get("slots", {}).get("optimizer")
    if value is None:
        return None
    own = {"name": value} if isinstance(value, str) else value
    method = registry.entry("method", own["name"])
    return method, set(own).union(*shared_values(recipe, "optimizer", method).values())
