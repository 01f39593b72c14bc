"""``ablate:`` in suite files: from one key an arm expands to the arms of an ablation design.

A factor has levels; each level is a set of changes to the arm. Every arm that a design needs is named after what it
changes (``adamp-no-projection`` for the level ``off``, ``adamp-delta-inf`` for any other), and an arm that exists with
equal content is used instead of a second one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from harness.base.yaml_nodes import Node
from harness.errors import Place, Problem, SuiteError, choices
from harness.suite.models import Ablate, Arm, SuiteFile
from harness.suite.values import Mistake, MistakesError
from harness.vocabulary import SLOTS, Role

MAX_ARMS = 64
"""Arms of one design: a factorial of six factors."""

FilePath = tuple[str | int, ...]
Combination = tuple[str | None, ...]
"""The level of each factor, None where it is as in the arm that is ablated."""


class DesignError(MistakesError):
    """A design that cannot be made; paths are those of the file, of :func:`changed` those below the changes."""


@dataclass(frozen=True, slots=True)
class Design:
    """One entry of ``ablate:``, where it stands, and the arm of each of its cells.

    ``parents`` has what each cell's arm is compared with.
    """

    arm: str
    path: FilePath
    kind: str
    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    cells: Mapping[Combination, str]
    parents: Mapping[Combination, str]
    benchmarks: tuple[str, ...] | None


def _entries(model: SuiteFile) -> Iterator[tuple[str, FilePath, Ablate]]:
    """Every entry: its arm, path in the file and content."""
    for arm, value in model.ablate.items():
        if isinstance(value, list):
            yield from ((arm, ("ablate", arm, number), entry) for number, entry in enumerate(value))
        else:
            yield arm, ("ablate", arm), value


def _cells(entry: Ablate) -> dict[Combination, Combination]:
    """The cells that a design runs, each with the one that it is compared with; the arm itself is all None."""
    levels = [tuple(value) for value in entry.factors.values()]
    whole: Combination = (None,) * len(levels)
    if entry.design == "factorial":
        return {cell: whole for cell in product(*((None, *names) for names in levels)) if cell != whole}
    if entry.design == "cumulative":
        first = [names[0] for names in levels]
        steps: list[Combination] = [
            tuple(first[i] if i < taken else None for i in range(len(first))) for taken in range(len(first) + 1)
        ]
        return dict(zip(steps[1:], steps, strict=False))
    return {
        tuple(level if i == place else None for i in range(len(levels))): whole
        for place, names in enumerate(levels)
        for level in names
    }


def _name(arm: str, factors: tuple[str, ...], cell: Combination) -> str:
    """A readable name: ``adamp-no-projection-delta-inf``."""
    changed = [
        f"no-{factor}" if level == "off" else f"{factor}-{level}"
        for factor, level in zip(factors, cell, strict=True)
        if level is not None
    ]
    return "-".join([arm, *changed])


def changed(arm: Arm, changes: Mapping[str, Any]) -> Arm:
    """An arm with changes: ``slot`` or ``slot.hyper_parameter`` (``slot.place.hyper_parameter``), else recipe keys.

    Raises:
        DesignError: a hyper-parameter of a slot that the arm does not fill.
    """
    slots: dict[str, Any] = {slot: getattr(arm, slot) for slot in SLOTS}
    recipe = dict(arm.set)
    for key, value in changes.items():
        slot, *rest = key.split(".")
        filled = _mapping(slots[slot]) if slot in SLOTS else None
        if slot not in SLOTS or (filled is not None and len(rest) > 1 and ("name" in filled or len(rest) > 2)):
            recipe[key] = value  # of the recipe, or of a family's hyper-parameter in it
        elif not rest:
            slots[slot] = value
        elif filled is None:
            problem = f"'{key}': the arm does not fill the slot '{slot}'; give '{slot}: {{name: …}}'"
            raise DesignError(Mistake((), problem))
        elif len(rest) == 1:
            slots[slot] = {**filled, rest[0]: value}
        elif rest[0] not in filled:
            raise DesignError(Mistake((), f"'{key}': the slot '{slot}' has no place '{rest[0]}'; {choices(filled)}"))
        else:
            slots[slot] = {**filled, rest[0]: {**(_mapping(filled[rest[0]]) or {}), rest[1]: value}}
    return Arm.model_construct(role=Role.ABLATION, about="", protocol=arm.protocol, parent=None, set=recipe, **slots)


def _mapping(slot: Any) -> dict[str, Any] | None:
    return slot if isinstance(slot, dict) or slot is None else {"name": slot}


def _content(arm: Arm) -> tuple[Any, ...]:
    """What decides whether two arms are one."""
    slots = {slot: _plain(getattr(arm, slot)) for slot in SLOTS}
    return repr(sorted(slots.items())), repr(sorted(arm.set.items(), key=lambda one: one[0]))


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return None if value is None else [("name", value)]
    if "name" in value:
        return sorted(value.items())
    return sorted((place, _plain(item)) for place, item in value.items())


def designs_of(model: SuiteFile) -> list[Design]:
    """Every design of a suite; the same before and after its arms are added.

    Raises:
        DesignError: a design that :func:`expand` refuses.
    """
    return [design for design, _ in _planned(model)]


def _planned(model: SuiteFile) -> list[tuple[Design, dict[str, Arm]]]:
    """Designs, and the arms that each adds."""
    arms = dict(model.arms)
    names = {_content(arm): name for name, arm in reversed(arms.items())}
    planned = []
    for arm, path, entry in _entries(model):
        if mistakes := list(_wrong(model, arm, path, entry)):
            raise DesignError(*mistakes)
        factors = tuple(entry.factors)
        cells: dict[Combination, str] = {(None,) * len(factors): arm}
        parents: dict[Combination, str] = {}
        added: dict[str, Arm] = {}
        for cell, before in _cells(entry).items():
            created = _made(model.arms[arm], entry, cell, path)
            name = names.get(_content(created)) or _name(arm, factors, cell)
            if name == arm:
                problem = f"the levels {_said(factors, cell)} change nothing"
                raise DesignError(Mistake(_at(path, factors, cell), problem))
            if _content(created) not in names:
                if name in arms:
                    problem = f"the design makes the arm '{name}', which exists with another content"
                    raise DesignError(Mistake(_at(path, factors, cell), problem))
                about = f"{arm} with {_said(factors, cell)}"
                created = created.model_copy(update={"parent": cells[before], "about": about})
                arms[name] = added[name] = created
                names[_content(created)] = name
            cells[cell], parents[cell] = name, cells[before]
        levels = tuple(tuple(value) for value in entry.factors.values())
        benchmarks = None if entry.benchmarks is None else tuple(entry.benchmarks)
        planned.append((Design(arm, path, entry.design, factors, levels, cells, parents, benchmarks), added))
    return planned


def _wrong(model: SuiteFile, arm: str, path: FilePath, entry: Ablate) -> Iterator[Mistake]:
    if arm not in model.arms:
        yield Mistake(path, f"no arm '{arm}' to ablate; {choices(model.arms, arm)}")
        return
    for name in entry.benchmarks or ():
        if name not in model.benchmarks:
            message = f"no benchmark '{name}' in this suite; {choices(model.benchmarks, name)}"
            yield Mistake((*path, "benchmarks"), message)
    for factor, levels in entry.factors.items():
        if len(levels) > 1 and entry.design in ("leave-one-out", "cumulative"):
            message = f"a {entry.design} design takes one level a factor, '{factor}' has {len(levels)}"
            yield Mistake((*path, "factors", factor), f"{message}; one-change and factorial take several")
    size = math.prod(len(levels) + 1 for levels in entry.factors.values())
    if entry.design == "factorial" and size > MAX_ARMS:
        message = f"a factorial of {size} arms; at most {MAX_ARMS} (use one-change or fewer factors)"
        yield Mistake((*path, "factors"), message)


def _made(arm: Arm, entry: Ablate, cell: Combination, path: FilePath) -> Arm:
    """The arm of a cell."""
    created = arm
    seen: dict[str, str] = {}
    for (factor, levels), level in zip(entry.factors.items(), cell, strict=True):
        if level is None:
            continue
        where = (*path, "factors", factor, level)
        for key in levels[level]:
            if key in seen:
                problem = f"'{key}' is changed by '{seen[key]}' and by '{factor}': their effects cannot be told apart"
                raise DesignError(Mistake((*where, key), problem))
            seen[key] = factor
        try:
            created = changed(created, levels[level])
        except DesignError as error:
            raise DesignError(*(mistake.below(*where) for mistake in error.mistakes)) from error
    return created


def _at(path: FilePath, factors: tuple[str, ...], cell: Combination) -> FilePath:
    """Where the last changed factor of a cell stands."""
    factor, level = next((f, at) for f, at in reversed(list(zip(factors, cell, strict=True))) if at is not None)
    return (*path, "factors", factor, str(level))


def _said(factors: tuple[str, ...], cell: Combination) -> str:
    return ", ".join(f"{factor} {level}" for factor, level in zip(factors, cell, strict=True) if level is not None)


def expand(model: SuiteFile, node: Node) -> Node:
    """The suite's node with the arms of its designs added, to the benchmarks that run them too.

    A design runs on its ``benchmarks``, else on those that run the arm itself. Added arms and their keys have the
    places of the levels that make them, so that later problems point there.

    Raises:
        SuiteError: a design names what does not exist, changes nothing, or is too large.
    """
    try:
        planned = _planned(model)
    except DesignError as error:
        raise SuiteError([Problem(node.find(m.path), m.message) for m in error.mistakes]) from error
    widened = node.value["arms"].copy()
    running = {
        name: list(used.arms) if used.arms is not None else list(model.arms) for name, used in model.benchmarks.items()
    }
    for design, added in planned:
        path = design.path
        for cell, name in design.cells.items():
            if name in added:
                widened.value[name] = _node(node, path, design, cell, added[name])
                widened.key_places[name] = node.find(_at(path, design.factors, cell))
        for name, listed in running.items():
            here = name in design.benchmarks if design.benchmarks is not None else design.arm in listed
            listed += [item for item in dict.fromkeys(design.cells.values()) if here and item not in listed]
    expanded = node.copy()
    expanded.value |= {"arms": widened, "benchmarks": _benchmarks(node.value["benchmarks"], running)}
    return expanded


def _node(node: Node, path: FilePath, design: Design, cell: Combination, arm: Arm) -> Node:
    """An added arm as the file could have it, each changed value at its own place."""
    place = node.find(_at(path, design.factors, cell))
    places: dict[str, Place] = {}
    for factor, level in zip(design.factors, cell, strict=True):
        if level is not None:
            changes = node.at((*path, "factors", factor, level))
            places |= {key: changes.key_places[key] for key in changes.value}
    value = arm.model_dump(exclude_defaults=True, include={*SLOTS, "set", "protocol", "parent", "about"})
    created = Node.of({"role": "ablation", **value}, place)
    for slot in SLOTS:
        for key, where in places.items():
            if key.split(".")[0] == slot and slot in created.value:
                _put(created, key.split("."), where)
    if recipe := created.value.get("set"):
        recipe.key_places |= {key: where for key, where in places.items() if key in recipe.value}
    return created


def _put(made: Node, steps: list[str], where: Place) -> None:
    """Give the key at a path its own place."""
    for step in steps:
        if not isinstance(made.value, dict) or step not in made.value:
            return
        made.key_places[step] = where
        made = made.value[step]


def _benchmarks(given: Node, running: Mapping[str, list[str]]) -> Node:
    created = given.copy()
    for name, arms in running.items():
        own = given.value[name]
        own = own.copy() if isinstance(own.value, dict) else Node(own.place, {})  # nothing after the name
        place = own.find(("arms",))
        own.value["arms"] = Node.of(arms, place)
        own.key_places.setdefault("arms", place)
        created.value[name] = own
    return created
