"""Checks a suite's ``sweep:`` section: names that exist, ranges of what methods, recipes, data and models take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness import registry
from harness.errors import Problem, choices
from harness.suite.cells import Setting, override_at, setting
from harness.suite.load import Suite, absent
from harness.suite.models import SpaceRange
from harness.suite.values import wrong
from harness.trial.options import Option
from harness.vocabulary import SLOTS, WRITTEN_SCALES


def check_sweep(suite: Suite) -> Iterator[Problem]:
    """The arms, benchmarks and metrics that the section names; nothing where a suite has no section."""
    sweep = suite.model.sweep
    if sweep is None:
        return
    node, arms, benchmarks = suite.node, suite.model.arms, suite.benchmarks
    yield from absent(node, ("sweep", "arms"), "no arm", sweep.arms, arms)
    yield from absent(node, ("sweep", "benchmarks"), "no benchmark", sweep.benchmarks, benchmarks)
    yield from absent(node, ("sweep", "spaces"), "no arm", sweep.spaces.keys() - {"*"}, arms)
    for name in sweep.benchmarks:
        if name in benchmarks:
            model, what = benchmarks[name].model, f"benchmark '{name}' has no metric"
            task = registry.entries("task").get(model.task)
            reported = task.card.metrics if task else ()
            yield from absent(node, ("sweep", "metric"), what, [sweep.metric], model.metrics)
            yield from absent(node, ("sweep", "selection_metric"), what, [sweep.selection_metric], reported)


def check_ranges(suite: Suite) -> Iterator[Problem]:
    """The section's overrides and the values that its ranges reach, on a suite whose parts are sound."""
    sweep = suite.model.sweep
    if sweep is None:
        return
    names = [name for name in sweep.benchmarks if name in suite.benchmarks] or list(suite.benchmarks)
    settings = [base for name in names for scale in WRITTEN_SCALES if (base := setting(suite, name, scale))]
    for key, value in sweep.set.items():
        if problem := _override(settings, key, value, bool(sweep.benchmarks)):
            yield Problem(suite.node.find(("sweep", "set", key)), problem)
    for group, ranges in sweep.spaces.items():
        for key, given in ranges.items():
            slot, _, rest = key.partition(".")
            if slot in SLOTS:
                problem = _hyper_parameter(slot, rest, given)
            elif given is None:
                general = sweep.spaces.get("*", {}) if group != "*" else {}
                problem = None if key in general else f"no range '{key}' to drop; {choices(general, key)}"
            else:
                reached = [_override(settings, key, value, bool(sweep.benchmarks)) for value in _values(given)]
                problem = next(filter(None, reached), None)
            if problem:
                yield Problem(suite.node.find(("sweep", "spaces", group, key)), problem)


def _values(given: SpaceRange | None) -> Sequence[Any]:
    """The values that show whether a range is valid; of one that is dropped, none that could be."""
    if given is None:
        return ()
    return given.choices if given.choices is not None else (given.low, given.high)


def _override(settings: Sequence[Setting], key: str, value: Any, everywhere: bool) -> str | None:
    """Why an override is refused: by one of the benchmarks with ``everywhere``, else by all of them."""
    refusals = []
    for base in settings:
        wrong_here = [m.message for m in base.overridden({key: value}).mistakes() if override_at(m.path, [key])]
        if wrong_here:
            refusals.append(wrong_here[0])
        elif not everywhere:
            return None
    return refusals[0] if refusals else None


def _hyper_parameter(slot: str, name: str, given: SpaceRange | None) -> str | None:
    """What is wrong with a range of ``slot.hyper_parameter`` or ``slot.METHOD.hyper_parameter``."""
    method, dot, inner = name.partition(".")
    known, asked = _hyper_parameters(slot, method if dot else None), inner if dot else name
    if dot and not known:
        methods = [entry.name for entry in registry.entries("method").values() if entry.card.slot == slot]
        return registry.unknown("method", method, slot, methods)
    if asked not in known:
        return f"no '{asked}' to tune; {choices(known, asked)}"
    for value in _values(given):
        told = [wrong(asked, value, key) for key in known[asked]]
        if all(told):
            return told[0]
    return None


def _hyper_parameters(slot: str, method: str | None) -> dict[str, list[Option]]:
    """Hyper-parameters of a slot's methods, or of one of them, each as every method that has it declares it."""
    found: dict[str, list[Option]] = {}
    methods = registry.entries("method")
    for entry in methods.values() if method is None else [methods[method]] if method in methods else []:
        if entry.card.slot == slot:
            for key, declared in entry.options.items():
                found.setdefault(key, []).append(declared)
    return found
