"""Under which benchmark, arm, seed, split and step a foreign run stands: as the mapping says, or as only one fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.values import name_of
from harness.errors import HarnessError, choices
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.mapping import (
    PLACEHOLDER,
    WORDS,
    ImportMap,
    ResolvedMap,
    ResolvedWord,
    Theirs,
    Word,
    fields_told,
    matched,
)
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
        settings = {name: base for name in suite.benchmarks if (base := setting(suite, name, scale)) is not None}
        if not settings:
            raise HarnessError(f"no benchmark of '{suite.name}' has the scale '{scale}'; name another with --scale")
        return cls(suite, scale, settings)

    def arms(self, benchmark: str | None = None) -> list[str]:
        """The arms of a benchmark, or of all."""
        names = [benchmark] if benchmark else list(self.settings)
        return list(dict.fromkeys(arm for name in names for arm in self.settings[name].runs(self.suite.model.arms)))


@dataclass(frozen=True, slots=True)
class Filed:
    """The place of a run's numbers; None for an unnamed split or step."""

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
        self, source: ForeignSource, mapping: ImportMap, target: ImportTarget, runs: Sequence[ForeignRun]
    ) -> None:
        self.source, self.given, self.target, self.runs = source, mapping, target, runs
        for name in (*mapping.patterns, *mapping.where):
            self._must_have(name)
        self._by_pattern = {word for text in mapping.patterns.values() for word in PLACEHOLDER.findall(text)}
        self.words: dict[Word, Theirs] = {}
        for word in WORDS:
            if (resolved := self._resolved(word)) is not None:
                self.words[word] = resolved

    def _must_have(self, name: str) -> None:
        fields = self.source.fields
        if name not in fields:
            message = f"{self.source.path} has no {self.source.field_word} '{name}'; {choices(fields, name)}"
            raise HarnessError(message)

    def _resolved(self, word: Word) -> Theirs | None:
        source_of = self.given.of(word)
        if source_of is not None and source_of.column is not None:
            self._must_have(source_of.column)
            return source_of
        if (source_of is not None and source_of.value is not None) or word in self._by_pattern:
            return source_of
        names = {} if source_of is None else source_of.names
        find: Mapping[Word, Callable[[Mapping[str, str]], Theirs | None]] = {
            "benchmark": self._benchmark,
            "arm": self._arm,
            "seed": self._seed,
            "split": self._split,
            "step": lambda names: self._called(STEPS) if self.source.rows else None,
        }
        detected = find[word](names)
        return None if detected is None else detected.model_copy(update={"names": dict(names)})

    def _called(self, names: Iterable[str]) -> Theirs | None:
        """The first field of these names, ignoring case."""
        lowered = {field.lower(): field for field in reversed(self.source.fields)}
        return next((Theirs(column=lowered[name]) for name in names if name in lowered), None)

    def _benchmark(self, names: Mapping[str, str]) -> Theirs | None:
        settings = list(self.target.settings)
        if len(settings) == 1:
            return Theirs(value=settings[0])
        return self._holding("benchmark", settings, names)

    def _arm(self, names: Mapping[str, str]) -> Theirs | None:
        return self._holding("arm", self.target.arms(), names)

    def _holding(self, word: str, valid: Sequence[str], names: Mapping[str, str]) -> Theirs:
        """The field whose values are names of the suite, translated or not.

        Otherwise the one that has such a value, or the word's name; its other values are reported later.
        """
        fits = set(valid) | set(names)
        fields = [name for name in self.source.fields if self._within(name, fits)]
        fields = fields or [name for name in self.source.fields if self._holds(name, fits)]
        if not fields:
            called = self._called((word,))
            if called is not None:
                return called
            listed = fields_told(self.source.fields)
            raise HarnessError(
                f"{self.source.path}: nothing says the {word} of a result; name its {self.source.field_word} with "
                f"{FLAG[word]}, or both in a --map. {self.source.field_word.capitalize()}s: {listed}. "
                f"{word.capitalize()}s of '{self.target.suite.name}': {', '.join(valid)}"
            )
        if len(fields) > 1:
            listed = " and ".join(f"'{name}'" for name in fields)
            raise HarnessError(f"{self.source.path}: {listed} both could be the {word}; name one with {FLAG[word]}")
        return Theirs(column=fields[0])

    def _within(self, field: str, valid: Collection[str]) -> bool:
        """True where a field has values, all of them valid."""
        values = (text for run in self.runs if (text := name_of(run.fields.get(field))))
        first = next(values, None)
        return first in valid and all(value in valid for value in values)

    def _holds(self, field: str, valid: Collection[str]) -> bool:
        return any(name_of(run.fields.get(field)) in valid for run in self.runs)

    def _seed(self, names: Mapping[str, str]) -> Theirs:
        column = self._called(PAIRS)
        if column is None:
            raise HarnessError(
                f"{self.source.path}: nothing says the seed of a result; name its {self.source.field_word} with "
                f"--seed-column, or take it out of a name with --pattern, as in --pattern '{self._example()}="
                f"{{arm}}-s{{seed}}'. {self.source.field_word.capitalize()}s: {fields_told(self.source.fields)}. "
                "Results that share nothing (no seed, no fold) cannot be paired, and are not judged here"
            )
        return column

    def _example(self) -> str:
        return next((name for name in ("path", "run", "Name", "name") if name in self.source.fields), "name")

    def _split(self, names: Mapping[str, str]) -> Theirs | None:
        column = self._called(("split",))
        return column if column is not None and self._within(str(column.column), {*SPLITS, *names}) else None

    # one run

    def filed(self, run: ForeignRun, unknown: Unknown) -> Filed | None:
        """The place of a run's numbers; None if it is skipped or a name is unknown (which is noted)."""
        words = self._said(run)
        if any(value == "" for word, value in words.items() if word != "step"):
            return None
        benchmark = unknown.checked(run, "benchmark", words.get("benchmark"), list(self.target.settings))
        arms = self.target.arms(benchmark) if benchmark else self.target.arms()
        arm = unknown.checked(run, "arm", words.get("arm"), arms)
        split = words.get("split")
        if split is not None:
            split = unknown.checked(run, "split", SPLITS.get(split.lower(), split), list(Split))
        if benchmark is None or arm is None or (words.get("split") is not None and split is None):
            return None
        return Filed(benchmark, arm, self._whole(run, "seed", words), split, self._step(run, words))

    def _said(self, run: ForeignRun) -> dict[str, str]:
        """The words of a run as text, translated; '' where it is left out."""
        words: dict[str, str] = {}
        for name, pattern in self.given.patterns.items():
            match = matched(pattern, name_of(run.fields.get(name)))
            if match is None:
                message = f"'{name_of(run.fields.get(name))}' in '{name}' does not fit the pattern '{pattern}'"
                raise HarnessError(f"{run.place}: {message}; skip such results with --where, or change the pattern")
            words |= {word: self._translated(word, text) for word, text in match.items()}
        for word, theirs in self.words.items():
            if theirs.value is not None:
                words[word] = theirs.value
            elif theirs.column is not None:
                text = name_of(run.fields.get(theirs.column))
                if not text and word != "step":
                    raise HarnessError(f"{run.place}: no {word} ('{theirs.column}' is empty there)")
                words[word] = theirs.names.get(text, text)
        return words

    def _translated(self, word: str, text: str) -> str:
        theirs = self.words.get(word)  # type: ignore[call-overload]
        return text if theirs is None else str(theirs.names.get(text, text))

    def _whole(self, run: ForeignRun, word: str, words: Mapping[str, str]) -> int:
        text = words[word]
        try:
            return int(text)
        except ValueError:
            message = f"{run.place}: the {word} '{text}' is not a whole number"
            raise HarnessError(
                f"{message}; translate it in a map: {word}: {{column: …, names: {{{text}: '0'}}}}"
            ) from None

    def _step(self, run: ForeignRun, words: Mapping[str, str]) -> int | None:
        return self._whole(run, "step", words) if words.get("step") else None

    def plain(self) -> ResolvedMap:
        """The resolved mapping as plain data."""
        resolved: ResolvedMap = {}
        for word, theirs in self.words.items():
            resolved[word] = _plain(theirs)
        if self.given.patterns:
            resolved["patterns"] = dict(self.given.patterns)
        if self.given.where:
            resolved["where"] = dict(self.given.where)
        return resolved


def _plain(theirs: Theirs) -> ResolvedWord:
    word: ResolvedWord = {}
    if theirs.column is not None:
        word["column"] = theirs.column
    if theirs.value is not None:
        word["value"] = theirs.value
    if theirs.names:
        word["names"] = dict(theirs.names)
    return word


class Unknown:
    """Names that a suite does not have, reported together."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._found: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def checked(self, run: ForeignRun, word: str, name: str | None, valid: Sequence[str]) -> str | None:
        """The name, if there is one of it."""
        if name is not None and name not in valid:
            self._found.setdefault((word, name), (run.place, list(valid)))
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
        for (word, name), (place, valid) in list(self._found.items())[:8]:
            lines.append(f"{place}: no {word} '{name}' in '{self._naming.target.suite.name}'; {choices(valid, name)}")
        if len(self._found) > 8:
            lines.append(f"and {len(self._found) - 8} more names that are unknown")
        word, name = next(iter(self._found))
        cure = f"--arm '{name}=OURS'" if word == "arm" else f"{word}: {{column: …, names: {{{name}: OURS}}}} in a --map"
        lines.append(f"translate a name with {cure}; with nothing for OURS its results are left out")
        raise HarnessError("\n".join(lines))


def kept(source: ForeignSource, where: Mapping[str, str | int | float | bool]) -> list[ForeignRun]:
    """The runs that have these values.

    Raises:
        HarnessError: none has.
    """
    runs = list(source.runs)
    for name, value in where.items():
        values = list(dict.fromkeys(name_of(run.fields.get(name)) for run in runs))
        runs = [run for run in runs if same(run.fields.get(name), value)]
        if not runs:
            message = f"no result has '{value}' in the {source.field_word} '{name}'"
            raise HarnessError(f"{source.path}: {message}; {choices(values, str(value))}")
    return runs


def same(cell: Any, wanted: Any) -> bool:
    """True where two values are equal as text or as numbers."""
    if name_of(cell) == name_of(wanted) or (isinstance(wanted, bool) and name_of(cell).lower() == str(wanted).lower()):
        return True
    value, other = score_of(cell), score_of(wanted)
    return value is not None and value == other
