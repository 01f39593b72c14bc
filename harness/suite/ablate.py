"""Designs of ``ablate:`` in suite files: from one key an arm expands to the arms of an ablation design.

A factor has levels; each level is a set of changes to the arm. Generated arms are named after their
changes (``adamp-no-projection`` for the level ``off``, ``adamp-delta-inf`` for any other). An existing arm with equal
content is used instead of a second one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from harness.base.yaml_nodes import Node
from harness.errors import Place, Problem, SuiteError, choices
from harness.suite.models import Ablate, Arm, SuiteFile
from harness.suite.strict import Settings
from harness.suite.values import Mistake, MistakesError
from harness.vocabulary import SLOTS

MAX_ARMS = 64
"""Arms of one design: a factorial of six factors."""

FilePath = tuple[str | int, ...]
Combination = tuple[str | None, ...]
"""The level of each factor, None where it is as in the arm that is ablated."""
Levels = Mapping[str, tuple[FilePath, ...]]
"""By generated arm the paths of the levels that make it."""


class DesignError(MistakesError):
    """An invalid design; paths are those of the file, of :func:`changed` those below the changes."""


@dataclass(frozen=True, slots=True)
class Design:
    """One entry of ``ablate:``.

    Attributes:
        path: its place in the file.
        parents: the arm to compare each arm with.
    """

    arm: str
    path: FilePath
    kind: str
    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    cells: Mapping[Combination, str]
    parents: Mapping[Combination, str]
    benchmarks: tuple[str, ...] | None

    def level_paths(self, levels: Combination) -> tuple[FilePath, ...]:
        changed = zip(self.factors, levels, strict=True)
        return tuple((*self.path, "factors", factor, level) for factor, level in changed if level is not None)


def _entries(model: SuiteFile) -> Iterator[tuple[str, FilePath, Ablate]]:
    for arm, entries in model.ablate.items():
        if isinstance(entries, list):
            yield from ((arm, ("ablate", arm, number), entry) for number, entry in enumerate(entries))
        else:
            yield arm, ("ablate", arm), entries


def _combinations(entry: Ablate) -> dict[Combination, Combination]:
    """Combinations that a design runs, each with the one to compare with."""
    levels = [tuple(names) for names in entry.factors.values()]
    whole: Combination = (None,) * len(levels)
    if entry.design == "factorial":
        return {chosen: whole for chosen in product(*((None, *names) for names in levels)) if chosen != whole}
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


def _name(arm: str, factors: tuple[str, ...], levels: Combination) -> str:
    changed = [
        f"no-{factor}" if level == "off" else f"{factor}-{level}"
        for factor, level in zip(factors, levels, strict=True)
        if level is not None
    ]
    return "-".join([arm, *changed])


def changed(arm: Arm, changes: Settings) -> Arm:
    """Apply changes: ``slot``, ``slot.hyper_parameter``, ``slot.place.hyper_parameter``, else recipe keys.

    Raises:
        DesignError: a hyper-parameter of a slot that the arm does not fill.
    """
    slots: dict[str, str | Settings | None] = {slot: getattr(arm, slot) for slot in SLOTS}
    recipe = Settings(arm.set)
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
            slots[slot] = Settings({**filled, rest[0]: value})
        elif rest[0] not in filled:
            raise DesignError(Mistake((), f"'{key}': the slot '{slot}' has no place '{rest[0]}'; {choices(filled)}"))
        else:
            slots[slot] = Settings({**filled, rest[0]: {**(_mapping(filled[rest[0]]) or {}), rest[1]: value}})
    plain = {"role": "ablation", **{slot: value for slot, value in slots.items() if value is not None}}
    if recipe:
        plain["set"] = recipe
    if arm.protocol != "published":
        plain["protocol"] = arm.protocol
    try:
        return Arm.model_validate(plain)
    except ValidationError as error:
        raise DesignError(
            *(Mistake((), f"{detail['loc'][0]}: {detail['msg']}") for detail in error.errors())
        ) from error


def _mapping(slot: Any) -> Settings | None:
    return None if slot is None else Settings(slot if isinstance(slot, dict) else {"name": slot})


def _content(arm: Arm) -> tuple[str, str]:
    """The slots and overrides that decide whether two arms are equal."""
    slots = {slot: _sorted(getattr(arm, slot)) for slot in SLOTS}
    return repr(sorted(slots.items())), repr(sorted(arm.set.items(), key=lambda item: item[0]))


def _sorted(value: Any) -> Any:
    if not isinstance(value, dict):
        return None if value is None else [("name", value)]
    if "name" in value:
        return sorted(value.items())
    return sorted((place, _sorted(method)) for place, method in value.items())


def designs_of(model: SuiteFile) -> list[Design]:
    """Every design of a suite; the same before and after its arms are added.

    Raises:
        DesignError: a design that :func:`expand` rejects.
    """
    return [design for design, _ in _planned(model)]


def _planned(model: SuiteFile) -> list[tuple[Design, dict[Combination, Arm]]]:
    """Designs, and the arms that each adds."""
    arms = dict(model.arms)
    names = {_content(arm): name for name, arm in reversed(arms.items())}
    planned = []
    for arm, path, entry in _entries(model):
        if mistakes := list(_mistakes(model, arm, path, entry)):
            raise DesignError(*mistakes)
        factors = tuple(entry.factors)
        levels = tuple(tuple(names_of_levels) for names_of_levels in entry.factors.values())
        cells: dict[Combination, str] = {(None,) * len(factors): arm}
        parents: dict[Combination, str] = {}
        benchmarks = None if entry.benchmarks is None else tuple(entry.benchmarks)
        design = Design(arm, path, entry.design, factors, levels, cells, parents, benchmarks)
        added: dict[Combination, Arm] = {}
        for chosen, before in _combinations(entry).items():
            generated = _changed_arm(model.arms[arm], entry, chosen, path)
            name = names.get(_content(generated)) or _name(arm, factors, chosen)
            levels_text = ", ".join(f"{path[-2]} {path[-1]}" for path in design.level_paths(chosen))
            last = design.level_paths(chosen)[-1]
            if name == arm:
                raise DesignError(Mistake(last, f"the levels {levels_text} change nothing"))
            if _content(generated) not in names:
                if name in arms:
                    problem = f"the design generates the arm '{name}', which exists with other content"
                    raise DesignError(Mistake(last, problem))
                about = f"{arm} with {levels_text}"
                arms[name] = added[chosen] = generated.model_copy(update={"parent": cells[before], "about": about})
                names[_content(generated)] = name
            cells[chosen], parents[chosen] = name, cells[before]
        planned.append((design, added))
    return planned


def _mistakes(model: SuiteFile, arm: str, path: FilePath, entry: Ablate) -> Iterator[Mistake]:
    if arm not in model.arms:
        yield Mistake(path, f"unknown arm '{arm}' to ablate; {choices(model.arms, arm)}")
        return
    for name in entry.benchmarks or ():
        if name not in model.benchmarks:
            message = f"unknown benchmark '{name}'; {choices(model.benchmarks, name)}"
            yield Mistake((*path, "benchmarks"), message)
    for factor, levels in entry.factors.items():
        if len(levels) > 1 and entry.design in ("leave-one-out", "cumulative"):
            message = f"a {entry.design} design takes one level a factor, '{factor}' has {len(levels)}"
            yield Mistake((*path, "factors", factor), f"{message}; one-change and factorial take several")
    size = math.prod(len(levels) + 1 for levels in entry.factors.values())
    if entry.design == "factorial" and size > MAX_ARMS:
        message = f"a factorial of {size} arms; at most {MAX_ARMS} (use one-change or fewer factors)"
        yield Mistake((*path, "factors"), message)


def _changed_arm(arm: Arm, entry: Ablate, chosen: Combination, path: FilePath) -> Arm:
    result = arm
    seen: dict[str, str] = {}
    for (factor, levels), level in zip(entry.factors.items(), chosen, strict=True):
        if level is None:
            continue
        where = (*path, "factors", factor, level)
        for key in levels[level]:
            if key in seen:
                problem = f"'{key}' is changed by '{seen[key]}' and '{factor}': their effects cannot be separated"
                raise DesignError(Mistake((*where, key), problem))
            seen[key] = factor
        try:
            result = changed(result, levels[level])
        except DesignError as error:
            raise DesignError(*(mistake.below(*where) for mistake in error.mistakes)) from error
    return result


def expand(model: SuiteFile, node: Node) -> tuple[SuiteFile, Levels]:
    """Add the arms of all designs to a suite and its benchmarks.

    A design runs on its ``benchmarks``, else on those that run the arm itself.

    Raises:
        SuiteError: a design names an unknown arm or benchmark, changes nothing, or is too large.
    """
    try:
        planned = _planned(model)
    except DesignError as error:
        raise SuiteError([Problem(node.find(m.path), m.message) for m in error.mistakes]) from error
    arms, levels = dict(model.arms), {}
    running = {
        name: list(used.arms) if used.arms is not None else list(model.arms) for name, used in model.benchmarks.items()
    }
    for design, added in planned:
        for chosen, arm in added.items():
            name = design.cells[chosen]
            arms[name], levels[name] = arm, design.level_paths(chosen)
        for name, listed in running.items():
            here = name in design.benchmarks if design.benchmarks is not None else design.arm in listed
            listed += [arm for arm in dict.fromkeys(design.cells.values()) if here and arm not in listed]
    benchmarks = {name: used.model_copy(update={"arms": running[name]}) for name, used in model.benchmarks.items()}
    return model.model_copy(update={"arms": arms, "benchmarks": benchmarks}), levels


def place_of_change(node: Node, levels: tuple[FilePath, ...], path: FilePath) -> Place:
    """Place of the change behind a generated arm's value."""
    for level in reversed(levels):
        for key in node.at(level).value:
            steps = [key] if path[:1] == ("set",) else key.split(".")
            value_path = path[1:] if path[:1] == ("set",) else path
            if value_path and all(step == other for step, other in zip(value_path, steps, strict=False)):
                return node.find((*level, key))
    return node.find(levels[-1])
