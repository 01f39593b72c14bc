"""Checks the bindings of a suite's claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.errors import Problem, choices
from harness.registry.shipped import check_names
from harness.suite.cells import setting
from harness.suite.load import Suite
from harness.suite.models import REPORTED, Binding
from harness.vocabulary import WRITTEN_SCALES

MAX_PRIMARY = 5


def check_claims(suite: Suite) -> Iterator[Problem]:
    """Every claim of the paper is bound once or unbound with a reason, to what exists and runs."""
    seen: dict[str, int] = {}
    primary: dict[tuple[Any, ...], int] = {}
    for number, binding in enumerate(suite.model.claims):
        path = ("claims", number)
        if binding.id in seen:
            yield Problem(suite.node.find((*path, "id")), f"the claim '{binding.id}' is bound twice")
        seen[binding.id] = number
        if binding.id not in suite.facts:
            yield Problem(
                suite.node.find((*path, "id")), f"no claim '{binding.id}'; {choices(suite.facts, binding.id)}"
            )
        yield from _binding(suite, number, binding)
        if binding.primary:
            primary.setdefault((tuple(binding.benchmarks), binding.arm, tuple(binding.against[:1])), number)
    for claim in suite.facts:
        if claim not in seen:
            yield Problem(
                suite.node.find(("claims",)), f"the claim '{claim}' is neither bound nor unbound with a reason"
            )
    if len(primary) > MAX_PRIMARY:
        last = list(primary.values())[MAX_PRIMARY]
        problem = f"{len(primary)} primary contrasts; at most {MAX_PRIMARY} (Holm inside them)"
        yield Problem(suite.node.find(("claims", last, "primary")), problem)


def _binding(suite: Suite, number: int, binding: Binding) -> Iterator[Problem]:
    path = ("claims", number)
    for name in binding.benchmarks:
        if name not in suite.benchmarks:
            place = suite.node.find((*path, "benchmarks"))
            yield Problem(place, f"no benchmark '{name}' in this suite; {choices(suite.benchmarks, name)}")
    named = [("arm", binding.arm), *(("against", arm) for arm in binding.against)]
    named += [("baselines", arm) for arm in binding.baselines]
    named += [("mechanism", arm) for gate in binding.gates for arm in gate.arms]
    for key, arm in named:
        if arm is not None and arm not in suite.model.arms:
            yield Problem(suite.node.find((*path, key)), suite.no_arm(arm))
    yield from _runs(suite, number, binding, [arm for key, arm in named if arm and key != "against"])
    yield from _metric(suite, number, binding)
    yield from _order(suite, number, binding)
    if binding.check is not None and binding.check != REPORTED:
        known = check_names(suite.name)
        if binding.check not in known:
            problem = f"no check '{binding.check}' in suites.checks.{suite.name}; {choices(known, binding.check)}"
            yield Problem(suite.node.find((*path, "check")), problem)


def _runs(suite: Suite, number: int, binding: Binding, needed: list[str]) -> Iterator[Problem]:
    """The arms that decide a claim run on its benchmarks, at some scale at least."""
    decides = [*needed, *binding.against[:1]]
    for name in binding.benchmarks:
        if name not in suite.benchmarks:
            continue
        listed = [base.arms for scale in WRITTEN_SCALES if (base := setting(suite, name, scale))]
        for arm in dict.fromkeys(decides):
            if listed and not any(arms is None or arm in arms for arms in listed) and arm in suite.model.arms:
                problem = f"the claim is decided by arm '{arm}', which benchmark '{name}' does not list in 'arms:'"
                yield Problem(suite.node.find(("claims", number)), problem)


def _metric(suite: Suite, number: int, binding: Binding) -> Iterator[Problem]:
    fact = suite.facts.get(binding.id)
    for name in binding.benchmarks:
        known = suite.benchmarks[name].model.metrics if name in suite.benchmarks else {}
        metric = binding.metric or (fact.metric if fact is not None and len(binding.benchmarks) == 1 else None)
        if known and metric is not None and metric not in known and not metric.startswith("mechanism."):
            where = "metric" if binding.metric is not None else "id"
            problem = f"benchmark '{name}' has no metric '{metric}'; {choices(known, metric)}"
            yield Problem(suite.node.find(("claims", number, where)), problem)


def _order(suite: Suite, number: int, binding: Binding) -> Iterator[Problem]:
    """A chain and "best of all" are different claims: neither may be taken in silence."""
    fact = suite.facts.get(binding.id)
    if fact is None or fact.kind != "ordering" or len(binding.against) < 2 or binding.order is not None:
        return
    problem = f"the ordering '{binding.id}' has {len(binding.against)} arms in 'against:' and no 'order:'"
    cure = "say 'chain' (arm > first > second …) or 'best' (arm above each)"
    yield Problem(suite.node.find(("claims", number, "against")), f"{problem}; {cure}")
