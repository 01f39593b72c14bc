"""Checks the bindings of a suite's claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.errors import Problem
from harness.registry.shipped import check_module, check_names
from harness.suite.cells import setting
from harness.suite.load import Suite, absent
from harness.suite.models import REPORTED, Binding
from harness.suite.yamlfile import Path_
from harness.vocabulary import WRITTEN_SCALES

MAX_PRIMARY = 5


def check_claims(suite: Suite) -> Iterator[Problem]:
    """Every claim of the paper is bound once or unbound with a reason, to what exists and runs."""
    seen: set[str] = set()
    primary: dict[tuple[Any, ...], int] = {}
    for number, binding in enumerate(suite.model.claims):
        path = ("claims", number)
        if binding.id in seen:
            yield Problem(suite.node.find((*path, "id")), f"the claim '{binding.id}' is bound twice")
        seen.add(binding.id)
        yield from absent(suite.node, (*path, "id"), "no claim", [binding.id], suite.facts)
        yield from _binding(suite, path, binding)
        if binding.primary:
            primary.setdefault((tuple(binding.benchmarks), binding.arm, tuple(binding.against[:1])), number)
    for claim in suite.facts:
        if claim not in seen:
            message = f"the claim '{claim}' is neither bound nor unbound with a reason"
            yield Problem(suite.node.find(("claims",)), message)
    if len(primary) > MAX_PRIMARY:
        last = list(primary.values())[MAX_PRIMARY]
        problem = f"{len(primary)} primary contrasts; at most {MAX_PRIMARY} (Holm inside them)"
        yield Problem(suite.node.find(("claims", last, "primary")), problem)


def _binding(suite: Suite, path: Path_, binding: Binding) -> Iterator[Problem]:
    yield from absent(suite.node, (*path, "benchmarks"), "no benchmark", binding.benchmarks, suite.benchmarks)
    gated = [arm for gate in binding.gates for arm in gate.arms]
    named = {"against": binding.against, "baselines": binding.baselines, "mechanism": gated}
    yield from absent(suite.node, (*path, "arm"), "no arm", [binding.arm], suite.model.arms)
    for key, arms in named.items():
        yield from absent(suite.node, (*path, key), "no arm", arms, suite.model.arms)
    yield from _runs(suite, path, binding, [binding.arm, *binding.baselines, *gated, *binding.against[:1]])
    yield from _metric(suite, path, binding)
    yield from _order(suite, path, binding)
    if binding.check is not None and binding.check != REPORTED:
        known, what = check_names(suite.name), f"{check_module(suite.name)} has no check"
        yield from absent(suite.node, (*path, "check"), what, [binding.check], known)


def _runs(suite: Suite, path: Path_, binding: Binding, deciding: Sequence[str | None]) -> Iterator[Problem]:
    """The arms that decide a claim run on its benchmarks, at some scale at least."""
    for name in binding.benchmarks:
        if name not in suite.benchmarks:
            continue
        listed = [base.arms for scale in WRITTEN_SCALES if (base := setting(suite, name, scale))]
        for arm in dict.fromkeys(deciding):
            if listed and not any(arms is None or arm in arms for arms in listed) and arm in suite.model.arms:
                problem = f"the claim is decided by arm '{arm}', which benchmark '{name}' does not list in 'arms:'"
                yield Problem(suite.node.find(path), problem)


def _metric(suite: Suite, path: Path_, binding: Binding) -> Iterator[Problem]:
    fact = suite.facts.get(binding.id)
    metric = binding.metric or (fact.metric if fact is not None and len(binding.benchmarks) == 1 else None)
    if metric is not None and not metric.startswith("mechanism."):
        where = (*path, "metric" if binding.metric is not None else "id")
        for name in binding.benchmarks:
            if name in suite.benchmarks:
                known = suite.benchmarks[name].model.metrics
                yield from absent(suite.node, where, f"benchmark '{name}' has no metric", [metric], known)


def _order(suite: Suite, path: Path_, binding: Binding) -> Iterator[Problem]:
    """A chain and "best of all" are different claims: neither may be taken in silence."""
    fact = suite.facts.get(binding.id)
    if fact is None or fact.kind != "ordering" or len(binding.against) < 2 or binding.order is not None:
        return
    problem = f"the ordering '{binding.id}' has {len(binding.against)} arms in 'against:' and no 'order:'"
    cure = "say 'chain' (arm > first > second …) or 'best' (arm above each)"
    yield Problem(suite.node.find((*path, "against")), f"{problem}; {cure}")
