"""From a suite to its trials: configurations × seeds, each with an identity made of its content."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict, TypeVar

from harness import registry
from harness.errors import HarnessError, choices
from harness.plan.cell_trials import ConfigurationTrials
from harness.plan.cell_trials import Trial as Trial
from harness.plan.imported import Imported
from harness.plan.programs import with_programs
from harness.suite.cells import ConfigurationError, Content, Setting, content, override_at, served_by, setting
from harness.suite.load import Suite
from harness.suite.models import Arm, Claim
from harness.trial.options import Values
from harness.trial.spec import Part, Start
from harness.vocabulary import Scale


@dataclass(frozen=True, slots=True)
class Link:
    """A name under which a plan asks for a trial; equal content under two names is one trial."""

    benchmark: str
    arm: str
    seed: int
    trial_id: str


class TrialIdentity(TypedDict):
    """A trial's identity as commands print it; ``cells``: its configurations."""

    trial_id: str
    spec_id: str
    fingerprint: str
    seed: int
    label: str
    cells: list[str]


KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


def _grouped(pairs: Iterable[tuple[KeyT, ValueT]]) -> dict[KeyT, list[ValueT]]:
    groups: dict[KeyT, list[ValueT]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


@dataclass(frozen=True)
class Plan:
    """The trials of a suite at a scale: pairs of one seed side by side, dependencies first.

    ``links`` are their names, ``absent`` benchmarks without a block for this scale; ``arms`` includes unused ones.
    """

    suite: str
    scale: str
    trials: tuple[Trial, ...]
    links: tuple[Link, ...]
    settings: Mapping[str, Setting]
    absent: tuple[str, ...]
    arms: Mapping[str, Arm]
    imported: Imported | None = None
    overrides: Values = field(default_factory=Values)

    def trial_ids(self, benchmark: str, arm: str) -> dict[int, str]:
        return {link.seed: link.trial_id for link in self._by_cell.get((benchmark, arm), ())}

    def resampled(self, benchmark: str, arms: Iterable[str]) -> float:
        """The largest n_test/n_train of arms whose seeds split one data set; 0: none do, or it is not known."""
        arms = tuple(arms)
        stated = 0.0 if self.imported is None else self.imported.ratio(benchmark, arms)
        trials = {trial for arm in arms for trial in self.trial_ids(benchmark, arm).values()}
        return max((stated, *(ratio for trial, ratio in self._resampled.items() if trial in trials)))

    @cached_property
    def _resampled(self) -> dict[str, float]:
        """n_test/n_train of each trial whose data block splits a pool."""
        data = {trial.trial_id: trial.spec.data for trial in self.trials}
        sources = {name: registry.entry("data", part.name).metadata for name, part in data.items()}
        ratios = {name: sources[name].test_to_train(part.values) for name, part in data.items()}
        return {name: ratio for name, ratio in ratios.items() if ratio}

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Names (``benchmark/arm/seed``) of each trial; a dependency has none."""
        return _grouped((link.trial_id, f"{link.benchmark}/{link.arm}/{link.seed}") for link in self.links)

    def of_benchmark(self, benchmark: str) -> list[Link]:
        return self._by_benchmark.get(benchmark, [])

    @cached_property
    def _by_benchmark(self) -> dict[str, list[Link]]:
        return _grouped((link.benchmark, link) for link in self.links)

    @cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[Link]]:
        return _grouped(((link.benchmark, link.arm), link) for link in self.links)

    def identities(self) -> list[TrialIdentity]:
        """Every trial's identity and names."""
        return [
            {
                "trial_id": trial.trial_id,
                "spec_id": trial.spec_id,
                "fingerprint": trial.fingerprint,
                "seed": trial.seed,
                "label": trial.label,
                "cells": [name.rpartition("/")[0] for name in self.names.get(trial.trial_id, [])],
            }
            for trial in self.trials
        ]

    @property
    def cells(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._by_cell)


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected part of a suite; None: all of it, and its own numbers of seeds.

    ``cap`` is the largest number of seeds of a configuration where seeds may be added one by one, ``bought`` those
    added so far by (benchmark, arm). ``overrides`` replace values of every arm by dotted key (``batch_size``,
    ``data.KEY``, ``optimizer.adam.lr``); ``added_arms`` run on every benchmark.
    """

    scale: str = "mini"
    benchmarks: tuple[str, ...] | None = None
    arms: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    cap: int | None = None
    bought: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    overrides: Values = field(default_factory=Values)
    added_arms: Mapping[str, Arm] = field(default_factory=dict)


def make_plan(suite: Suite, selection: Selection | None = None) -> Plan:
    """Plan a suite.

    Raises:
        HarnessError: an unknown scale, benchmark or arm, or an override that a configuration does not take.
    """
    wanted = selection or Selection()
    must_exist("scale", [wanted.scale], list(Scale))
    arms = {**suite.model.arms, **wanted.added_arms}
    must_exist("benchmark", wanted.benchmarks, suite.benchmarks)
    must_exist("arm", wanted.arms, arms)
    requested = [name for name in suite.benchmarks if wanted.benchmarks is None or name in wanted.benchmarks]
    settings = {name: base for name in requested if (base := setting(suite, name, wanted.scale)) is not None}
    served = {name: served_by(suite, name, wanted.scale) for name in suite.benchmarks}
    primary = {(served[name], arm) for name, arm in primary_cells(suite)}
    contents = with_programs(_contents(arms, wanted, settings), suite.path.parent)
    references = {name: _reference(suite, base, arms, wanted) for name, base in settings.items()}
    seeds = {
        # benchmarks with one stand-in are one experiment, with the seeds of its primary comparisons
        (name, arm): {*seeds_of(suite, wanted, (served[name], arm) in primary), *wanted.bought.get((name, arm), ())}
        for name, arm in contents
    }
    cells = {
        (name, arm): ConfigurationTrials(suite, settings[name], arm, cell, references[name])
        for (name, arm), cell in contents.items()
    }
    trials: dict[str, Trial] = {}
    links: list[Link] = []
    for seed in sorted({seed for chosen in seeds.values() for seed in chosen}):
        for (name, arm), cell in cells.items():
            if seed in seeds[name, arm]:
                links.append(Link(name, arm, seed, cell.add(seed, trials).trial_id))
    absent = tuple(name for name in requested if name not in settings)
    ordered, overrides = tuple(trials.values()), wanted.overrides
    return Plan(suite.name, wanted.scale, ordered, tuple(links), settings, absent, arms, overrides=overrides)


def nothing_to_run(suite: Suite, plan: Plan) -> str:
    """The message for a plan without trials, with the remedy."""
    named = [name for name, base in plan.settings.items() if base.elsewhere]
    if not named:
        return f"nothing to run: no benchmark of '{suite.name}' has the scale '{plan.scale}'"
    results = "results of " + ", ".join(f"'{name}'" for name in named[:3]) + (", …" if len(named) > 3 else "")
    return (
        f"nothing to run: the {results} come from elsewhere ('task: imported'); 'harness import FILE --suite "
        f"{suite.path}' takes them in, and 'harness claims {suite.path} --imported only' judges them"
    )


def must_exist(what: str, names: Sequence[str] | None, valid: Collection[str]) -> None:
    """Raise HarnessError for unknown names, with the valid ones."""
    for name in names or ():
        if name not in valid:
            raise HarnessError(f"no {what} '{name}' in this suite; {choices(list(valid), name)}")


def _contents(
    arms: Mapping[str, Arm], wanted: Selection, settings: Mapping[str, Setting]
) -> dict[tuple[str, str], Content]:
    """The content of every configuration; refused overrides are one error with the benchmarks that take them."""
    contents: dict[tuple[str, str], Content] = {}
    refused: dict[str, dict[str, str]] = {}  # override → benchmark → why
    for name, base in settings.items():
        for arm in () if base.elsewhere else arms_of(base, arms, wanted):
            try:
                contents[name, arm] = content(base, arms[arm], wanted.overrides)
            except ConfigurationError as error:
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


def arms_of(base: Setting, arms: Mapping[str, Arm], wanted: Selection) -> list[str]:
    """The arms of a benchmark: its own list, else all; those of the command line always."""
    listed = list(dict.fromkeys((*base.runs(arms), *wanted.added_arms)))
    return [name for name in listed if wanted.arms is None or name in wanted.arms or name in wanted.added_arms]


def seeds_of(suite: Suite, wanted: Selection, primary: bool) -> tuple[int, ...]:
    """The seeds of a configuration: the selected ones, else the suite's (``seeds.min``, ``seeds.primary``)."""
    if wanted.scale == "smoke":
        return (wanted.seeds or (0,))[:1]
    if wanted.seeds is not None:
        return wanted.seeds
    own = suite.model.seeds
    return tuple(range(own.primary or own.min)) if primary else tuple(range(own.min))


def primary_cells(suite: Suite) -> set[tuple[str, str]]:
    """Configurations of primary comparisons: the arm's and its comparator's, all of an ordering's."""
    primary = [binding for binding in suite.model.claims if binding.primary]
    return {(name, arm) for binding in primary for name in binding.benchmarks for arm in deciding_arms(suite, binding)}


def deciding_arms(suite: Suite, binding: Claim) -> tuple[str, ...]:
    """The arms whose difference decides a claim; empty for a claim without an arm."""
    if binding.arm is None:
        return ()
    return (binding.arm, *binding.deciding(suite.facts[binding.id].kind))


def _reference(suite: Suite, base: Setting, arms: Mapping[str, Arm], wanted: Selection) -> Start | None:
    """The parts of the reference arm that decide every arm's initial weights."""
    served_by, own = (suite.benchmarks[name].model.reference_arm for name in (base.served_by, base.benchmark))
    arm = served_by or own
    if arm is None:
        return None
    cell = content(base, arms[arm], wanted.overrides)
    return Start(cell.model, cell.slots.of("norm"))


def sources_of(trials: Iterable[Trial]) -> list[Part]:
    """The data and weights sources that trials read, once a folder."""
    sources: dict[tuple[str, str], Part] = {}
    for trial in trials:
        data = trial.spec.data
        sources.setdefault((data.name, str(data.values.get("path"))), data)
        for start in trial.spec.prerequisites.values():
            if start.weights is not None:
                sources.setdefault((start.weights, ""), Part(start.weights))
    return [sources[place] for place in sorted(sources)]
