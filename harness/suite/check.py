"""Checks a loaded suite as a whole: names that must exist, keys that must be declared, claims that must be bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness import registry
from harness.errors import HarnessError, Problem, choices
from harness.registry.shipped import check_names
from harness.suite import keys
from harness.suite.check_sweep import check_sweep
from harness.suite.load import LoadedBenchmark, Suite
from harness.suite.models import REPORTED, SLOTS, Binding, Prerequisite, ScaleBlock
from harness.suite.resolve import CellError, content, setting
from harness.trial.options import Key
from harness.trial.recipe import COMMON_KEYS, SLOT_KEYS

MAX_PRIMARY = 5


def check_suite(suite: Suite) -> list[Problem]:
    """Every problem of a suite that its single files do not show."""
    problems = [*_benchmarks(suite), *_stand_ins(suite), *_arms(suite)]
    if not problems:  # cells resolve only where the parts are sound
        problems = list(_cells(suite))
    return [*problems, *_claims(suite), *check_sweep(suite)]


def _benchmarks(suite: Suite) -> Iterator[Problem]:
    for name, benchmark in suite.benchmarks.items():
        model, node = benchmark.model, benchmark.node
        tasks = registry.entries("task")
        if model.task not in tasks:
            yield Problem(node.find(("task",)), keys.unknown("task", model.task, {t: Key("any") for t in tasks}))
            continue
        for scale in ("paper", "small", "mini"):
            block: ScaleBlock | None = getattr(model, scale)
            if block is not None:
                yield from _block(suite, benchmark, scale, block, tasks[model.task])
        reported = {metric: Key("any") for metric in tasks[model.task].card["metrics"]}
        for metric in model.metrics:
            if metric not in reported:
                yield Problem(node.find(("metrics", metric)), keys.unknown("metric", metric, reported))
        if model.reference_arm is not None and model.reference_arm not in suite.model.arms:
            yield Problem(node.find(("reference_arm",)), _no_arm(suite, model.reference_arm))
        yield from _sources(benchmark)
        for arm in benchmark.used.arms or ():
            if arm not in suite.model.arms:
                yield Problem(suite.node.find(("benchmarks", name, "arms")), _no_arm(suite, arm))


def _stand_ins(suite: Suite) -> Iterator[Problem]:
    """One block at most stands for a benchmark at a scale."""
    for scale in ("paper", "small", "mini"):
        first: dict[str, str] = {}
        for name, benchmark in suite.benchmarks.items():
            block: ScaleBlock | None = getattr(benchmark.model, scale)
            for other in block.stands_for if block is not None else ():
                if other in first:
                    problem = f"'{first[other]}' already stands for '{other}' at {scale}"
                    yield Problem(benchmark.node.find((scale, "stands_for")), problem)
                first.setdefault(other, name)


def _no_arm(suite: Suite, name: str) -> str:
    return f"no arm '{name}' in suite '{suite.name}'; {choices(suite.model.arms, name)}"


def _block(
    suite: Suite, benchmark: LoadedBenchmark, scale: str, block: ScaleBlock, task: registry.Entry
) -> Iterator[Problem]:
    node = benchmark.node
    paper = benchmark.model.paper or ScaleBlock()
    for part in ("data", "model"):
        values: Mapping[str, Any] = getattr(block, part)
        name = values.get("name", getattr(paper, part).get("name"))
        known = registry.entries(part)
        if not isinstance(name, str) or name not in known:
            place = node.find((scale, part, "name"))
            absent = f"no {part} '{name}'" if name else f"'{part}' needs a name"
            yield Problem(place, f"{absent}; {choices(known, str(name))}")
            continue
        if part == "data" and known[name].card["content"] not in task.card["reads"]:
            fitting = [other for other, entry in known.items() if entry.card["content"] in task.card["reads"]]
            problem = f"the task '{task.name}' cannot read the data '{name}' ({known[name].card['content']})"
            yield Problem(node.find((scale, part, "name")), f"{problem}; {choices(fitting, name)}")
        below = getattr(paper, part)
        given = {**below, **values} if below.get("name") == name else values
        for key, declared in known[name].keys.items():
            if declared.required and key not in given:
                yield Problem(node.find((scale, part)), f"the {part} '{name}' needs '{key}': {declared.about}")
        yield from _values(
            node, (scale, part), {k: v for k, v in values.items() if k != "name"}, known[name].keys, part
        )
    yield from _values(node, (scale, "recipe"), block.recipe, {**COMMON_KEYS, **task.keys}, "recipe key")
    merged = {**paper.recipe, **block.recipe}
    if ("steps" not in merged) and ("epochs" not in merged):
        yield Problem(node.find((scale, "recipe")), "the recipe needs a length: 'steps' or 'epochs'")
    if block.recipe.get("steps") is not None and block.recipe.get("epochs") is not None:
        yield Problem(node.find((scale, "recipe", "epochs")), "give 'steps' or 'epochs', not both")
    for name, wanted in block.prerequisites.items():
        yield from _prerequisite(node, (scale, "prerequisites", name), wanted)
    for other in block.stands_for:
        if other not in suite.benchmarks:
            yield Problem(
                node.find((scale, "stands_for")), f"no benchmark '{other}'; {choices(suite.benchmarks, other)}"
            )
        elif getattr(suite.benchmarks[other].model, scale) is not None:
            yield Problem(node.find((scale, "stands_for")), f"'{other}' has its own block for {scale}")
    for arm in block.arms or ():
        if arm not in suite.model.arms:
            yield Problem(node.find((scale, "arms")), _no_arm(suite, arm))
    for metric in block.competent:
        if metric not in benchmark.model.metrics:
            yield Problem(
                node.find((scale, "competent", metric)),
                f"no metric '{metric}'; {choices(benchmark.model.metrics, metric)}",
            )


def _prerequisite(node: Any, path: tuple[str, ...], wanted: Prerequisite) -> Iterator[Problem]:
    tasks = registry.entries("task")
    if wanted.weights is not None:
        sources = registry.entries("data")
        if wanted.weights not in sources:
            yield Problem(
                node.find((*path, "weights")), f"no weights '{wanted.weights}'; {choices(sources, wanted.weights)}"
            )
        return
    if wanted.task not in tasks:
        yield Problem(node.find((*path, "task")), f"no task '{wanted.task}'; {choices(tasks, wanted.task)}")
        return
    parts = {"model": wanted.model, "data": wanted.data} if wanted.data else {"model": wanted.model}
    for part, values in parts.items():
        known = registry.entries("model" if part == "model" else "data")
        if not isinstance(values.get("name"), str) or values["name"] not in known:
            problem = f"'{part}' needs the name of one that exists; {choices(known, str(values.get('name')))}"
            yield Problem(node.find((*path, part)), problem)
        else:
            own = {k: v for k, v in values.items() if k != "name"}
            yield from _values(
                node, (*path, part), own, known[values["name"]].keys, f"key of {part} '{values['name']}':"
            )
    yield from _values(node, (*path, "recipe"), wanted.recipe, {**COMMON_KEYS, **tasks[wanted.task].keys}, "recipe key")
    if ("steps" not in wanted.recipe) and ("epochs" not in wanted.recipe):
        yield Problem(node.find((*path, "recipe")), "the recipe needs a length: 'steps' or 'epochs'")


def _values(
    node: Any, path: tuple[str, ...], values: Mapping[str, Any], declared: Mapping[str, Key], what: str
) -> Iterator[Problem]:
    for name, value in values.items():
        if name not in declared:
            yield Problem(node.find((*path, name)), keys.unknown(what, name, declared))
        elif message := keys.wrong(name, value, declared[name]):
            yield Problem(node.find((*path, name)), message)
        elif name in SLOT_KEYS and what == "recipe key":
            yield from _shared_hyper_parameters(node, (*path, name), name, value)


def _shared_hyper_parameters(
    node: Any, path: tuple[str, ...], slot: str, value: Mapping[str, Any]
) -> Iterator[Problem]:
    """``optimizer: {adam: {lr: …}}``: families and methods that exist, hyper-parameters that they take."""
    methods = registry.entries("method")
    if slot == "slots":
        for name in value:
            if name not in SLOTS:
                yield Problem(node.find((*path, name)), f"no slot '{name}'; {choices(list(SLOTS), name)}")
        return
    known: dict[str, dict[str, Key]] = {}
    for entry in methods.values():
        if entry.card["slot"] == slot:
            for group in (entry.card["family"], entry.name):
                known.setdefault(group, {}).update(entry.keys)
    for group, given in value.items():
        if group not in known:
            yield Problem(node.find((*path, group)), f"no family or method '{group}'; {choices(known, group)}")
        elif not isinstance(given, dict):
            yield Problem(node.find((*path, group)), f"'{group}': a mapping of hyper-parameters is expected")
        else:
            yield from _values(node, (*path, group), given, known[group], "hyper-parameter")


def _sources(benchmark: LoadedBenchmark) -> Iterator[Problem]:
    """Every leaf of a published recipe says where it is from."""
    paper, node = benchmark.model.paper, benchmark.node
    if paper is None:
        return
    listed = set(benchmark.model.sources)
    leaves = {
        f"{part}.{leaf}"
        for part in ("data", "model", "recipe")
        for leaf in _leaves(getattr(paper, part))
        if leaf != "name"
    }
    for leaf in sorted(leaves):
        parents = {".".join(leaf.split(".")[:n]) for n in range(2, leaf.count(".") + 2)}
        if not parents & listed:
            place = node.find(("paper", *leaf.split(".")))
            yield Problem(place, f"'{leaf}' has no entry in 'sources:' (trust and place of this published value)")
    for source in sorted(listed):
        if not any(leaf == source or leaf.startswith(source + ".") for leaf in leaves):
            yield Problem(
                node.find(("sources", source)), f"'{source}' is no leaf of 'paper'; {choices(leaves, source)}"
            )


def _leaves(value: Any, prefix: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        return [leaf for key, below in value.items() for leaf in _leaves(below, f"{prefix}{key}.")]
    return [prefix[:-1]]


def _arms(suite: Suite) -> Iterator[Problem]:
    methods = registry.entries("method")
    for name, arm in suite.model.arms.items():
        yield from _parent(suite, name)
        for slot in SLOTS:
            value = getattr(arm, slot)
            for path, one in _methods(value, (slot,)):
                place = suite.node.find(("arms", name, *path))
                method = one if isinstance(one, str) else one.get("name") if isinstance(one, dict) else None
                if not isinstance(method, str) or method not in methods:
                    fitting = [m for m, e in methods.items() if e.card["slot"] == slot]
                    yield Problem(place, f"no {slot} '{method}'; {choices(fitting, str(method))}")
                    continue
                if methods[method].card["slot"] != slot:
                    problem = f"the method '{method}' fills the slot '{methods[method].card['slot']}', not '{slot}'"
                    yield Problem(place, problem)
                    continue
                own = {k: v for k, v in one.items() if k != "name"} if isinstance(one, dict) else {}
                yield from _values(suite.node, ("arms", name, *path), own, methods[method].keys, "hyper-parameter")


def _parent(suite: Suite, name: str) -> Iterator[Problem]:
    """An ablation's parent exists, and following parents never comes back."""
    arms = suite.model.arms
    parent = arms[name].parent
    if parent is None:
        return
    place = suite.node.find(("arms", name, "parent"))
    if parent not in arms:
        yield Problem(place, f"the parent of '{name}': {_no_arm(suite, parent)}")
        return
    if arms[name].role != "ablation":
        yield Problem(place, f"'{name}' has a parent, but only arms of role 'ablation' change another arm")
    seen = [name]
    following: str | None = parent
    while following in arms and following not in seen:
        seen.append(following)
        following = arms[following].parent
    if following == name:
        yield Problem(place, f"parents go round in a circle: {' → '.join([*seen, name])}")


def _methods(value: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if value is None:
        return []
    if isinstance(value, dict) and "name" not in value:
        return [((*path, place), one) for place, one in value.items()]
    return [(path, value)]


def _cells(suite: Suite) -> Iterator[Problem]:
    """Every arm resolves on every benchmark at every scale."""
    used: set[str] = set()
    for name, benchmark in suite.benchmarks.items():
        for scale in ("paper", "small", "mini"):
            base = setting(suite, name, scale)
            if base is None:
                continue
            for arm in base.arms if base.arms is not None else suite.model.arms:
                used.add(arm)
                try:
                    resolved = content(base, suite.model.arms[arm])
                except CellError as error:
                    place = suite.node.find(("arms", arm, *error.path))
                    yield Problem(place, f"on benchmark '{name}' at {scale}: {error}")
                    continue
                except HarnessError as error:
                    yield Problem(benchmark.node.find((scale,)), f"arm '{arm}' at {scale}: {error}")
                    continue
                yield from _resolved(suite, arm, name, scale, resolved.recipe)


def _resolved(suite: Suite, arm: str, benchmark: str, scale: str, recipe: Mapping[str, Any]) -> Iterator[Problem]:
    task = registry.entry("task", suite.benchmarks[benchmark].model.task)
    declared = {**COMMON_KEYS, **task.keys}
    for key in (*suite.model.arms[arm].set, *suite.benchmarks[benchmark].used.set):
        head = key.split(".")[0]
        if head in ("data", "model"):
            continue
        path = ("arms", arm, "set", key) if key in suite.model.arms[arm].set else ("benchmarks", benchmark, "set", key)
        if head not in declared:
            yield Problem(suite.node.find(path), keys.unknown("recipe key", head, declared))
        elif message := keys.wrong(head, recipe[head], declared[head]):
            yield Problem(suite.node.find(path), message)


def _claims(suite: Suite) -> Iterator[Problem]:
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
    gates = (
        binding.mechanism if isinstance(binding.mechanism, list) else [binding.mechanism] if binding.mechanism else []
    )
    named = [("arm", binding.arm), *(("against", arm) for arm in binding.against)]
    named += [("baselines", arm) for arm in binding.baselines]
    named += [("mechanism", arm) for gate in gates for arm in gate.arms]
    for key, arm in named:
        if arm is not None and arm not in suite.model.arms:
            yield Problem(suite.node.find((*path, key)), _no_arm(suite, arm))
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
        listed = [base.arms for scale in ("paper", "small", "mini") if (base := setting(suite, name, scale))]
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
