"""The second protocol of claims: which arms choose hyper-parameters where, and the plans of arms that are changed so.

A changed arm runs under a name of its own (``adamp-tuned``, ``adamp-lr-0.01``) and is judged in the place of the arm,
so that a claim's design is the published one but for its protocol.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from harness.plan.planning import Plan, Selection, deciding_arms, make_plan
from harness.plan.tuning import Tuning, TuningRequest, make_tuning
from harness.suite import Suite
from harness.suite.cells import Setting, content
from harness.suite.models import Arm, Claim
from harness.suite.search_models import SpaceRange, Sweep, TunedOn, TunedProtocol
from harness.suite.spaces import declared, own_value, times, tuned_space, with_point
from harness.vocabulary import Protocol


class ChangedArm(NamedTuple):
    """An arm with other hyper-parameters, and the name under which it runs."""

    name: str
    arm: Arm


Changes = Mapping[str, Mapping[str, ChangedArm]]
"""benchmark → arm → what runs in its place."""


@dataclass(frozen=True, slots=True)
class EqualSearch:
    """The search of a benchmark's arms: ``budget`` configurations of each."""

    tuning: Tuning
    budget: int

    @property
    def benchmark(self) -> str:
        """Where its arms are tuned."""
        return self.tuning.benchmark

    @property
    def trials(self) -> int:
        """Trials of one arm."""
        return self.budget * self.tuning.seeds


@dataclass(frozen=True, slots=True)
class ChangedPlan:
    """Trials of changed arms: ``run`` under names of their own, ``judged`` in the places of the arms themselves."""

    run: Plan
    judged: Plan


@dataclass(frozen=True, slots=True)
class RatePlan:
    """The tuned claims' arms at ``factor`` times their own rates: by benchmark and arm, which rate that is."""

    factor: float
    rates: Mapping[str, Mapping[str, float]]
    plan: ChangedPlan


def tuned_section(suite: Suite, scale: str) -> TunedProtocol | None:
    """The suite's section; None where it has none for the scale."""
    tuned = suite.model.tuned
    return tuned if tuned is not None and scale in tuned.scales else None


def tuned_suite(suite: Suite) -> Suite:
    """The suite of the claims that are judged under the tuned protocol, a family of their own.

    A gate that compares two arms presumes that they differ in the method alone; between arms of other learning rates
    and weight decays it says nothing of the cause, and is left out.
    """
    bindings = []
    for binding in suite.tuned_claims:
        gates = [gate for gate in binding.gates if gate.arms == (gate.arm,)]
        changed = {"protocol": Protocol.TUNED.value, "mechanism": gates or None}
        bindings.append(binding.model_copy(update=changed))
    facts = {binding.id: suite.facts[binding.id] for binding in bindings}
    return replace(suite, model=suite.model.model_copy(update={"claims": bindings}), facts=facts)


def searches(suite: Suite, plan: Plan, overrides: Mapping[str, Any]) -> list[EqualSearch]:
    """The searches that a plan's tuned claims need, one a benchmark; an arm without anything to tune is left as it is.

    Raises:
        HarnessError: a search that cannot be made.
    """
    tuned = tuned_section(suite, plan.scale)
    if tuned is None:
        return []
    created = []
    for benchmark, bindings in _claims_by_benchmark(suite, plan).items():
        on = tuned.benchmarks.get(benchmark, TunedOn())
        section = _as_sweep(suite, tuned, plan.settings[benchmark], bindings, overrides)
        if section.arms:
            budget = on.budget or tuned.budget
            request = TuningRequest(benchmark, budget, tuple(section.arms), plan.scale, overrides=overrides)
            tuning = make_tuning(suite, request, section)
            if tuned.sampler == "grid":
                grids = (math.prod(len(value.choices or ()) for value in s.values()) for s in tuning.spaces.values())
                budget = min(budget, *grids)
            created.append(EqualSearch(tuning, budget))
    return created


def _claims_by_benchmark(suite: Suite, plan: Plan) -> dict[str, list[Claim]]:
    """The tuned claims of each benchmark of a plan, those whose deciding arms it all runs."""
    cells = set(plan.cells)
    claims: dict[str, list[Claim]] = {}
    for binding in suite.tuned_claims:
        for name in binding.benchmarks:
            if all((name, arm) in cells for arm in _compared(suite, binding)):
                claims.setdefault(name, []).append(binding)
    return claims


def _compared(suite: Suite, binding: Claim) -> tuple[str, ...]:
    return (*deciding_arms(suite, binding), *binding.baselines)


def _as_sweep(
    suite: Suite, tuned: TunedProtocol, base: Setting, bindings: Sequence[Claim], overrides: Mapping[str, Any]
) -> Sweep:
    """A benchmark's search as a ``sweep:`` section would have it, with the arms that have something to tune."""
    on, fill = tuned.benchmarks.get(base.benchmark, TunedOn()), base.recipe.get("slots") or {}
    metrics = suite.benchmarks[base.benchmark].model.metrics
    named = [binding.metric or suite.facts[binding.id].metric for binding in bindings]
    spaces: dict[str, dict[str, SpaceRange | None]] = {}
    arms = []
    for name in dict.fromkeys(arm for binding in bindings for arm in _compared(suite, binding)):
        arm = suite.model.arms[name]
        if space := tuned_space(tuned, name, content(base, arm, overrides)):
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
    suite: Suite, plan: Plan, chosen: Sequence[tuple[EqualSearch, Mapping[str, Any]]], overrides: Mapping[str, Any]
) -> ChangedPlan:
    """The arms of searches with the hyper-parameters that each chose, over the seeds that the plan has of them."""
    changes = {
        search.benchmark: {
            name: ChangedArm(f"{name}-tuned", with_point(arm, search.tuning.fill, params[name]))
            for name, arm in search.tuning.arms.items()
        }
        for search, params in chosen
    }
    return _changed_plan(suite, plan, changes, overrides)


def rate_plans(suite: Suite, plan: Plan, overrides: Mapping[str, Any]) -> list[RatePlan]:
    """The rate curve of a plan's tuned claims, a plan a factor; an arm without a rate stays as it is."""
    tuned = tuned_section(suite, plan.scale)
    if tuned is None:
        return []
    curve, claims = tuned.rates, _claims_by_benchmark(suite, plan)
    seeds = {name: tuned.benchmarks.get(name, TunedOn()).rate_seeds or curve.seeds for name in claims}
    plans = []
    for factor in curve.factors:
        changes: dict[str, dict[str, ChangedArm]] = {}
        rates: dict[str, dict[str, float]] = {}
        for benchmark, bindings in claims.items():
            base = plan.settings[benchmark]
            for name in dict.fromkeys(arm for binding in bindings for arm in _compared(suite, binding)):
                arm = suite.model.arms[name]
                if (own := own_value(content(base, arm, overrides), curve.key)) is not None:
                    rate = times(own, factor)
                    rates.setdefault(benchmark, {})[name] = rate
                    changed = with_point(arm, base.recipe.get("slots") or {}, {curve.key: rate})
                    label = f"{name}-{curve.key.rpartition('.')[2]}-{rate:g}"
                    changes.setdefault(benchmark, {})[name] = ChangedArm(label, changed)
        plans.append(RatePlan(factor, rates, _changed_plan(suite, plan, changes, overrides, seeds)))
    return plans


def _changed_plan(
    suite: Suite, plan: Plan, changes: Changes, overrides: Mapping[str, Any], seeds: Mapping[str, int] | None = None
) -> ChangedPlan:
    """The trials of changed arms over the seeds that the plan has of the arms, or the first ``seeds`` on a benchmark.

    What is judged has the plan's own trials of all other arms.
    """
    run = replace(plan, trials=(), links=())
    links = [link for link in plan.links if link.arm not in changes.get(link.benchmark, {})]
    for benchmark, arms in changes.items():
        at = {name: sorted(plan.trial_ids(benchmark, name)) for name in arms}
        first = {name: tuple(value if seeds is None else value[: seeds[benchmark]]) for name, value in at.items()}
        wanted = Selection(
            scale=plan.scale,
            benchmarks=(benchmark,),
            arms=(),
            seeds=(),
            overrides=overrides,
            bought={(benchmark, changed.name): first[name] for name, changed in arms.items()},
            added_arms=dict(arms.values()),
        )
        part = make_plan(suite, wanted)
        run = together(run, part)
        place = {changed.name: name for name, changed in arms.items()}
        links += [replace(link, arm=place[link.arm]) for link in part.links]
    return ChangedPlan(run, replace(together(plan, run), links=tuple(links)))


def together(plan: Plan, other: Plan) -> Plan:
    """The trials and links of two plans of one suite and scale; a trial of both is one."""
    trials = {trial.trial_id: trial for trial in (*plan.trials, *other.trials)}
    return replace(plan, trials=tuple(trials.values()), links=(*plan.links, *other.links))
