"""Complete content of each configuration: scale over paper, arm over recipe, defaults."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import registry
from harness.data.locate import model_identity
from harness.errors import choices
from harness.registry.metadata import TaskMetadata
from harness.suite.load import LoadedBenchmark, Suite
from harness.suite.models import Arm, Dependency, ScaleBlock
from harness.suite.programs import program_mistakes
from harness.suite.strict import Settings
from harness.suite.values import (
    Mistake,
    MistakesError,
    defaults,
    fillings,
    mistakes,
    part_mistakes,
    recipe_mistakes,
    slot_mistakes,
)
from harness.trial.options import Values
from harness.trial.recipe import COMMON_KEYS
from harness.trial.spec import FilledSlots, Part
from harness.vocabulary import SLOTS, Kind, Role

SMOKE_STEPS = 4
PARTS = ("data", "model", "recipe")
LENGTHS = {"steps": "epochs", "epochs": "steps"}
"""Each length of a training with the one that it replaces."""


class ConfigurationError(MistakesError):
    """Invalid content; paths begin with ``data``, ``model`` or ``recipe``, or with ``arm`` for values of the arm."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A benchmark at a scale, before an arm fills its slots.

    ``stand_in`` lists what the scale changed against ``paper``: ``data:real``, ``data:generated``, ``model``,
    ``recipe``; empty means as published. ``published_data`` is the paper's data set, with which a title begins.
    ``own``: no paper has this benchmark, so that nothing here is a stand-in.
    """

    benchmark: str
    scale: str
    task: str
    data: Settings
    model: Settings
    recipe: Settings
    stand_in: tuple[str, ...]
    about: str
    served_by: str
    competent: Mapping[str, float | str]
    arms: tuple[str, ...] | None
    prerequisites: Mapping[str, Dependency] = field(default_factory=dict)
    published_data: str = ""
    own: bool = False

    @property
    def stand_in_name(self) -> str:
        """Short name of the stand-in: ``noisy 8×8 digits, not ImageNet``; empty as published."""
        return self.named(self.stand_in)

    def named(self, parts: Collection[str]) -> str:
        """Short name of changed ``parts`` of the paper's setting."""
        if not parts:
            return ""
        clauses = re.split(r"[,;]\s", self.about or str(self.data.get("name", "")))
        data, published = clauses[0], self.published_data
        if any(part.startswith("data:") for part in parts) and data != published:
            return f"{data}, not {'all of ' if data.startswith(published) else ''}{published}"
        *changed, last = dict.fromkeys(part.partition(":")[0] for part in parts)
        what = f"{', '.join(changed)} and {last}" if changed else last
        return f"not the paper's {what}" + f": {', '.join(clauses[:2])}" * bool(self.about)

    @property
    def elsewhere(self) -> bool:
        """True if its results are imported and nothing runs here."""
        return registry.entry("task", self.task).metadata.elsewhere

    def runs(self, arms: Iterable[str]) -> tuple[str, ...]:
        """The arms that run on it: those that it lists, else all of the suite's."""
        return self.arms if self.arms is not None else tuple(arms)

    def mistakes(self) -> Iterator[Mistake]:
        """Mistakes of its data, model and recipe, each path beginning there."""
        task = registry.entry("task", self.task)
        yield from (mistake.below("data") for mistake in part_mistakes("data", self.data, task))
        yield from (mistake.below("model") for mistake in part_mistakes("model", self.model, task))
        yield from (mistake.below("recipe") for mistake in recipe_mistakes(self.recipe, task))
        if task.metadata.program:
            yield from (mistake.below("recipe") for mistake in program_mistakes(self.recipe))

    def overridden(self, overrides: Settings) -> Setting:
        """Apply dotted overrides; a length replaces a length."""
        if not overrides:
            return self
        parts: dict[str, Settings] = {part: copy.deepcopy(getattr(self, part)) for part in PARTS}
        for key, value in overrides.items():
            part, *above, last = path_of(key)
            target: Settings = parts[part]
            for step in above:
                if not isinstance(target.get(step), dict):
                    target[step] = {}  # where a value stood, the check finds a mapping
                target = target[step]
            target[last] = value
            if part == "recipe" and not above and last in LENGTHS and value is not None:
                target.pop(LENGTHS[last], None)
        return replace(self, data=parts["data"], model=parts["model"], recipe=parts["recipe"])


@dataclass(frozen=True, slots=True)
class Content:
    """All that a trial computes from, without a seed; ``program`` identifies the code of a program that is a trial."""

    task: str
    data: Part
    model: Part
    recipe: Settings
    slots: FilledSlots
    program: str = ""


def path_of(key: str) -> tuple[str, ...]:
    """The part that a dotted override changes, and the steps below it."""
    steps = tuple(key.split("."))
    return steps if steps[0] in PARTS and len(steps) > 1 else ("recipe", *steps)


def override_at(path: Sequence[str | int], overrides: Iterable[str]) -> str | None:
    """The last override that set the value at a path; None where none did."""
    for key in reversed(list(overrides)):
        if all(step == other for step, other in zip(path, path_of(key), strict=False)):
            return key
    return None


def block_of(benchmark: LoadedBenchmark, scale: str) -> ScaleBlock | None:
    """The benchmark's own block for a scale; ``smoke`` is derived from ``mini``."""
    return getattr(benchmark.model, "mini" if scale == "smoke" else scale)


def served_by(suite: Suite, name: str, scale: str) -> str | None:
    """The benchmark whose block serves this one: itself, or one with it in ``stands_for``."""
    if block_of(suite.benchmarks[name], scale) is not None:
        return name
    for other, benchmark in suite.benchmarks.items():
        block = block_of(benchmark, scale)
        if block is not None and name in block.stands_for:
            return other
    return None


def setting(suite: Suite, name: str, scale: str) -> Setting | None:
    """A benchmark at a scale; None without a block that serves it."""
    server_name = served_by(suite, name, scale)
    if server_name is None:
        return None
    server = suite.benchmarks[server_name]
    block = block_of(server, scale)
    assert block is not None
    paper = server.model.paper or ScaleBlock()
    data, model = paper.data.replaced(block.data), paper.model.replaced(block.model)
    recipe = paper.recipe.merged(block.recipe)
    if ("steps" in block.recipe) != ("epochs" in block.recipe):
        recipe.pop("epochs" if "steps" in block.recipe else "steps", None)  # a length replaces a length
    source = registry.entries("data").get(str(data.name))
    origin = "generated" if source and source.metadata.origin == "generated" else "real"
    differs = {f"data:{origin}": data != paper.data, "model": model != paper.model}
    differs["recipe"] = recipe != paper.recipe or scale == "smoke"
    own = _own(suite, server)
    if own:  # nothing is published that it could stand in for
        differs = {"recipe": scale == "smoke"}
    if scale == "smoke":
        recipe["max_steps"] = min(SMOKE_STEPS, recipe.get("max_steps") or SMOKE_STEPS)
        recipe["evaluations"] = 1
    used = suite.benchmarks[name].used
    arms = block.arms if block.arms is not None else used.arms
    return Setting(
        benchmark=name,
        scale=scale,
        task=server.model.task,
        data=data,
        model=model,
        recipe=recipe,
        stand_in=tuple(part for part, other in differs.items() if other),
        about=block.about,
        served_by=server_name,
        competent=block.competent,
        arms=None if arms is None else tuple(arms),
        prerequisites={**paper.prerequisites, **block.prerequisites},
        published_data=suite.benchmarks[name].model.title.partition(",")[0],
        own=own,
    ).overridden(used.set)


def _own(suite: Suite, benchmark: LoadedBenchmark) -> bool:
    """True without a paper: the suite names none, no setting is published, no claim has a number."""
    if suite.model.paper is not None or benchmark.model.paper is not None:
        return False
    printed = (fact.published for fact in suite.facts.values())
    return not any(item.method is not None or item.difference is not None for item in printed)


def stand_in_names(names: Iterable[str]) -> str:
    """Distinct names of stand-ins in one phrase; those after the second are counted."""
    existing = list(dict.fromkeys(filter(None, names)))
    more = f" and {len(existing) - 2} more" if len(existing) > 2 else ""
    return "; ".join(existing[:2]) + more


def content(base: Setting, arm: Arm, overrides: Values | None = None) -> Content:
    """Resolve the content of an arm's trials: defaults, recipe, scale, ``set:``, then ``overrides``.

    Raises:
        ConfigurationError: unknown or wrong values, or a slot that the task lacks or that nothing fills.
    """
    cell = base if base.elsewhere else base.overridden(Settings({**arm.set, **(overrides or {})}))
    if problems := list(cell.mistakes()):
        raise ConfigurationError(*problems)
    task = registry.entry("task", cell.task)
    recipe = Settings({**defaults(COMMON_KEYS), **defaults(task.options), **cell.recipe})
    data, model = _complete("data", cell.data), _complete("model", cell.model)
    if cell.elsewhere:
        return Content(cell.task, data, model, recipe, FilledSlots())
    # the files that it starts from are part of what it computes
    model = Part(model.name, Settings({**model.values, **model_identity(model)}))
    return Content(cell.task, data, model, recipe, _filled(task, arm, recipe))


def prerequisite_content(base: Setting, wanted: Dependency) -> Content:
    """Resolve a dependency's content: its own parts, with the benchmark's data where it names none."""
    recipe = Settings(wanted.recipe)
    if base.scale == "smoke":
        recipe.update(max_steps=SMOKE_STEPS, evaluations=1)
    cell = replace(base, task=wanted.task, data=wanted.data or base.data, model=wanted.model, recipe=recipe)
    return content(cell, Arm(role=Role.BASELINE))


def needed(base: Setting, slots: FilledSlots) -> dict[str, Dependency]:
    """Dependencies of an arm: those of its methods, and those that every arm starts from."""
    required = {need for method in slots for need in registry.entry("method", method.name).metadata.needs}
    return {name: wanted for name, wanted in base.prerequisites.items() if wanted.always or name in required}


def _complete(kind: Kind, part: Settings) -> Part:
    entry = registry.entry(kind, str(part.name))
    return Part(entry.name, Settings({**defaults(entry.options), **part.options}))


def _filled(task: registry.Entry[TaskMetadata], arm: Arm, recipe: Settings) -> FilledSlots:
    filled: dict[str, Part] = {}
    valid = list(task.metadata.slots)
    for slot in SLOTS:
        path: tuple[str, ...] = ("arm", slot)
        value = getattr(arm, slot)
        if value is not None and slot not in valid:
            problem = f"the task '{task.name}' has no slot '{slot}'; {choices(valid, slot)}"
            raise ConfigurationError(Mistake(path, problem))
        if value is None:
            value, path = recipe["slots"].get(slot), ("recipe", "slots", slot)
        if value is not None and slot in valid:
            for place, method in sorted(fillings(value), key=lambda filling: filling[0]):
                filled[".".join((slot, *place))] = _method(slot, method, (*path, *place), recipe)
    if "optimizer" in valid and "optimizer" not in filled:
        message = "the slot 'optimizer' is open: neither the arm nor the recipe's 'slots:' fills it"
        raise ConfigurationError(Mistake(("arm", "optimizer"), message))
    return FilledSlots(filled)


def _method(slot: str, method: Any, path: tuple[str, ...], recipe: Settings) -> Part:
    """A method with defaults, shared values, then its own values."""
    problems = [mistake.below(*path) for mistake in slot_mistakes(slot, method)]
    if problems:
        raise ConfigurationError(*problems)
    own = Settings({"name": method} if isinstance(method, str) else method)
    entry = registry.entry("method", str(own.name))
    complete = defaults(entry.options)
    for group, values in shared_values(recipe, slot, entry).items():
        of_method = mistakes(values, entry.options, "hyper-parameter", f"the method '{entry.name}'")
        problems += [mistake.below("recipe", slot, group) for mistake in of_method]
        complete.update(values)
    if problems:
        raise ConfigurationError(*problems)
    complete.update(own.options)
    absent = [name for name in entry.metadata.required if complete.get(name) is None]
    if absent and slot != "objective":  # an objective requires shapes only, and the task knows those
        raise ConfigurationError(Mistake(path, f"the method '{entry.name}' needs '{absent[0]}'"))
    return Part(entry.name, complete)


def shared_values(recipe: Settings, slot: str, method: registry.Entry[Any]) -> dict[str, Settings]:
    """Values of a recipe for a method in a slot: of its family, then of the method itself."""
    groups = {
        group: Settings((recipe.get(slot) or {}).get(group) or {}) for group in (method.metadata.family, method.name)
    }
    if method.module.endswith(".py"):  # a user's class shares with a family what it takes
        family = groups[method.metadata.family]
        shared = {key: value for key, value in family.items() if key in method.options}
        groups[method.metadata.family] = Settings(shared)
    return groups
