"""The trials of a configuration: content, data and code are computed once, so that a seed costs a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from harness.data.checksums import canonical
from harness.data.locate import data_identity
from harness.plan.fingerprint import fingerprint, roots_of
from harness.plan.programs import located, without_places
from harness.suite.cells import Content, Setting, needed, prerequisite_content
from harness.suite.load import Suite
from harness.suite.models import Dependency
from harness.trial.options import Values
from harness.trial.recipe import identity_of
from harness.trial.spec import Part, Start, TrialSpec

OWN = ("prerequisites", "seed")
"""The parts of a spec that differ between seeds."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One benchmark, arm, seed and scale: the unit that runs, is stored and is reused.

    ``suite``, ``benchmark`` and ``arm`` are the first names under which the plan has it.
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
        """Trials whose trained weights it starts from, by name."""
        return {name: start.trial_id for name, start in self.spec.prerequisites.items() if start.trial_id is not None}

    @property
    def label(self) -> str:
        """The name in messages: ``benchmark/arm/seed``."""
        return f"{self.benchmark}/{self.arm}/{self.seed}"


class ConfigurationTrials:
    """Makes an arm's trials seed by seed; its model copies the initial weights of ``reference``."""

    def __init__(self, suite: Suite, base: Setting, arm: str, cell: Content, reference: Start | None) -> None:
        self._suite, self._base, self._arm, self._cell = suite, base, arm, cell
        self._codes: dict[tuple[str, ...], str] = {}  # fingerprints by names of dependencies
        self._reference = None if reference == Start(cell.model, cell.slots.of("norm")) else reference

    @cached_property
    def _spec(self) -> TrialSpec:
        cell = self._cell
        recipe = located(cell.recipe, self._suite.path.parent) if cell.program else Values(cell.recipe)
        data = Values(data_identity(cell.data))
        return TrialSpec(
            cell.task, cell.data, data, cell.model, recipe, cell.slots, 0, self._base.scale, {}, self._reference
        )

    @cached_property
    def _text(self) -> tuple[str, str, str]:
        """Canonical text around the dependencies, and around the seed."""
        content_of = identity_of(self._cell.recipe)
        if self._cell.program:
            content_of = without_places(content_of)
        plain = {**self._spec.to_json(), "recipe": content_of}
        # As ``sha256_of`` of the whole has it: sorted by name, without spaces.
        parts = {name: f"{json.dumps(name)}:{'' if name in OWN else canonical(plain[name])}" for name in sorted(plain)}
        starts, seed = (list(parts).index(name) for name in OWN)
        texts = list(parts.values())
        first, second, third = texts[: starts + 1], texts[starts + 1 : seed + 1], texts[seed + 1 :]
        return "{" + ",".join(first), ",".join(("", *second)), ",".join(("", *third)) + "}"

    def _code(self, spec: TrialSpec) -> str:
        starts = tuple(spec.prerequisites)
        if starts not in self._codes:
            code = fingerprint(roots_of(spec))
            if self._cell.program:
                code = hashlib.sha256(f"{code}/{self._cell.program}".encode()).hexdigest()
            self._codes[starts] = code
        return self._codes[starts]

    @cached_property
    def _starts(self) -> dict[str, _Dependency]:
        return {
            name: _Dependency(self._suite, self._base, name, wanted)
            for name, wanted in needed(self._base, self._cell.slots).items()
        }

    def add(self, seed: int, trials: dict[str, Trial]) -> Trial:
        """Add the trial of a seed behind its dependencies."""
        before = {name: start.add(seed, trials) for name, start in self._starts.items()}
        trial = self.trial(seed, before)
        return trials.setdefault(trial.trial_id, trial)

    def trial(self, seed: int, needs: Mapping[str, Start]) -> Trial:
        spec = replace(self._spec, seed=seed, prerequisites=needs)
        starts = canonical({name: start.to_json() for name, start in needs.items()}) if needs else "{}"
        before, between, after = self._text
        spec_id = hashlib.sha256(f"{before}{starts}{between}{seed}{after}".encode()).hexdigest()
        code = self._code(spec)
        trial_id = hashlib.sha256(f"{spec_id}/{code}".encode()).hexdigest()  # content and code together
        base = self._base
        return Trial(
            trial_id, spec_id, code, self._suite.name, base.benchmark, self._arm, seed, base.scale, base.stand_in, spec
        )


class _Dependency:
    """Published weights, or the trial that trains a dependency."""

    def __init__(self, suite: Suite, base: Setting, name: str, wanted: Dependency) -> None:
        self._wanted = wanted
        self._published: Start | None = None
        if wanted.weights is not None:
            model = Part.from_json(wanted.model) if wanted.model else None
            self._published = Start(model, weights=wanted.weights, content=Values(data_identity(Part(wanted.weights))))
        else:
            self._own = prerequisite_content(base, wanted)
            self._trials = ConfigurationTrials(suite, base, f"prerequisite:{name}", self._own, None)

    def add(self, seed: int, trials: dict[str, Trial]) -> Start:
        """Return the start of a seed's trial; its trial is added."""
        if self._published is not None:
            return self._published
        trial = self._trials.trial(0 if self._wanted.seeds == "shared" else seed, {})
        trials.setdefault(trial.trial_id, trial)
        return Start(self._own.model, self._own.slots, trial.trial_id)
