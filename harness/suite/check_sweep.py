"""Checks a suite's ``sweep:`` section: names that exist, ranges of what methods and recipes take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness import registry
from harness.errors import Problem, choices
from harness.suite import keys
from harness.suite.load import Suite
from harness.suite.models import SLOTS, SpaceRange
from harness.trial.options import Key
from harness.trial.recipe import COMMON_KEYS


def check_sweep(suite: Suite) -> Iterator[Problem]:
    """Every problem of the section; none where a suite has no section."""
    sweep = suite.model.sweep
    if sweep is None:
        return
    find, arms, benchmarks = suite.node.find, suite.model.arms, suite.benchmarks
    for arm in sweep.arms:
        if arm not in arms:
            yield Problem(find(("sweep", "arms", arm)), f"no arm '{arm}'; {choices(arms, arm)}")
    for name in sweep.benchmarks:
        if name not in benchmarks:
            yield Problem(find(("sweep", "benchmarks")), f"no benchmark '{name}'; {choices(benchmarks, name)}")
    yield from _metrics(suite)
    recipe = _recipe_keys(suite)
    for key in sweep.set:
        head = key.split(".")[0]
        if head not in recipe and head not in ("data", "model"):
            yield Problem(find(("sweep", "set", key)), keys.unknown("recipe key", head, recipe))
    for group, ranges in sweep.spaces.items():
        if group != "*" and group not in arms:
            yield Problem(find(("sweep", "spaces", group)), f"no arm '{group}'; {choices(arms, group)}")
        for name, one in ranges.items():
            for problem in _range(name, one, recipe):
                yield Problem(find(("sweep", "spaces", group, name)), problem)


def _metrics(suite: Suite) -> Iterator[Problem]:
    """The metrics are those of the benchmarks, and one that chooses is reported by their tasks."""
    sweep = suite.model.sweep
    assert sweep is not None
    for name in sweep.benchmarks:
        if name not in suite.benchmarks:
            continue
        model = suite.benchmarks[name].model
        task = registry.entries("task").get(model.task)
        for key, metric, known in (
            ("metric", sweep.metric, list(model.metrics)),
            ("selection_metric", sweep.selection_metric, list(task.card["metrics"]) if task else []),
        ):
            if metric is not None and metric not in known:
                problem = f"benchmark '{name}' has no metric '{metric}'; {choices(known, metric)}"
                yield Problem(suite.node.find(("sweep", key)), problem)


def _recipe_keys(suite: Suite) -> dict[str, Key]:
    tasks = [registry.entries("task").get(one.model.task) for one in suite.benchmarks.values()]
    return {**COMMON_KEYS, **{name: key for task in tasks if task is not None for name, key in task.keys.items()}}


def _range(name: str, one: SpaceRange | None, recipe: Mapping[str, Key]) -> Iterator[str]:
    """What is wrong with one range."""
    head, _, rest = name.partition(".")
    if head in ("data", "model"):
        return  # their keys are known where a benchmark is chosen, and checked when the sweep is planned
    if head in SLOTS:
        method, dot, inner = rest.partition(".")
        known = _hyper_parameters(head, method if dot else None)
        asked = inner if dot else rest
        if dot and not known:
            methods = [entry.name for entry in registry.entries("method").values() if entry.card["slot"] == head]
            yield f"no {head} '{method}'; {choices(methods, method)}"
            return
    else:
        known, asked = {key: [value] for key, value in recipe.items()}, rest if head == "recipe" else head
    if asked not in known:
        yield f"no '{asked}' to tune; {choices(known, asked)}"
    elif one is not None:
        for value in one.choices if one.choices is not None else (one.low, one.high):
            found = [keys.wrong(asked, value, key) for key in known[asked]]
            if all(found) and found[0] is not None:
                yield found[0]


def _hyper_parameters(slot: str, method: str | None) -> dict[str, list[Key]]:
    """Hyper-parameters of a slot's methods, or of one of them, each as every method that has it declares it."""
    found: dict[str, list[Key]] = {}
    for entry in registry.entries("method").values():
        if entry.card["slot"] == slot and method in (None, entry.name):
            for key, declared in entry.keys.items():
                found.setdefault(key, []).append(declared)
    return found
