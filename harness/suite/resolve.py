"""From a suite to the complete content of each trial: scale over paper, arm over recipe, defaults filled in."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness import registry
from harness.errors import HarnessError, choices
from harness.suite.keys import defaults
from harness.suite.load import LoadedBenchmark, Suite
from harness.suite.models import SLOTS, Arm, Prerequisite, ScaleBlock
from harness.trial.recipe import COMMON_KEYS
from harness.vocabulary import Kind

SMOKE_STEPS = 4


class CellError(HarnessError):
    """A cell's content does not resolve; ``path`` says where below the benchmark or the arm."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        self.path = path
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Setting:
    """A benchmark at a scale, before an arm fills its slots.

    ``stand_in`` lists what the scale changed against ``paper``: ``data:real``, ``data:generated``, ``model``,
    ``recipe``; empty means as published.
    """

    benchmark: str
    scale: str
    task: str
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    recipe: Mapping[str, Any]
    stand_in: tuple[str, ...]
    about: str
    served_by: str
    competent: Mapping[str, float]
    arms: tuple[str, ...] | None
    prerequisites: Mapping[str, Prerequisite] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """All that a trial computes from, without a seed: plain data."""

    task: str
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    recipe: Mapping[str, Any]
    slots: Mapping[str, Any]


def block_of(benchmark: LoadedBenchmark, scale: str) -> ScaleBlock | None:
    """The benchmark's own block for a scale; ``smoke`` is derived from ``mini``."""
    found: ScaleBlock | None = getattr(benchmark.model, "mini" if scale == "smoke" else scale)
    return found


def served_by(suite: Suite, name: str, scale: str) -> str | None:
    """The benchmark whose block serves this one at a scale: itself, or one that says ``stands_for`` it."""
    if block_of(suite.benchmarks[name], scale) is not None:
        return name
    for other, benchmark in suite.benchmarks.items():
        block = block_of(benchmark, scale)
        if block is not None and name in block.stands_for:
            return other
    return None


def setting(suite: Suite, name: str, scale: str) -> Setting | None:
    """A benchmark at a scale; None where it has no block there and none stands for it."""
    server_name = served_by(suite, name, scale)
    if server_name is None:
        return None
    server = suite.benchmarks[server_name]
    block = block_of(server, scale)
    assert block is not None
    paper = server.model.paper or ScaleBlock()
    is_paper = scale == "paper"
    data = dict(block.data) if is_paper else _replaced(paper.data, block.data)
    model = dict(block.model) if is_paper else _replaced(paper.model, block.model)
    recipe = dict(block.recipe) if is_paper else deep_merge(paper.recipe, block.recipe)
    if not is_paper and ("steps" in block.recipe) != ("epochs" in block.recipe):
        recipe.pop("epochs" if "steps" in block.recipe else "steps", None)  # a length replaces a length
    stand_in: list[str] = []
    if not is_paper:
        stand_in += [f"data:{_origin(data)}"] if data != paper.data else []
        stand_in += ["model"] if model != paper.model else []
        stand_in += ["recipe"] if recipe != paper.recipe else []
    if scale == "smoke":
        recipe["max_steps"] = min(SMOKE_STEPS, recipe.get("max_steps") or SMOKE_STEPS)
        recipe["evaluations"] = 1
        stand_in += [] if "recipe" in stand_in else ["recipe"]
    for key, value in suite.benchmarks[name].used.set.items():
        recipe, data, model = _with(key, value, recipe, data, model)
    arms = block.arms if block.arms is not None else suite.benchmarks[name].used.arms
    return Setting(
        name,
        scale,
        server.model.task,
        data,
        model,
        recipe,
        tuple(stand_in),
        block.about,
        server_name,
        block.competent,
        None if arms is None else tuple(arms),
        {**paper.prerequisites, **block.prerequisites},
    )


def _origin(data: Mapping[str, Any]) -> str:
    entry = registry.entries("data").get(str(data.get("name")))
    origin = entry.card["origin"] if entry else "real"
    return "generated" if origin == "generated" else "real"


def _replaced(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Another source or model replaces the whole part; the same one has single keys overridden."""
    if "name" in over and over["name"] != base.get("name"):
        return dict(over)
    return deep_merge(base, over)


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = deep_merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _with(
    key: str, value: Any, recipe: Mapping[str, Any], data: Mapping[str, Any], model: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """One dotted override: a recipe key, or ``data.KEY`` or ``model.KEY``."""
    parts = {"recipe": copy.deepcopy(dict(recipe)), "data": dict(data), "model": dict(model)}
    head, *rest = key.split(".")
    room, steps = (head, rest) if head in ("data", "model", "recipe") and rest else ("recipe", [head, *rest])
    target = parts[room]
    for step in steps[:-1]:
        below = target.setdefault(step, {})
        if not isinstance(below, dict):
            raise CellError(f"'{key}': '{step}' is not a mapping", ("set", key))
        target = below
    target[steps[-1]] = value
    return parts["recipe"], parts["data"], parts["model"]


def content(base: Setting, arm: Arm, overrides: Mapping[str, Any] | None = None) -> Content:
    """What an arm's trial computes from: defaults, recipe, scale, ``set:``, then the command line's overrides.

    Raises:
        CellError: a slot that the task lacks or that nothing fills, or hyper-parameters that its method does not take.
    """
    recipe, data, model = dict(base.recipe), dict(base.data), dict(base.model)
    for key, value in {**arm.set, **(overrides or {})}.items():
        recipe, data, model = _with(key, value, recipe, data, model)
    task = registry.entry("task", base.task)
    recipe = {**defaults(COMMON_KEYS), **defaults(task.keys), **recipe}
    slots = _filled(task, arm, recipe)
    return Content(base.task, _complete("data", data), _complete("model", model), recipe, slots)


def prerequisite_content(base: Setting, wanted: Prerequisite) -> Content:
    """What a prerequisite's trial computes from: its own parts, the benchmark's data where it names none."""
    smoke = {"max_steps": SMOKE_STEPS, "evaluations": 1} if base.scale == "smoke" else {}
    data = wanted.data or dict(base.data)
    own = Setting(
        base.benchmark, base.scale, wanted.task, data, wanted.model, {**wanted.recipe, **smoke}, base.stand_in,
        wanted.about, base.served_by, {}, None,
    )  # fmt: skip
    return content(own, Arm(role="baseline"))


def needed(base: Setting, slots: Mapping[str, Any]) -> dict[str, Prerequisite]:
    """The prerequisites that an arm needs: those that its methods ask for, and those that every arm starts from."""
    asked: set[str] = set()
    for filled in slots.values():
        for one in [filled] if "name" in filled else filled.values():
            asked.update(registry.entry("method", one["name"]).card["needs"])
    return {name: wanted for name, wanted in base.prerequisites.items() if wanted.always or name in asked}


def _complete(kind: Kind, part: Mapping[str, Any]) -> dict[str, Any]:
    found = registry.entry(kind, str(part.get("name")))
    return {"name": found.name, **defaults(found.keys), **{k: v for k, v in part.items() if k != "name"}}


def _filled(task: registry.Entry, arm: Arm, recipe: Mapping[str, Any]) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    valid = list(task.card["slots"])
    for slot in SLOTS:
        given = getattr(arm, slot)
        if given is not None and slot not in valid:
            raise CellError(f"the task '{task.name}' has no slot '{slot}'; {choices(valid, slot)}", (slot,))
        value = given if given is not None else recipe["slots"].get(slot)
        if value is None or slot not in valid:
            continue
        if isinstance(value, dict) and "name" not in value:
            filled[slot] = {place: method_of(slot, one, recipe) for place, one in sorted(value.items())}
        else:
            filled[slot] = method_of(slot, value, recipe)
    missing = [slot for slot in task.card.get("slots", ()) if slot == "optimizer" and slot not in filled]
    if missing:
        raise CellError(
            f"the slot '{missing[0]}' is open: neither the arm nor the recipe's 'slots:' fills it", (missing[0],)
        )
    return filled


def method_of(slot: str, value: str | Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A method with every hyper-parameter: its defaults, the recipe's for its family, for it, then the arm's own."""
    own = {"name": value} if isinstance(value, str) else dict(value)
    found = registry.entry("method", str(own.pop("name", None)))
    if found.card["slot"] != slot:
        raise CellError(f"the method '{found.name}' fills the slot '{found.card['slot']}', not '{slot}'", (slot,))
    shared = recipe.get(slot) or {}
    given: dict[str, Any] = {}
    for name in (found.card["family"], found.name):
        given.update(shared.get(name) or {})
    given.update(own)
    unknown = set(given) - set(found.keys)
    if unknown:
        name = sorted(unknown)[0]
        raise CellError(f"the method '{found.name}' takes no '{name}'; {choices(found.keys, name)}", (slot, name))
    complete = {**defaults(found.keys), **given}
    absent = [name for name in found.card["required"] if complete.get(name) is None]
    if absent and slot != "objective":  # an objective requires shapes only, and the task knows those
        raise CellError(f"the method '{found.name}' needs '{absent[0]}'", (slot,))
    return {"name": found.name, **complete}
