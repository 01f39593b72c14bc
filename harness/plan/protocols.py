"""The tuned protocol of claims: searches of arms, and the plans of arms with the chosen hyper-parameters.

A changed arm runs under its own name (``adamp-tuned``, ``adamp-lr-0.01``) and is judged in the place of the arm, so
that a claim's design is the published one but for its protocol.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness.data.checksums import sha256_of
from harness.plan.planning import Plan, Selection, deciding_arms, make_plan
from harness.plan.tuning import Tuning, TuningRequest, make_tuning
from harness.suite import Suite
from harness.suite.cells import content
from harness.suite.models import Arm, Claim
from harness.suite.search_models import SpaceRange, Sweep, TunedOn, TunedProtocol
from harness.suite.spaces import Space, declared, ends, own_value, times, tuned_space, with_point
from harness.trial.options import Scalar, Values
from harness.vocabulary import Protocol


class ChangedArm(NamedTuple):
    """An arm with other hyper-parameters, and the name under which it runs."""

    name: str
    arm: Arm


ChosenPoints = Mapping[str, Mapping[str, Scalar]]
"""arm → hyper-parameter → the value that its search chose."""


MOST_EXTENSIONS = 2
"""Extensions of a grid in one search."""


class ArmChanges(NamedTuple):
    """The replacements of a benchmark's arms and their seeds."""

    benchmark: str
    arms: Mapping[str, ChangedArm]
    seeds: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class EqualSearch:
    """The search of a benchmark's arms: ``budget`` configurations of each."""

    tuning: Tuning
    budget: int

    @property
    def benchmark(self) -> str:
        return self.tuning.benchmark

    @property
    def trials(self) -> int:
        """Trials of one arm."""
        return self.budget * self.tuning.seeds


@dataclass(frozen=True, slots=True)
class ChangedPlan:
    """Trials of changed arms, in ``judged`` in the places of the arms."""

    run: Plan
    judged: Plan


@dataclass(frozen=True, slots=True)
class RatePlan:
    """The tuned claims' arms at ``factor`` times their own rates."""

    factor: float
    rates: Mapping[str, Mapping[str, float]]
    plan: ChangedPlan


def tuned_section(suite: Suite, scale: str) -> TunedProtocol | None:
    """The suite's section for the scale, or None."""
    tuned = suite.model.tuned
    return tuned if tuned is not None and scale in tuned.scales else None


def tuned_suite(suite: Suite) -> Suite:
    """The suite of tuned claims; arms with different rates have no mechanism check between them."""
    bindings = []
    for binding in suite.tuned_claims:
        gates = [gate for gate in binding.gates if gate.arms == (gate.arm,)]
        changed = {"protocol": Protocol.TUNED.value, "mechanism": gates or None}
        bindings.append(binding.model_copy(update=changed))
    facts = {binding.id: suite.facts[binding.id] for binding in bindings}
    return replace(suite, model=suite.model.model_copy(update={"claims": bindings}), facts=facts)


def searches(suite: Suite, plan: Plan) -> list[EqualSearch]:
    """The searches for a plan's tuned claims; those of a benchmark differ in their seeds."""
    tuned = tuned_section(suite, plan.scale)
    if tuned is None:
        return []
    result = []
    for benchmark, bindings in _claims_by_benchmark(suite, plan).items():
        on = tuned.benchmarks.get(benchmark, TunedOn())
        section = _as_sweep(suite, plan, tuned, benchmark, bindings)
        if section.arms:
            budget = on.budget or tuned.budget
            request = TuningRequest(benchmark, budget, tuple(section.arms), plan.scale, overrides=plan.overrides)
            tunings = [make_tuning(suite, request, section, number) for number in range(tuned.searches)]
            if tuned.sampler == "grid":
                budget = min(budget, *(grid_size(space) for space in tunings[0].spaces.values()))
            result += [EqualSearch(tuning, budget) for tuning in tunings]
    return result


def extended(search: EqualSearch, spaces: Mapping[str, Space], chosen: ChosenPoints) -> EqualSearch | None:
    """The extension of a grid at a chosen end: one factor more, for all arms.

    ``spaces`` are those tried so far. None: no choice is at an end that all arms can extend.
    """
    tuning = search.tuning
    at_end = [end for arm, params in chosen.items() for end in ends(spaces[arm], params).items()]
    for key, end in at_end if tuning.sampler == "grid" else ():
        beyond = {arm: _beyond(space, key, end) for arm, space in spaces.items()}
        values = {arm: value for arm, value in beyond.items() if value is not None}
        if len(values) == len(spaces):
            layer = {arm: {**spaces[arm], key: SpaceRange(choices=[value])} for arm, value in values.items()}
            tried = max(len(space[key].choices or ()) for space in tuning.spaces.values())
            budget = min(-(-search.budget // tried), *map(grid_size, layer.values()))
            first = {arm: Values({**own, key: values[arm]}) for arm, own in tuning.first.items()}
            name = sha256_of([tuning.sweep_id, key, values])[:16]
            return EqualSearch(replace(tuning, spaces=layer, first=first, sweep_id=name), budget)
    return None


def _beyond(space: Space, key: str, end: str) -> float | None:
    """The value one factor beyond an end of a grid; None without positive numbers."""
    choices = space[key].choices if key in space else None
    numbers = [float(value) for value in choices or () if isinstance(value, int | float) and value > 0]
    if choices is None or len(numbers) != len(choices) or len(numbers) < 3:
        return None
    ordered = sorted(numbers, reverse=end == "least")
    return times(ordered[-1], ordered[-1] / ordered[-2])


def grid_size(space: Space) -> int:
    """Number of configurations of a grid."""
    return math.prod(len(value.choices or ()) for value in space.values())


def _claims_by_benchmark(suite: Suite, plan: Plan) -> dict[str, list[Claim]]:
    """Tuned claims of each benchmark whose arms the plan runs."""
    cells = set(plan.cells)
    claims: dict[str, list[Claim]] = {}
    for binding in suite.tuned_claims:
        for name in binding.benchmarks:
            if all((name, arm) in cells for arm in _compared(suite, binding)):
                claims.setdefault(name, []).append(binding)
    return claims


def _compared(suite: Suite, binding: Claim) -> tuple[str, ...]:
    return (*deciding_arms(suite, binding), *binding.baselines)


def _as_sweep(suite: Suite, plan: Plan, tuned: TunedProtocol, benchmark: str, bindings: Sequence[Claim]) -> Sweep:
    """A benchmark's search as a ``sweep:`` section."""
    base, on = plan.settings[benchmark], tuned.benchmarks.get(benchmark, TunedOn())
    fill, metrics = Values(base.recipe.get("slots") or {}), suite.benchmarks[benchmark].model.metrics
    named = [binding.metric or suite.facts[binding.id].metric for binding in bindings]
    spaces: dict[str, dict[str, SpaceRange | None]] = {}
    arms = []
    for name in dict.fromkeys(arm for binding in bindings for arm in _compared(suite, binding)):
        arm = suite.model.arms[name]
        if space := tuned_space(tuned, name, content(base, arm, plan.overrides)):
            # what its methods declare beside these keys is not tuned
            spaces[name] = {**dict.fromkeys(declared(arm, fill)), **space}
            arms.append(name)
    return Sweep(
        arms=arms,
        sampler=tuned.sampler,
        seeds=on.seeds or tuned.seeds,
        spaces=spaces,
        metric=next((metric for metric in named if metric in metrics), None),
        selection_metric=on.selection_metric,
        selection_better=on.selection_better,
    )


def tuned_plan(
    suite: Suite, plan: Plan, chosen: Sequence[tuple[EqualSearch, Mapping[str, Mapping[str, Scalar]]]]
) -> ChangedPlan:
    """The arms of searches with their chosen hyper-parameters; every search has its own judged seeds.

    The choices of a search without a verdict are judged over the plan's seeds.
    """
    tuned = tuned_section(suite, plan.scale)
    changes = []
    for search, params in chosen:
        tuning, where = search.tuning, search.benchmark
        label = "tuned" if tuning.number == 0 else f"tuned-{tuning.number + 1}"
        arms = {
            name: ChangedArm(f"{name}-{label}", with_point(arm, tuning.fill, params[name]))
            for name, arm in tuning.arms.items()
        }
        if tuned is None or not tuned.decides:
            seeds: dict[str, Sequence[int]] = {name: sorted(plan.trial_ids(where, name)) for name in arms}
        else:
            untuned = {arm for claim in _claims_by_benchmark(suite, plan)[where] for arm in _compared(suite, claim)}
            arms |= {name: ChangedArm(name, suite.model.arms[name]) for name in sorted(untuned - arms.keys())}
            seeds = dict.fromkeys(arms, tuned.judged_seeds(tuning.number))
        changes.append(ArmChanges(where, arms, seeds))
    return _changed_plan(suite, plan, changes)


def rate_plans(suite: Suite, plan: Plan) -> list[RatePlan]:
    """Plans of the learning-rate sensitivity of tuned claims, one a factor."""
    tuned = tuned_section(suite, plan.scale)
    if tuned is None:
        return []
    curve, claims = tuned.rates, _claims_by_benchmark(suite, plan)
    seeds = {name: tuned.benchmarks.get(name, TunedOn()).rate_seeds or curve.seeds for name in claims}
    plans = []
    for factor in curve.factors:
        changes = []
        rates: dict[str, dict[str, float]] = {}
        for benchmark, bindings in claims.items():
            base, arms = plan.settings[benchmark], dict[str, ChangedArm]()
            for name in dict.fromkeys(arm for binding in bindings for arm in _compared(suite, binding)):
                arm = suite.model.arms[name]
                if (own := own_value(content(base, arm, plan.overrides), curve.key)) is not None:
                    rate = times(own, factor)
                    rates.setdefault(benchmark, {})[name] = rate
                    changed = with_point(arm, Values(base.recipe.get("slots") or {}), {curve.key: rate})
                    label = f"{name}-{curve.key.rpartition('.')[2]}-{rate:g}"
                    arms[name] = ChangedArm(label, changed)
            first = {name: sorted(plan.trial_ids(benchmark, name))[: seeds[benchmark]] for name in arms}
            changes.append(ArmChanges(benchmark, arms, first))
        plans.append(RatePlan(factor, rates, _changed_plan(suite, plan, changes)))
    return plans


def _changed_plan(suite: Suite, plan: Plan, changes: Sequence[ArmChanges]) -> ChangedPlan:
    """The trials of changed arms, at their seeds."""
    run = replace(plan, trials=(), links=())
    places = {(each.benchmark, name) for each in changes for name in each.arms}
    links = [link for link in plan.links if (link.benchmark, link.arm) not in places]
    for benchmark, arms, seeds in changes:
        wanted = Selection(
            scale=plan.scale,
            benchmarks=(benchmark,),
            arms=(),
            seeds=(),
            overrides=plan.overrides,
            bought={(benchmark, changed.name): tuple(seeds[name]) for name, changed in arms.items()},
            added_arms=dict(arms.values()),
        )
        part = make_plan(suite, wanted)
        run = together(run, part)
        place = {changed.name: name for name, changed in arms.items()}
        links += [replace(link, arm=place[link.arm]) for link in part.links]
    return ChangedPlan(run, replace(together(plan, run), links=tuple(links)))


def together(plan: Plan, other: Plan) -> Plan:
    """Two plans of one suite and scale as one."""
    trials = {trial.trial_id: trial for trial in (*plan.trials, *other.trials)}
    return replace(plan, trials=tuple(trials.values()), links=(*plan.links, *other.links))
