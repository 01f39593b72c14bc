"""Checks a suite as a whole: names, declared values, configurations that must resolve."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from harness import registry
from harness.base.yaml_nodes import Node
from harness.errors import Place, Problem, SuiteError, choices
from harness.registry.metadata import TaskMetadata
from harness.suite.cells import PARTS, ConfigurationError, Setting, content, override_at, setting
from harness.suite.check_sections import check_claims, check_ranges, check_sweep, check_tuned
from harness.suite.load import LoadedBenchmark, Suite, absent, find_suite, read_suite
from harness.suite.models import Dependency, ScaleBlock
from harness.suite.programs import check_program
from harness.suite.strict import Settings
from harness.suite.values import Mistake, part_mistakes, recipe_mistakes, slot_mistakes
from harness.vocabulary import SLOTS, WRITTEN_SCALES


def load_suite(which: str | Path) -> Suite:
    """Load a suite by path or name and check it.

    Raises:
        SuiteError: with every problem, each at its place.
    """
    return checked(read_suite(find_suite(which)))


def checked(suite: Suite) -> Suite:
    """Check a suite and return it; raises as :func:`load_suite`."""
    problems = check_suite(suite)
    if problems:
        raise SuiteError(problems)
    return suite


def check_suite(suite: Suite) -> list[Problem]:
    """Every problem of a suite that its single files do not show."""
    problems = [*_benchmarks(suite), *_stand_ins(suite), *_arms(suite)]
    if not problems:  # configurations resolve only where the parts are valid
        problems = [*_configurations(suite), *check_ranges(suite)]
    return [*problems, *check_claims(suite), *check_sweep(suite), *check_tuned(suite)]


def _benchmarks(suite: Suite) -> Iterator[Problem]:
    tasks = registry.entries("task")
    for name, benchmark in suite.benchmarks.items():
        model, node, used = benchmark.model, benchmark.node, benchmark.used.arms or ()
        if model.task not in tasks:
            yield Problem(node.find(("task",)), registry.unknown("task", model.task))
            continue
        for scale in WRITTEN_SCALES:
            block: ScaleBlock | None = getattr(model, scale)
            if block is not None:
                yield from _block(suite, benchmark, scale, block, tasks[model.task])
        metadata = tasks[model.task].metadata
        if not metadata.program and not metadata.elsewhere:  # these report what they like
            for metric in (metric for metric in model.metrics if metric not in metadata.metrics):
                yield Problem(node.find(("metrics", metric)), _unknown_metric(metric, tasks[model.task]))
        yield from absent(node, ("reference_arm",), "no arm", [model.reference_arm], suite.model.arms)
        yield from _sources(benchmark)
        yield from absent(suite.node, ("benchmarks", name, "arms"), "no arm", used, suite.model.arms)


def _unknown_metric(metric: str, task: registry.Entry[TaskMetadata]) -> str:
    file = f"{task.module.replace('.', '/')}.py" if not task.module.endswith(".py") else task.module
    valid = choices(task.metadata.metrics, metric)
    return f"unknown metric '{metric}'; {valid}; to add one, compute it in {file} and name it in the task's 'metrics'"


def _stand_ins(suite: Suite) -> Iterator[Problem]:
    """At most one block serves another benchmark at a scale."""
    for scale in WRITTEN_SCALES:
        first: dict[str, str] = {}
        for name, benchmark in suite.benchmarks.items():
            block: ScaleBlock | None = getattr(benchmark.model, scale)
            for other in block.stands_for if block is not None else ():
                if other in first:
                    problem = f"'{first[other]}' already serves '{other}' at {scale}"
                    yield Problem(benchmark.node.find((scale, "stands_for")), problem)
                first.setdefault(other, name)


def _block(
    suite: Suite, benchmark: LoadedBenchmark, scale: str, block: ScaleBlock, task: registry.Entry[TaskMetadata]
) -> Iterator[Problem]:
    node, paper = benchmark.node, benchmark.model.paper
    parts: tuple[Literal["data", "model"], ...] = ("data", "model")
    for part in parts:
        value: Settings = getattr(block, part)
        if value or paper is None:
            whole = value if scale == "paper" or paper is None else getattr(paper, part).replaced(value)
            here = (m for m in part_mistakes(part, whole, task) if not m.path or m.path[0] in value or not whole)
            yield from _problems(node, (scale, part), here)
    yield from _problems(node, (scale, "recipe"), recipe_mistakes(block.recipe, task))
    if task.metadata.program:
        yield from check_program(node, (scale, "recipe"), block.recipe, suite.path.parent)
    elif not task.metadata.elsewhere:
        yield from _length(node, (scale, "recipe"), [*(paper.recipe if paper is not None else ()), *block.recipe])
    if block.recipe.get("steps") is not None and block.recipe.get("epochs") is not None:
        yield Problem(node.find((scale, "recipe", "epochs")), "give 'steps' or 'epochs', not both")
    for name, wanted in block.prerequisites.items():
        yield from _dependency(node, (scale, "prerequisites", name), wanted)
    place = (scale, "stands_for")
    yield from absent(node, place, "no benchmark", block.stands_for, suite.benchmarks)
    for other in block.stands_for:
        if other in suite.benchmarks and getattr(suite.benchmarks[other].model, scale) is not None:
            yield Problem(node.find(place), f"'{other}' has its own block for {scale}")
    yield from absent(node, (scale, "arms"), "no arm", block.arms or (), suite.model.arms)
    yield from absent(node, (scale, "competent"), "no metric", block.competent, benchmark.model.metrics)
    for metric, bar in block.competent.items():
        if isinstance(bar, str):
            yield from absent(node, (scale, "competent", metric), "no arm", [bar], suite.model.arms)


def _problems(node: Node, path: tuple[str, ...], mistakes: Iterator[Mistake]) -> Iterator[Problem]:
    for mistake in mistakes:
        yield Problem(node.find((*path, *mistake.path)), mistake.message)


def _length(node: Node, path: tuple[str, ...], recipe: Collection[str]) -> Iterator[Problem]:
    if "steps" not in recipe and "epochs" not in recipe:
        yield Problem(node.find(path), "the recipe needs a length: 'steps' or 'epochs'")


def _dependency(node: Node, path: tuple[str, ...], wanted: Dependency) -> Iterator[Problem]:
    if wanted.weights is not None:
        if wanted.weights not in registry.entries("data"):
            yield Problem(node.find((*path, "weights")), registry.unknown("data", wanted.weights, "weights"))
        return
    task = registry.entries("task").get(wanted.task)
    if task is None:
        yield Problem(node.find((*path, "task")), registry.unknown("task", str(wanted.task)))
        return
    yield from _problems(node, (*path, "model"), part_mistakes("model", wanted.model, task))
    if wanted.data:
        yield from _problems(node, (*path, "data"), part_mistakes("data", wanted.data, task))
    yield from _problems(node, (*path, "recipe"), recipe_mistakes(wanted.recipe, task))
    yield from _length(node, (*path, "recipe"), wanted.recipe)


def _sources(benchmark: LoadedBenchmark) -> Iterator[Problem]:
    """Every leaf of a published recipe says where it is from."""
    paper, node = benchmark.model.paper, benchmark.node
    if paper is None:
        return
    listed = set(benchmark.model.sources)
    every = {f"{part}.{leaf}" for part in PARTS for leaf in getattr(paper, part).leaves()}
    leaves = every - {"data.name", "model.name"}
    for leaf in sorted(leaves):
        parents = {".".join(leaf.split(".")[:n]) for n in range(2, leaf.count(".") + 2)}
        if not parents & listed:
            place = node.find(("paper", *leaf.split(".")))
            yield Problem(place, f"'{leaf}' has no entry in 'sources:' (trust and place of this published value)")
    for source in sorted(listed):
        if not any(leaf == source or leaf.startswith(source + ".") for leaf in leaves):
            message = f"'{source}' is not a value of 'paper'; {choices(leaves, source)}"
            yield Problem(node.find(("sources", source)), message)


def _arms(suite: Suite) -> Iterator[Problem]:
    for name, arm in suite.model.arms.items():
        yield from _parent(suite, name)
        for slot in SLOTS:
            for mistake in slot_mistakes(slot, getattr(arm, slot)):
                yield Problem(suite.place("arms", name, slot, *mistake.path), mistake.message)


def _parent(suite: Suite, name: str) -> Iterator[Problem]:
    """An ablation's parent exists, and following parents never comes back."""
    arms = suite.model.arms
    parent = arms[name].parent
    if parent is None:
        return
    place = ("arms", name, "parent")
    yield from absent(suite.node, place, "no arm", [parent], arms)
    if arms[name].role != "ablation":
        message = f"'{name}' has a parent, but only arms of role 'ablation' change another arm"
        yield Problem(suite.node.find(place), message)
    seen: list[str] = []
    following: str | None = name
    while following in arms and following not in seen:
        seen.append(following)
        following = arms[following].parent
    if following == name:
        yield Problem(suite.node.find(place), f"parents go round in a circle: {' → '.join([*seen, name])}")


def _configurations(suite: Suite) -> Iterator[Problem]:
    """Configurations that do not resolve; a problem of several is reported for the first."""
    problems: dict[tuple[Place, str], Problem] = {}
    for name in suite.benchmarks:
        for scale in WRITTEN_SCALES:
            base = setting(suite, name, scale)
            if base is None:
                continue
            for arm in base.runs(suite.model.arms):
                try:
                    content(base, suite.model.arms[arm])
                except ConfigurationError as error:
                    for mistake in error.mistakes:
                        place = place_in_configuration(suite, base, arm, mistake.path)
                        message = f"on benchmark '{name}' at {scale}: {mistake.message}"
                        problems.setdefault((place, mistake.message), Problem(place, message))
    yield from problems.values()


def place_in_configuration(suite: Suite, base: Setting, arm: str, path: tuple[str | int, ...]) -> Place:
    """Source of a configuration's value: the arm, its ``set:``, the benchmark's, or its block."""
    if path[0] == "arm":
        return suite.place("arms", arm, *path[1:])
    for section, overrides in (
        (("arms", arm), suite.model.arms[arm].set),
        (("benchmarks", base.benchmark), suite.benchmarks[base.benchmark].used.set),
    ):
        key = override_at(path, overrides)
        if key is not None:
            return suite.place(*section, "set", key)
    return suite.benchmarks[base.served_by].node.find((base.scale, *path))
