"""Checks the sections of a suite that name arms, benchmarks and metrics: claims, ``sweep:`` and ``tuned:``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import registry
from harness.base.yaml_nodes import Path_
from harness.errors import Problem, choices
from harness.registry.shipped import check_module, check_names
from harness.suite.cells import Setting, override_at, setting
from harness.suite.load import Suite, absent
from harness.suite.models import REPORTED, Claim, Threshold
from harness.suite.search_models import SpaceRange
from harness.suite.strict import Settings
from harness.suite.values import wrong
from harness.trial.options import Option
from harness.vocabulary import SLOTS, WRITTEN_SCALES

MAX_PRIMARY = 5


def check_claims(suite: Suite) -> Iterator[Problem]:
    """Claims bound twice, not at all, or to unknown arms and benchmarks."""
    seen: set[str] = set()
    primary: dict[tuple[Any, ...], int] = {}
    for number, binding in enumerate(suite.model.claims):
        path: Path_ = ("claims", number)
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
        problem = f"{len(primary)} primary comparisons; at most {MAX_PRIMARY} (Holm inside them)"
        yield Problem(suite.node.find(("claims", last, "primary")), problem)


def _binding(suite: Suite, path: Path_, binding: Claim) -> Iterator[Problem]:
    yield from absent(suite.node, (*path, "benchmarks"), "no benchmark", binding.benchmarks, suite.benchmarks)
    gated = [arm for gate in binding.gates for arm in gate.arms]
    named = {"against": binding.against, "shown": binding.shown, "baselines": binding.baselines, "mechanism": gated}
    yield from absent(suite.node, (*path, "arm"), "no arm", [binding.arm], suite.model.arms)
    for key, arms in named.items():
        yield from absent(suite.node, (*path, key), "no arm", arms, suite.model.arms)
    fact = suite.facts.get(binding.id)
    deciding = binding.deciding(fact.kind) if fact is not None else binding.against[:1]
    yield from _runs(suite, path, binding, [binding.arm, *binding.baselines, *gated, *deciding])
    yield from _against_itself(suite, path, binding)
    yield from _metric(suite, path, binding)
    yield from _units(suite, path, binding)
    yield from _order(suite, path, binding)
    if binding.check is not None and binding.check != REPORTED:
        existing, what = check_names(suite.name), f"{check_module(suite.name)} has no check"
        yield from absent(suite.node, (*path, "check"), what, [binding.check], existing)


def _runs(suite: Suite, path: Path_, binding: Claim, deciding: Sequence[str | None]) -> Iterator[Problem]:
    """Deciding arms that run on none of a claim's benchmarks."""
    for name in binding.benchmarks:
        if name not in suite.benchmarks:
            continue
        listed = [base.arms for scale in WRITTEN_SCALES if (base := setting(suite, name, scale))]
        for arm in dict.fromkeys(deciding):
            if listed and not any(arms is None or arm in arms for arms in listed) and arm in suite.model.arms:
                problem = f"the claim is decided by arm '{arm}', which benchmark '{name}' does not list in 'arms:'"
                yield Problem(suite.node.find(path), problem)


def _metric(suite: Suite, path: Path_, binding: Claim) -> Iterator[Problem]:
    fact = suite.facts.get(binding.id)
    metric = binding.metric or (fact.metric if fact is not None and len(binding.benchmarks) == 1 else None)
    if metric is not None and not metric.startswith("mechanism."):
        where = (*path, "metric" if binding.metric is not None else "id")
        for name in binding.benchmarks:
            if name in suite.benchmarks:
                existing = suite.benchmarks[name].model.metrics
                yield from absent(suite.node, where, f"benchmark '{name}' has no metric", [metric], existing)


def _against_itself(suite: Suite, path: Path_, binding: Claim) -> Iterator[Problem]:
    node = suite.node
    if binding.arm is not None and binding.arm in binding.against:
        yield Problem(node.find((*path, "against")), f"the arm '{binding.arm}' is compared with itself")
    for key, names in (("against", binding.against), ("benchmarks", binding.benchmarks)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield Problem(node.find((*path, key)), f"named twice: {', '.join(twice)}")
    if binding.baselines and (len(binding.baselines) != 2 or len(set(binding.baselines)) != 2):
        problem = "two different arms are expected, that of 'arm' and that of 'against[0]'"
        yield Problem(node.find((*path, "baselines")), problem)
    if isinstance(binding.scope, Threshold) and binding.scope.at_least > len(binding.benchmarks):
        problem = f"at least {binding.scope.at_least} of {len(binding.benchmarks)} benchmarks cannot be shown"
        yield Problem(node.find((*path, "scope", "at_least")), problem)


def _units(suite: Suite, path: Path_, binding: Claim) -> Iterator[Problem]:
    """Units and directions that differ from the metric's."""
    fact = suite.facts.get(binding.id)
    if fact is None or fact.metric != (binding.metric or fact.metric):
        return
    for name in binding.benchmarks:
        metric = suite.benchmarks[name].model.metrics.get(fact.metric) if name in suite.benchmarks else None
        if metric is None:
            continue
        for key, text, measured in (("unit", fact.unit, metric.unit), ("better", fact.better, metric.better)):
            if text != measured:
                problem = f"the claim's {key} is '{text}', but '{fact.metric}' of benchmark '{name}' has '{measured}'"
                yield Problem(suite.node.find((*path, "id")), problem)


def _order(suite: Suite, path: Path_, binding: Claim) -> Iterator[Problem]:
    fact = suite.facts.get(binding.id)
    if fact is None or fact.kind != "ordering" or len(binding.against) < 2 or binding.order is not None:
        return
    problem = f"the ordering '{binding.id}' has {len(binding.against)} arms in 'against:' and no 'order:'"
    cure = "give 'chain' (arm > first > second …) or 'best' (arm above each)"
    yield Problem(suite.node.find((*path, "against")), f"{problem}; {cure}")


def check_sweep(suite: Suite) -> Iterator[Problem]:
    """Unknown arms, benchmarks and metrics of ``sweep:``."""
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
            yield from absent(node, ("sweep", "metric"), what, [sweep.metric], model.metrics)
            if task is not None and not task.metadata.program:  # a program reports what it likes
                chosen = sweep.selection_metric
                yield from absent(node, ("sweep", "selection_metric"), what, [chosen], task.metadata.metrics)


def check_tuned(suite: Suite) -> Iterator[Problem]:
    """Unknown claims, arms, benchmarks and metrics of ``tuned:``."""
    tuned = suite.model.tuned
    if tuned is None:
        return
    node, bound = suite.node, {binding.id: binding for binding in suite.model.claims if binding.arm is not None}
    named = [] if tuned.claims == "primaries" else tuned.claims
    yield from absent(node, ("tuned", "claims"), "no claim that is bound to arms:", named, bound)
    yield from absent(node, ("tuned", "spaces"), "no arm", tuned.spaces.keys() - {"*"}, suite.model.arms)
    yield from absent(node, ("tuned", "benchmarks"), "no benchmark", tuned.benchmarks, suite.benchmarks)
    for name, other in tuned.benchmarks.items():
        if name in suite.benchmarks and other.selection_metric is not None:
            task = registry.entries("task").get(suite.benchmarks[name].model.task)
            path, what = ("tuned", "benchmarks", name, "selection_metric"), f"benchmark '{name}' has no metric"
            if task is not None and not task.metadata.program:
                yield from absent(node, path, what, [other.selection_metric], task.metadata.metrics)
    for binding in suite.tuned_claims:
        if binding.protocol != "published":
            problem = f"the claim '{binding.id}' has 'protocol: tuned': it has no published verdict to compare with"
            yield Problem(node.find(("tuned", "claims")), problem)


def check_ranges(suite: Suite) -> Iterator[Problem]:
    """Invalid overrides and ranges of ``sweep:`` and ``tuned:``; the suite's parts are valid."""
    sweep, tuned = suite.model.sweep, suite.model.tuned
    if sweep is not None:
        settings = _settings(suite, sweep.benchmarks)
        for key, value in sweep.set.items():
            if problem := _rejection(settings, key, value, bool(sweep.benchmarks)):
                yield Problem(suite.node.find(("sweep", "set", key)), problem)
        yield from _spaces(suite, "sweep", sweep.spaces, sweep.benchmarks)
    if tuned is not None:
        yield from _spaces(suite, "tuned", tuned.spaces, ())


def _settings(suite: Suite, named: Sequence[str]) -> list[Setting]:
    names = [name for name in named if name in suite.benchmarks] or list(suite.benchmarks)
    return [base for name in names for scale in WRITTEN_SCALES if (base := setting(suite, name, scale))]


def _spaces(
    suite: Suite, section: str, spaces: Mapping[str, Mapping[str, SpaceRange | None]], named: Sequence[str]
) -> Iterator[Problem]:
    settings = _settings(suite, named)
    for group, ranges in spaces.items():
        for key, space in ranges.items():
            slot, _, rest = key.partition(".")
            if slot in SLOTS:
                problem = _hyper_parameter(slot, rest, space)
            elif space is None:
                general = spaces.get("*", {}) if group != "*" else {}
                problem = None if key in general else f"no range '{key}' to drop; {choices(general, key)}"
            else:
                rejections = [_rejection(settings, key, value, bool(named)) for value in _values(space)]
                problem = next(filter(None, rejections), None)
            if problem:
                yield Problem(suite.node.find((section, "spaces", group, key)), problem)


def _values(space: SpaceRange | None) -> Sequence[Any]:
    """The values by which a range is checked; none of a dropped one or of factors."""
    if space is None or space.factors is not None:
        return ()
    return space.choices if space.choices is not None else (space.low, space.high)


def _rejection(settings: Sequence[Setting], key: str, value: Any, everywhere: bool) -> str | None:
    """Problem of an override: of one of the benchmarks with ``everywhere``, else of all of them."""
    problems = []
    for base in settings:
        mistakes = base.overridden(Settings({key: value})).mistakes()
        here = [mistake.message for mistake in mistakes if override_at(mistake.path, [key])]
        if here:
            problems.append(here[0])
        elif not everywhere:
            return None
    return problems[0] if problems else None


def _hyper_parameter(slot: str, name: str, space: SpaceRange | None) -> str | None:
    """Problem of a range of ``slot.hyper_parameter`` or ``slot.METHOD.hyper_parameter``."""
    method, dot, inner = name.partition(".")
    requested, methods = inner if dot else name, registry.entries("method")
    if dot:
        methods.get(method)  # a plug-in is imported
    of_slot = {entry.name: entry.options for entry in methods.values() if entry.metadata.slot == slot}
    if dot and method not in of_slot:
        return registry.unknown("method", method, slot, list(of_slot))
    chosen = [of_slot[method]] if dot else list(of_slot.values())
    declared: list[Option] = [options[requested] for options in chosen if requested in options]
    if not declared:
        return f"no '{requested}' to tune; {choices({key for options in chosen for key in options}, requested)}"
    for value in _values(space):
        message = [wrong(requested, value, key) for key in declared]
        if all(message):
            return message[0]
    return None
