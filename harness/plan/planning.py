"""From a suite to the trials that it needs: cells × seeds, each with an identity made of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.checksums import sha256_of
from harness.data.locate import data_identity
from harness.errors import HarnessError, choices
from harness.plan.fingerprint import fingerprint, roots_of
from harness.plan.imported import Imported
from harness.plan.programs import located, with_programs, without_places
from harness.suite.cells import (
    CellError,
    Content,
    Setting,
    content,
    needed,
    override_at,
    prerequisite_content,
    served_by,
    setting,
)
from harness.suite.load import Suite
from harness.suite.models import Arm, Binding
from harness.trial.recipe import identity_of
from harness.trial.spec import Part, Start, TrialSpec
from harness.vocabulary import Scale


@dataclass(frozen=True, slots=True)
class Trial:
    """One benchmark, arm, seed and scale: the unit that runs, is stored and is reused.

    ``suite``, ``benchmark`` and ``arm`` are the first names under which the plan has it; ``spec`` is the whole
    content, from which a worker can run it.
    """

    trial_id: str
    spec_id: str
    fingerprint: str
    suite: str
    benchmark: str
    arm: str
    seed: int
    scale: str
    stand_in: tuple[str, ...]
    spec: TrialSpec = field(repr=False)

    @property
    def needs(self) -> dict[str, str]:
        """The trials whose products it starts from, by name."""
        return {name: start.trial_id for name, start in self.spec.prerequisites.items() if start.trial_id is not None}

    @property
    def label(self) -> str:
        """How people read it."""
        return f"{self.benchmark}/{self.arm}/{self.seed}"


@dataclass(frozen=True, slots=True)
class Link:
    """A name under which a plan asks for a trial; equal content under two names is one trial."""

    benchmark: str
    arm: str
    seed: int
    trial_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a suite needs at a scale.

    Attributes:
        trials: each once, pairs of one seed side by side, a prerequisite before what needs it.
        links: every (benchmark, arm, seed) with its trial; prerequisites are no cells and have none.
        settings: the resolved benchmarks by name.
        absent: benchmarks that have no block at this scale.
        arms: every arm of the suite and of the command line by name, those included that no cell runs.
        imported: which of its trials are results from elsewhere; None: no such trial is in it.
    """

    suite: str
    scale: str
    trials: tuple[Trial, ...]
    links: tuple[Link, ...]
    settings: Mapping[str, Setting]
    absent: tuple[str, ...]
    arms: Mapping[str, Arm]
    imported: Imported | None = None

    def trial_ids(self, benchmark: str, arm: str) -> dict[int, str]:
        """The trials of a cell by seed."""
        return {link.seed: link.trial_id for link in self.links if (link.benchmark, link.arm) == (benchmark, arm)}

    def identities(self) -> list[dict[str, Any]]:
        """Every trial's identity, with the names under which the plan has it; prerequisites have none of their own."""
        names: dict[str, list[str]] = {}
        for link in self.links:
            names.setdefault(link.trial_id, []).append(f"{link.benchmark}/{link.arm}")
        return [
            {"trial_id": trial.trial_id, "spec_id": trial.spec_id, "fingerprint": trial.fingerprint, "seed": trial.seed,
             "label": trial.label, "cells": names.get(trial.trial_id, [])}
            for trial in self.trials
        ]  # fmt: skip

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """Every (benchmark, arm), in order."""
        return tuple(dict.fromkeys((link.benchmark, link.arm) for link in self.links))


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a suite is asked for.

    Attributes:
        scale: a :class:`~harness.vocabulary.Scale`.
        benchmarks: None means all of the suite.
        arms: None means all that a benchmark runs; ``added_arms`` run in any case.
        seeds: None means the suite's own numbers.
        cap: the largest number of seeds of a cell, where more than ``seeds`` may be bought one by one.
        bought: seeds bought so far, by (benchmark, arm).
        overrides: values that replace those of every arm, by dotted key (``batch_size``, ``data.KEY``,
            ``optimizer.adam.lr``).
        added_arms: arms beside the suite's, by name; they run on every benchmark.
    """

    scale: str = "mini"
    benchmarks: tuple[str, ...] | None = None
    arms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    cap: int | None = None
    bought: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    added_arms: Mapping[str, Arm] = field(default_factory=dict)


def make_plan(suite: Suite, selection: Selection | None = None) -> Plan:
    """Plan a suite.

    Raises:
        HarnessError: a scale, benchmark or arm that does not exist, or an override that a cell does not take.
    """
    wanted = selection or Selection()
    must_exist("scale", [wanted.scale], list(Scale))
    arms = {**suite.model.arms, **wanted.added_arms}
    must_exist("benchmark", wanted.benchmarks, suite.benchmarks)
    must_exist("arm", wanted.arms, arms)
    asked = [name for name in suite.benchmarks if wanted.benchmarks is None or name in wanted.benchmarks]
    settings = {name: base for name in asked if (base := setting(suite, name, wanted.scale)) is not None}
    served = {name: served_by(suite, name, wanted.scale) for name in suite.benchmarks}
    primary = {(served[name], arm) for name, arm in primary_cells(suite)}
    contents = with_programs(_contents(arms, wanted, settings), suite.path.parent)
    references = {name: _reference(suite, base, arms, wanted) for name, base in settings.items()}
    seeds = {
        # benchmarks that one stand-in serves are one experiment, with the seeds of its primary contrasts
        (name, arm): (*seeds_of(suite, wanted, (served[name], arm) in primary), *wanted.bought.get((name, arm), ()))
        for name, arm in contents
    }
    trials: dict[str, Trial] = {}
    links: list[Link] = []
    for seed in sorted({seed for chosen in seeds.values() for seed in chosen}):
        for (name, arm), cell in contents.items():
            if seed in seeds[name, arm]:
                before = _prerequisites(suite, settings[name], cell, seed, trials)
                trial = _trial(suite, settings[name], arm, cell, seed, before, references[name])
                trials.setdefault(trial.trial_id, trial)
                links.append(Link(name, arm, seed, trial.trial_id))
    absent = tuple(name for name in asked if name not in settings)
    return Plan(suite.name, wanted.scale, tuple(trials.values()), tuple(links), settings, absent, arms)


def nothing_to_run(suite: Suite, plan: Plan) -> str:
    """Why a plan has no trials, and what to do instead."""
    named = [name for name, base in plan.settings.items() if base.elsewhere]
    if not named:
        return f"nothing to run: no benchmark of '{suite.name}' has the scale '{plan.scale}'"
    results = "results of " + ", ".join(f"'{name}'" for name in named[:3]) + (", …" if len(named) > 3 else "")
    return (
        f"nothing to run: the {results} come from elsewhere ('task: imported'); 'harness import FILE --suite "
        f"{suite.path}' takes them in, and 'harness claims {suite.path} --imported only' judges them"
    )


def must_exist(what: str, names: Sequence[str] | None, known: Collection[str]) -> None:
    """Refuse names that there are none of.

    Raises:
        HarnessError: with the valid ones.
    """
    for name in names or ():
        if name not in known:
            raise HarnessError(f"no {what} '{name}' in this suite; {choices(list(known), name)}")


def _contents(
    arms: Mapping[str, Arm], wanted: Selection, settings: Mapping[str, Setting]
) -> dict[tuple[str, str], Content]:
    """The content of every cell.

    Raises:
        HarnessError: naming each override that a cell refuses, why, and the benchmarks that take it; or the cell of an
            added arm that does not resolve.
    """
    contents: dict[tuple[str, str], Content] = {}
    refused: dict[str, dict[str, str]] = {}  # override → benchmark → why
    for name, base in settings.items():
        for arm in () if base.elsewhere else arms_of(base, arms, wanted):
            try:
                contents[name, arm] = content(base, arms[arm], wanted.overrides)
            except CellError as error:
                for mistake in error.mistakes:
                    key = override_at(mistake.path, wanted.overrides)
                    if key is None:
                        raise HarnessError(f"arm '{arm}' on benchmark '{name}': {mistake.message}") from error
                    refused.setdefault(key, {}).setdefault(name, mistake.message)
    if refused:
        raise HarnessError("\n".join(_refusal(key, why, settings) for key, why in refused.items()))
    return contents


def _refusal(key: str, why: Mapping[str, str], settings: Mapping[str, Setting]) -> str:
    first, message = next(iter(why.items()))
    taking = [name for name in settings if name not in why]
    if not taking:
        return f"--set {key}: {message}"
    shown = ", ".join(taking[:4]) + (", …" if len(taking) > 4 else "")
    return f"--set {key}: benchmark '{first}' does not take it: {message}; choose others by --benchmark: {shown}"


def _prerequisites(suite: Suite, base: Setting, cell: Content, seed: int, trials: dict[str, Trial]) -> dict[str, Start]:
    """What a trial starts from, by name; trials that make it are added to the plan before the trial itself."""
    before: dict[str, Start] = {}
    for name, wanted in needed(base, cell.slots).items():
        if wanted.weights is not None:
            model = Part.from_json(wanted.model) if wanted.model else None
            before[name] = Start(model, weights=wanted.weights, content=data_identity(wanted.weights))
            continue
        own = prerequisite_content(base, wanted)
        at = 0 if wanted.seeds == "shared" else seed
        trial = _trial(suite, base, f"prerequisite:{name}", own, at, {}, None)
        trials.setdefault(trial.trial_id, trial)
        before[name] = Start(own.model, own.slots, trial.trial_id)
    return before


def arms_of(base: Setting, arms: Mapping[str, Arm], wanted: Selection) -> list[str]:
    """The arms of a benchmark: its own list, else all; those added on the command line always."""
    listed = list(dict.fromkeys((*base.runs(arms), *wanted.added_arms)))
    return [name for name in listed if wanted.arms is None or name in wanted.arms or name in wanted.added_arms]


def seeds_of(suite: Suite, wanted: Selection, primary: bool) -> tuple[int, ...]:
    """The seeds of a cell: as asked, else ``seeds.min``, or ``seeds.primary`` for cells of primary contrasts."""
    if wanted.scale == "smoke":
        return (wanted.seeds or (0,))[:1]
    if wanted.seeds is not None:
        return wanted.seeds
    own = suite.model.seeds
    return tuple(range(own.primary or own.min)) if primary else tuple(range(own.min))


def primary_cells(suite: Suite) -> set[tuple[str, str]]:
    """Cells whose contrast is primary: the arm's and its comparator's, all of an ordering's."""
    primary = [binding for binding in suite.model.claims if binding.primary]
    return {(name, arm) for binding in primary for name in binding.benchmarks for arm in deciding_arms(suite, binding)}


def deciding_arms(suite: Suite, binding: Binding) -> tuple[str, ...]:
    """The arms whose difference decides a claim; none where it is bound to no arm."""
    if binding.arm is None:
        return ()
    return (binding.arm, *binding.deciding(suite.facts[binding.id].kind))


def _reference(suite: Suite, base: Setting, arms: Mapping[str, Arm], wanted: Selection) -> Start | None:
    """What of the reference arm decides the initial weights that every arm starts from."""
    served_by, own = (suite.benchmarks[name].model.reference_arm for name in (base.served_by, base.benchmark))
    arm = served_by or own
    if arm is None:
        return None
    cell = content(base, arms[arm], wanted.overrides)
    return Start(cell.model, cell.slots.of("norm"))


def _trial(
    suite: Suite, base: Setting, arm: str, cell: Content, seed: int, needs: Mapping[str, Start], reference: Start | None
) -> Trial:
    other = None if reference == Start(cell.model, cell.slots.of("norm")) else reference
    data = data_identity(cell.data.name, cell.data.values)
    recipe, content_of = cell.recipe, identity_of(cell.recipe)
    if cell.program:
        recipe, content_of = located(recipe, suite.path.parent), without_places(content_of)
    spec = TrialSpec(cell.task, cell.data, data, cell.model, recipe, cell.slots, seed, base.scale, needs, other)
    spec_id = sha256_of({**spec.to_json(), "recipe": content_of})
    code = fingerprint(roots_of(spec))
    if cell.program:
        code = hashlib.sha256(f"{code}/{cell.program}".encode()).hexdigest()
    trial_id = hashlib.sha256(f"{spec_id}/{code}".encode()).hexdigest()  # content and code together
    return Trial(trial_id, spec_id, code, suite.name, base.benchmark, arm, seed, base.scale, base.stand_in, spec)


def parse_seeds(text: str | None) -> tuple[tuple[int, ...] | None, int | None]:
    """The seeds and the cap of a :class:`Selection`, from ``--seeds``.

    ``N`` gives the seeds 0…N−1 and no cap, ``MIN..MAX`` the seeds 0…MIN−1 and the cap MAX, None neither.

    Raises:
        HarnessError: anything else.
    """
    if text is None:
        return None, None
    first, dots, last = text.partition("..")
    numbers = [first, last] if dots else [first]
    valid = all(number.isascii() and number.isdigit() and 1 <= int(number) <= 1000 for number in numbers)
    if not valid or (dots and int(first) > int(last)):
        raise HarnessError(f"--seeds '{text}': a number of seeds from 1 to 1000, or MIN..MAX, is expected")
    return tuple(range(int(first))), int(last) if dots else None


def sources_of(trials: Iterable[Trial]) -> list[tuple[str, Mapping[str, Any]]]:
    """The data and weights sources that trials read, each with the parameters it is read with (once a folder)."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for trial in trials:
        data = trial.spec.data
        found.setdefault((data.name, str(data.values.get("path"))), data.values)
        for start in trial.spec.prerequisites.values():
            if start.weights is not None:
                found.setdefault((start.weights, ""), {})
    return [(name, found[name, path]) for name, path in sorted(found)]
