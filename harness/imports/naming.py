"""Under which benchmark, arm, seed, split and step a foreign run stands: as the mapping says, or as only one fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.values import name_of
from harness.errors import HarnessError, choices
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.mapping import PLACEHOLDER, WORDS, ImportMap, Theirs, Word, fields_told, matched
from harness.imports.result_files import score_of
from harness.imports.table_scores import PAIRS
from harness.suite import Suite
from harness.suite.cells import Setting, setting
from harness.vocabulary import Split

SPLITS = {
    **{split.value: split for split in Split},
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "testing": Split.TEST,
}
"""Splits as others call them."""
STEPS = ("step", "_step", "global_step", "epoch", "iteration")
"""Columns of a table that count its steps, if it has one and none is named."""
FLAG = {
    "benchmark": "--benchmark B (one for all) or --benchmark-column",
    "arm": "--arm-column",
    "seed": "--seed-column",
}


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """A suite at a scale, as something to import into."""

    suite: Suite
    scale: str
    settings: Mapping[str, Setting]

    @classmethod
    def of(cls, suite: Suite, scale: str) -> ImportTarget:
        """The suite's benchmarks that there are at the scale.

        Raises:
            HarnessError: there is none.
        """
        found = {name: base for name in suite.benchmarks if (base := setting(suite, name, scale)) is not None}
        if not found:
            raise HarnessError(f"no benchmark of '{suite.name}' has the scale '{scale}'; name another with --scale")
        return cls(suite, scale, found)

    def arms(self, benchmark: str | None = None) -> list[str]:
        """The arms of a benchmark, or of all."""
        names = [benchmark] if benchmark else list(self.settings)
        return list(dict.fromkeys(arm for name in names for arm in self.settings[name].runs(self.suite.model.arms)))


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a run's numbers belong; None for a split or step that nothing says."""

    benchmark: str
    arm: str
    seed: int
    split: str | None
    step: int | None


class Naming:
    """The words of every run of a source.

    Raises:
        HarnessError: a word that nothing says, or that several columns could say.
    """

    def __init__(
        self, source: ForeignSource, given: ImportMap, target: ImportTarget, runs: Sequence[ForeignRun]
    ) -> None:
        self.source, self.given, self.target, self.runs = source, given, target, runs
        for name in (*given.patterns, *given.where):
            self._must_have(name)
        self._by_pattern = {word for text in given.patterns.values() for word in PLACEHOLDER.findall(text)}
        self.words: dict[Word, Theirs] = {}
        for word in WORDS:
            if (found := self._resolved(word)) is not None:
                self.words[word] = found

    def _must_have(self, name: str) -> None:
        fields = self.source.fields
        if name not in fields:
            told = f"{self.source.path} has no {self.source.field_word} '{name}'; {choices(fields, name)}"
            raise HarnessError(told)

    def _resolved(self, word: Word) -> Theirs | None:
        given = self.given.of(word)
        if given is not None and given.column is not None:
            self._must_have(given.column)
            return given
        if (given is not None and given.value is not None) or word in self._by_pattern:
            return given
        names = {} if given is None else given.names
        find: Mapping[Word, Callable[[Mapping[str, str]], Theirs | None]] = {
            "benchmark": self._benchmark,
            "arm": self._arm,
            "seed": self._seed,
            "split": self._split,
            "step": lambda names: self._called(STEPS) if self.source.rows else None,
        }
        found = find[word](names)
        return None if found is None else found.model_copy(update={"names": dict(names)})

    def _called(self, names: Iterable[str]) -> Theirs | None:
        """The first field of these names, in any case."""
        lowered = {field.lower(): field for field in reversed(self.source.fields)}
        return next((Theirs(column=lowered[name]) for name in names if name in lowered), None)

    def _benchmark(self, names: Mapping[str, str]) -> Theirs | None:
        settings = list(self.target.settings)
        if len(settings) == 1:
            return Theirs(value=settings[0])
        return self._holding("benchmark", settings, names)

    def _arm(self, names: Mapping[str, str]) -> Theirs | None:
        return self._holding("arm", self.target.arms(), names)

    def _holding(self, word: str, known: Sequence[str], names: Mapping[str, str]) -> Theirs:
        """The one field all of whose values are names of the suite, or translated to them.

        Where none is, the one that has such a value, or is called like the word: what else it has is told by itself.
        """
        fits = set(known) | set(names)
        found = [name for name in self.source.fields if self._within(name, fits)]
        found = found or [name for name in self.source.fields if self._holds(name, fits)]
        if not found:
            called = self._called((word,))
            if called is not None:
                return called
            listed = fields_told(self.source.fields)
            raise HarnessError(
                f"{self.source.path}: nothing says the {word} of a result; name its {self.source.field_word} with "
                f"{FLAG[word]}, or both in a --map. {self.source.field_word.capitalize()}s: {listed}. "
                f"{word.capitalize()}s of '{self.target.suite.name}': {', '.join(known)}"
            )
        if len(found) > 1:
            listed = " and ".join(f"'{name}'" for name in found)
            raise HarnessError(f"{self.source.path}: {listed} both could be the {word}; name one with {FLAG[word]}")
        return Theirs(column=found[0])

    def _within(self, field: str, known: Collection[str]) -> bool:
        """Whether a field has values, all of them known ones."""
        values = (text for run in self.runs if (text := name_of(run.fields.get(field))))
        first = next(values, None)
        return first in known and all(value in known for value in values)

    def _holds(self, field: str, known: Collection[str]) -> bool:
        return any(name_of(run.fields.get(field)) in known for run in self.runs)

    def _seed(self, names: Mapping[str, str]) -> Theirs:
        found = self._called(PAIRS)
        if found is None:
            raise HarnessError(
                f"{self.source.path}: nothing says the seed of a result; name its {self.source.field_word} with "
                f"--seed-column, or take it out of a name with --pattern, as in --pattern '{self._example()}="
                f"{{arm}}-s{{seed}}'. {self.source.field_word.capitalize()}s: {fields_told(self.source.fields)}. "
                "Results that share nothing (no seed, no fold) cannot be paired, and are not judged here"
            )
        return found

    def _example(self) -> str:
        return next((name for name in ("path", "run", "Name", "name") if name in self.source.fields), "name")

    def _split(self, names: Mapping[str, str]) -> Theirs | None:
        found = self._called(("split",))
        return found if found is not None and self._within(str(found.column), {*SPLITS, *names}) else None

    # one run

    def filed(self, run: ForeignRun, unknown: Unknown) -> Filed | None:
        """Where a run's numbers belong; None where the mapping leaves it out, or a name is unknown (which is noted)."""
        said = self._said(run)
        if any(value == "" for word, value in said.items() if word != "step"):
            return None
        benchmark = unknown.checked(run, "benchmark", said.get("benchmark"), list(self.target.settings))
        known = self.target.arms(benchmark) if benchmark else self.target.arms()
        arm = unknown.checked(run, "arm", said.get("arm"), known)
        split = said.get("split")
        if split is not None:
            split = unknown.checked(run, "split", SPLITS.get(split.lower(), split), list(Split))
        if benchmark is None or arm is None or (said.get("split") is not None and split is None):
            return None
        return Filed(benchmark, arm, self._whole(run, "seed", said), split, self._step(run, said))

    def _said(self, run: ForeignRun) -> dict[str, str]:
        """The words of a run as text, translated; '' where it is left out."""
        said: dict[str, str] = {}
        for name, pattern in self.given.patterns.items():
            found = matched(pattern, name_of(run.fields.get(name)))
            if found is None:
                told = f"'{name_of(run.fields.get(name))}' in '{name}' does not fit the pattern '{pattern}'"
                raise HarnessError(f"{run.place}: {told}; leave such results out with --where, or change the pattern")
            said |= {word: self._translated(word, text) for word, text in found.items()}
        for word, theirs in self.words.items():
            if theirs.value is not None:
                said[word] = theirs.value
            elif theirs.column is not None:
                text = name_of(run.fields.get(theirs.column))
                if not text and word != "step":
                    raise HarnessError(f"{run.place}: no {word} ('{theirs.column}' is empty there)")
                said[word] = theirs.names.get(text, text)
        return said

    def _translated(self, word: str, text: str) -> str:
        theirs = self.words.get(word)  # type: ignore[call-overload]
        return text if theirs is None else str(theirs.names.get(text, text))

    def _whole(self, run: ForeignRun, word: str, said: Mapping[str, str]) -> int:
        text = said[word]
        try:
            return int(text)
        except ValueError:
            told = f"{run.place}: the {word} '{text}' is no whole number"
            raise HarnessError(
                f"{told}; translate it in a map: {word}: {{column: …, names: {{{text}: '0'}}}}"
            ) from None

    def _step(self, run: ForeignRun, said: Mapping[str, str]) -> int | None:
        return self._whole(run, "step", said) if said.get("step") else None

    def plain(self) -> dict[str, Any]:
        """What was resolved, as plain data."""
        told: dict[str, Any] = {
            word: {key: value for key, value in theirs.model_dump().items() if value not in (None, {})}
            for word, theirs in self.words.items()
        }
        named: dict[str, Mapping[str, Any]] = {"patterns": self.given.patterns, "where": self.given.where}
        return told | {key: dict(value) for key, value in named.items() if value}


class Unknown:
    """Names that a suite does not have, told all at once."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._found: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def checked(self, run: ForeignRun, word: str, name: str | None, known: Sequence[str]) -> str | None:
        """The name, if there is one of it."""
        if name is not None and name not in known:
            self._found.setdefault((word, name), (run.place, list(known)))
            return None
        return name

    def refuse(self) -> None:
        """Raise one message with every unknown name and the valid ones.

        Raises:
            HarnessError: there is any.
        """
        if not self._found:
            return
        lines = []
        for (word, name), (place, known) in list(self._found.items())[:8]:
            lines.append(f"{place}: no {word} '{name}' in '{self._naming.target.suite.name}'; {choices(known, name)}")
        if len(self._found) > 8:
            lines.append(f"and {len(self._found) - 8} more names that are unknown")
        word, name = next(iter(self._found))
        cure = f"--arm '{name}=OURS'" if word == "arm" else f"{word}: {{column: …, names: {{{name}: OURS}}}} in a --map"
        lines.append(f"translate a name with {cure}; with nothing for OURS its results are left out")
        raise HarnessError("\n".join(lines))


def kept(source: ForeignSource, where: Mapping[str, Any]) -> list[ForeignRun]:
    """The runs that have these values.

    Raises:
        HarnessError: none has.
    """
    found = list(source.runs)
    for name, value in where.items():
        values = list(dict.fromkeys(name_of(run.fields.get(name)) for run in found))
        found = [run for run in found if same(run.fields.get(name), value)]
        if not found:
            told = f"no result has '{value}' in the {source.field_word} '{name}'"
            raise HarnessError(f"{source.path}: {told}; {choices(values, str(value))}")
    return found


def same(cell: Any, wanted: Any) -> bool:
    """Whether a cell has a value: equal as text, or as a number."""
    if name_of(cell) == name_of(wanted) or (isinstance(wanted, bool) and name_of(cell).lower() == str(wanted).lower()):
        return True
    one, other = score_of(cell), score_of(wanted)
    return one is not None and one == other
