"""Benchmark, arm, seed, split and step of external runs: as mapped, or detected where only one name fits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.values import name_of, names_in
from harness.errors import HarnessError, choices
from harness.imports.foreign import ForeignRun, ForeignSource
from harness.imports.mapping import PLACEHOLDER, WORDS, ImportMap, Theirs, Word, first_names, matched
from harness.imports.result_files import column_called, is_same
from harness.imports.table_question import PAIRS
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
"""Other names of splits."""
STEPS = ("step", "_step", "global_step", "epoch", "iteration")
"""Columns of a table that count its steps, if it has one and none is named."""
FLAG = {
    "benchmark": "--benchmark B (one for all) or --benchmark-column",
    "arm": "--arm-column",
    "seed": "--seed-column",
}
LISTED = 8


@dataclass(frozen=True, slots=True)
class ImportTarget:
    """A suite at a scale, to import into."""

    suite: Suite
    scale: str
    settings: Mapping[str, Setting]

    @classmethod
    def of(cls, suite: Suite, scale: str) -> ImportTarget:
        """The suite's benchmarks at the scale; HarnessError where it has none."""
        settings = {name: base for name in suite.benchmarks if (base := setting(suite, name, scale)) is not None}
        if not settings:
            raise HarnessError(f"no benchmark of '{suite.name}' has the scale '{scale}'; name another with --scale")
        return cls(suite, scale, settings)

    def arms(self, benchmark: str | None = None) -> list[str]:
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
    """The words of every run of a source; HarnessError for a word with no source or several possible ones.

    Attributes:
        runs: those that the mapping's ``where`` keeps.
        words: the source of each word that is mapped or detected.
    """

    def __init__(self, source: ForeignSource, mapping: ImportMap, target: ImportTarget) -> None:
        self.source, self.mapping, self.target = source, mapping, target
        for name in (*mapping.patterns, *mapping.where):
            source.must_have(name)
        self.runs = self._kept()
        self._by_pattern = {word for text in mapping.patterns.values() for word in PLACEHOLDER.findall(text)}
        self._unknown: dict[tuple[str, str], tuple[str, Sequence[str]]] = {}
        self.words = {word: theirs for word in WORDS if (theirs := self._resolved(word)) is not None}

    @property
    def seed_name(self) -> str:
        """The name that the source gives to seeds: of their column, or before them in a pattern."""
        before = [re.search(r"([A-Za-z_. -]*)\{seed\}", text) for text in self.mapping.patterns.values()]
        named = [match[1].strip("_. -") for match in before if match is not None]
        column = self.words["seed"].column if "seed" in self.words else None
        return next(filter(None, named), column or "seed")

    def _kept(self) -> list[ForeignRun]:
        runs = list(self.source.runs)
        for name, value in self.mapping.where.items():
            values = names_in(run.fields.get(name) for run in runs)
            runs = [run for run in runs if is_same(run.fields.get(name), value)]
            if not runs:
                message = f"no result has '{value}' in the {self.source.field_word} '{name}'"
                raise HarnessError(f"{self.source.path}: {message}; {choices(values, str(value))}")
        return runs

    def _resolved(self, word: Word) -> Theirs | None:
        stated = self.mapping.of(word)
        if stated is not None and stated.column is not None:
            self.source.must_have(stated.column)
            return stated
        if (stated is not None and stated.value is not None) or word in self._by_pattern:
            return stated
        names = {} if stated is None else stated.names
        detected = self._detected(word, names)
        return None if detected is None else detected.model_copy(update={"names": names})

    def _detected(self, word: Word, names: Mapping[str, str]) -> Theirs | None:
        settings = list(self.target.settings)
        if word == "benchmark":
            return Theirs(value=settings[0]) if len(settings) == 1 else self._holding(word, settings, names)
        if word == "arm":
            return self._holding(word, self.target.arms(), names)
        if word == "step":
            return self._called(STEPS) if self.source.rows else None
        if word == "split":
            theirs = self._called(("split",))
            return theirs if theirs is not None and self._within(str(theirs.column), {*SPLITS, *names}) else None
        theirs = self._called(PAIRS)
        if theirs is None:
            example = next((name for name in ("path", "run", "Name", "name") if name in self.source.fields), "name")
            raise HarnessError(
                f"{self._without(word)}, or take it out of a name with --pattern, as in --pattern '{example}="
                f"{{arm}}-s{{seed}}'. {self._fields()}. Results that share nothing (no seed, no fold) cannot be "
                "paired, and are not judged here"
            )
        return theirs

    def _called(self, names: Iterable[str]) -> Theirs | None:
        column = column_called(self.source.fields, names)
        return None if column is None else Theirs(column=column)

    def _without(self, word: Word) -> str:
        advice = f"name its {self.source.field_word} with {FLAG[word]}"
        return f"{self.source.path}: nothing says the {word} of a result; {advice}"

    def _fields(self) -> str:
        return f"{self.source.field_word.capitalize()}s: {first_names(self.source.fields)}"

    def _holding(self, word: Word, valid: Sequence[str], names: Mapping[str, str]) -> Theirs:
        """The field whose values are names of the suite, translated or not.

        Otherwise the one that has such a value, or the word's name; its other values are reported later.
        """
        fits = {*valid, *names}
        fields = [name for name in self.source.fields if self._within(name, fits)]
        fields = fields or [
            name for name in self.source.fields if any(name_of(run.fields.get(name)) in fits for run in self.runs)
        ]
        if len(fields) > 1:
            listed = " and ".join(f"'{name}'" for name in fields)
            raise HarnessError(f"{self.source.path}: {listed} both could be the {word}; name one with {FLAG[word]}")
        theirs = Theirs(column=fields[0]) if fields else self._called((word,))
        if theirs is None:
            raise HarnessError(
                f"{self._without(word)}, or both in a --map. {self._fields()}. {word.capitalize()}s of "
                f"'{self.target.suite.name}': {', '.join(valid)}"
            )
        return theirs

    def _within(self, field: str, valid: Collection[str]) -> bool:
        values = (text for run in self.runs if (text := name_of(run.fields.get(field))))
        return next(values, None) in valid and all(value in valid for value in values)

    # one run

    def filed(self, run: ForeignRun) -> Filed | None:
        """The place of a run's numbers; None if it is skipped or a name is unknown (which is noted)."""
        words = self._words_of(run)
        if any(value == "" for word, value in words.items() if word != "step"):
            return None
        benchmark = self._checked(run, "benchmark", words.get("benchmark"), list(self.target.settings))
        arm = self._checked(run, "arm", words.get("arm"), self.target.arms(benchmark))
        split = words.get("split")
        if split is not None:
            split = self._checked(run, "split", SPLITS.get(split.lower(), split), list(Split))
        if benchmark is None or arm is None or (words.get("split") is not None and split is None):
            return None
        step = self._whole(run, "step", words["step"]) if words.get("step") else None
        return Filed(benchmark, arm, self._whole(run, "seed", words["seed"]), split, step)

    def _words_of(self, run: ForeignRun) -> dict[str, str]:
        """The words of a run as text, translated; '' where it is skipped."""
        words: dict[str, str] = {}
        for name, pattern in self.mapping.patterns.items():
            text = name_of(run.fields.get(name))
            match = matched(pattern, text)
            if match is None:
                message = f"'{text}' in '{name}' does not fit the pattern '{pattern}'"
                raise HarnessError(f"{run.place}: {message}; skip such results with --where, or change the pattern")
            words |= match
        for word, theirs in self.words.items():
            if theirs.value is not None:
                words[word] = theirs.value
                continue
            if theirs.column is not None:
                words[word] = name_of(run.fields.get(theirs.column))
                if not words[word] and word != "step":
                    raise HarnessError(f"{run.place}: no {word} ('{theirs.column}' is empty there)")
            if word in words:
                words[word] = theirs.names.get(words[word], words[word])
        return words

    def _whole(self, run: ForeignRun, word: str, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise HarnessError(
                f"{run.place}: the {word} '{text}' is not a whole number; translate it in a map: {word}: {{column: …, "
                f"names: {{{text}: '0'}}}}"
            ) from None

    def _checked(self, run: ForeignRun, word: str, name: str | None, valid: Sequence[str]) -> str | None:
        """The name, if it is valid; others are noted."""
        if name is not None and name not in valid:
            self._unknown.setdefault((word, name), (run.place, valid))
            return None
        return name

    def refuse_unknown(self) -> None:
        """Raise HarnessError with all unknown names and the valid ones."""
        if not self._unknown:
            return
        lines = [
            f"{place}: unknown {word} '{name}' in '{self.target.suite.name}'; {choices(list(valid), name)}"
            for (word, name), (place, valid) in list(self._unknown.items())[:LISTED]
        ]
        if len(self._unknown) > LISTED:
            lines.append(f"and {len(self._unknown) - LISTED} more unknown names")
        word, name = next(iter(self._unknown))
        option = f"--arm '{name}=OURS'"
        if word != "arm":
            option = f"{word}: {{column: …, names: {{{name}: OURS}}}} in a --map"
        lines.append(f"translate a name with {option}; with nothing for OURS its results are left out")
        raise HarnessError("\n".join(lines))
