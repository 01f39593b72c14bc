"""The mapping from a source's names to a suite's: ``map.yaml`` and flags."""

from __future__ import annotations

# ruff: noqa: RUF012  (pydantic copies the defaults of fields)
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from harness.base import yaml_nodes
from harness.errors import HarnessError, SuiteError, choices
from harness.imports.resampling import Ratio, checked_ratio
from harness.judge.resampled import resampled_test
from harness.suite.strict import Identifier, Strict, schema_problem

Word = Literal["benchmark", "arm", "seed", "split", "step"]
"""The words under which a result is stored, besides its metric."""
WORDS: tuple[Word, ...] = get_args(Word)
SplitName = Literal["train", "validation", "test"]
PLACEHOLDER = re.compile(r"\{(\w+)\}")
METRIC = re.compile(r"(?P<ours>[A-Za-z0-9][\w.-]*)(?:@(?P<split>\w+))?(?:\*(?P<times>.+))?")
"""The value of ``--metric THEIRS=``: OURS[@SPLIT][*FACTOR]."""


class Theirs(Strict):
    """The source of a word: a column (parameter, tag) or a constant.

    ``names`` translates values; an empty translation skips the results with the value.
    """

    column: str | None = None
    value: str | None = None
    names: dict[str, str] = {}

    @model_validator(mode="after")
    def _one(self) -> Theirs:
        if self.column is not None and self.value is not None:
            raise ValueError("give 'column' or 'value' (one for all), not both")
        return self


class MetricFrom(Strict):
    """The metric of a number, its split (None: as the benchmark declares) and a factor."""

    metric: Identifier
    split: SplitName | None = None
    times: float | None = Field(default=None, gt=0)


class ImportMap(Strict):
    """From a source's names to a suite's.

    Attributes:
        metric: in a table with one row a number, the column of the metrics' names; ``value``: that of the numbers.
        metrics: their name of a number → ours.
        patterns: a field whose text holds several words: ``path: "{arm}/seed{seed}"``.
        where: fields and values of the results that are imported.
        table: its name, in a database of several.
        resampled: n_test/n_train of seeds that split one data set, or ``k-fold``; ``independent``: they do not.
    """

    benchmark: Theirs | None = None
    arm: Theirs | None = None
    seed: Theirs | None = None
    split: Theirs | None = None
    step: Theirs | None = None
    metric: str | None = None
    value: str | None = None
    metrics: dict[str, MetricFrom] = {}
    patterns: dict[str, str] = {}
    where: dict[str, str | int | float | bool] = {}
    table: str | None = None
    resampled: float | Literal["k-fold"] | None = None
    independent: bool = False

    @field_validator(*WORDS, mode="before")
    @classmethod
    def _column(cls, value: Any) -> Any:
        """``arm: optimizer`` names the column."""
        return {"column": value} if isinstance(value, str) else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _same(cls, value: Any) -> Any:
        """``acc: accuracy`` names no split."""
        if not isinstance(value, dict):
            return value
        return {key: {"metric": target} if isinstance(target, str) else target for key, target in value.items()}

    @model_validator(mode="after")
    def _patterns_and_columns(self) -> ImportMap:
        for text in self.patterns.values():
            for name in PLACEHOLDER.findall(text):
                if name not in WORDS:
                    raise ValueError(f"pattern '{text}': unknown '{{{name}}}'; {choices(list(WORDS), name)}")
            if not PLACEHOLDER.search(text):
                raise ValueError(f"pattern '{text}' names nothing; it has words in braces, as in '{{arm}}-s{{seed}}'")
        if (self.metric is None) != (self.value is None):
            raise ValueError(
                "'metric' (the column of the metrics' names) and 'value' (that of the numbers) go together"
            )
        return self

    def of(self, word: Word) -> Theirs | None:
        theirs: Theirs | None = getattr(self, word)
        return theirs


def read_map(path: Path) -> ImportMap:
    """A mapping from a file.

    Raises:
        HarnessError: with the place of every mistake in it.
    """
    if not path.is_file():
        raise HarnessError(f"no file {path} (--map)")
    node = yaml_nodes.read(path)
    try:
        return ImportMap.model_validate(node.plain())
    except ValidationError as error:
        raise SuiteError([schema_problem(node, detail) for detail in error.errors()]) from error


@dataclass(frozen=True, slots=True)
class Flags:
    """The mapping's options on the command line; they override ``map.yaml``.

    Attributes:
        benchmark: of all results, by its name in the suite.
        columns: the column of each word.
        arms: ``THEIRS=OURS``.
        metrics: ``THEIRS=OURS[@SPLIT][*FACTOR]``, or ``OURS…`` for a shared name.
        patterns: ``FIELD=PATTERN``; ``where``: ``FIELD=VALUE``.
    """

    benchmark: str | None = None
    columns: Mapping[Word, str] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    metric_column: str | None = None
    value_column: str | None = None
    patterns: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    split: str | None = None
    table: str | None = None
    resampled: Ratio = None
    independent: bool = False


def with_flags(mapping: ImportMap, flags: Flags) -> ImportMap:
    """The mapping with the command line's options.

    Raises:
        HarnessError: an invalid option.
    """
    words = {word: mapping.of(word) or Theirs() for word in WORDS}
    for word, column in flags.columns.items():
        words[word] = Theirs(column=column, names=words[word].names)
    if flags.benchmark is not None:
        words["benchmark"] = Theirs(value=flags.benchmark)
    if flags.split is not None:
        words["split"] = Theirs(value=flags.split)
    names = dict(_pair("--arm", text, "AdamP=adamp", empty=True) for text in flags.arms)
    words["arm"] = words["arm"].model_copy(update={"names": {**words["arm"].names, **names}})
    try:
        return ImportMap.model_validate(
            {
                **{word: theirs for word, theirs in words.items() if theirs != Theirs()},
                "metric": flags.metric_column or mapping.metric,
                "value": flags.value_column or mapping.value,
                "metrics": {**mapping.metrics, **dict(map(_metric, flags.metrics))},
                "patterns": {
                    **mapping.patterns,
                    **dict(_pair("--pattern", text, "path={arm}/seed{seed}") for text in flags.patterns),
                },
                "where": {**mapping.where, **dict(_pair("--where", text, "state=finished") for text in flags.where)},
                "table": flags.table or mapping.table,
                "resampled": checked_ratio(flags.resampled or mapping.resampled),
                "independent": flags.independent or mapping.independent,
            }
        )
    except ValidationError as error:
        raise HarnessError("; ".join(_message(detail) for detail in error.errors())) from None


def _pair(flag: str, text: str, example: str, empty: bool = False) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not (value or empty):
        form = "THEIRS=OURS" if empty else "NAME=VALUE" if flag == "--where" else "NAME=PATTERN"
        raise HarnessError(f"{flag} '{text}': {flag} {form} is expected, as in {flag} {example}")
    return key, value


def _metric(text: str) -> tuple[str, object]:
    """A number's name, and its metric as plain data."""
    theirs, _, rest = text.rpartition("=")
    match = METRIC.fullmatch(rest)
    if match is None:
        raise HarnessError(f"--metric '{text}': THEIRS=OURS[@SPLIT][*FACTOR] is expected, as in acc=accuracy@test*100")
    try:
        times = float(match["times"]) if match["times"] else None
    except ValueError:
        raise HarnessError(f"--metric '{text}': '{match['times']}' is not a number to multiply by") from None
    return theirs or match["ours"], {"metric": match["ours"], "split": match["split"], "times": times}


def _message(detail: Any) -> str:
    where, message = ".".join(map(str, detail["loc"])), str(detail.get("ctx", {}).get("error", detail["msg"]))
    return f"{where}: {message}" if where else message


def matched(pattern: str, text: str) -> dict[str, str] | None:
    """The words that a pattern finds in a text: ``{arm}-s{seed}`` in ``adam-s3``; None where it does not fit.

    Everything outside the braces stands as it is; a word has no slash, and ``*`` is any text.
    """
    parts = re.split(r"(\{\w+\}|\*)", pattern)
    seen: set[str] = set()
    expression = ""
    for part in parts:
        name = part[1:-1] if PLACEHOLDER.fullmatch(part) else ""
        if name in seen:
            expression += f"(?P={name})"
        elif name:
            expression += rf"(?P<{name}>-?\d+)" if name in ("seed", "step") else rf"(?P<{name}>[^/]+?)"
            seen.add(name)
        else:
            expression += ".*?" if part == "*" else re.escape(part)
    match = re.fullmatch(expression, text)
    return None if match is None else match.groupdict()


def in_words(mapping: ImportMap) -> str:
    """A resolved mapping in a clause: ``arm from 'optimizer', seed from 'seed', accuracy from 'acc' (× 100)``."""
    words = ((word, mapping.of(word)) for word in WORDS)
    parts = [_word_text(word, theirs) for word, theirs in words if theirs is not None]
    parts += [
        f"{' and '.join(PLACEHOLDER.findall(text))} from '{name}' by '{text}'"
        for name, text in mapping.patterns.items()
    ]
    if mapping.metric is not None:
        parts.append(f"numbers from '{mapping.value}', named by '{mapping.metric}'")
    for name, target in mapping.metrics.items():
        more = f" on {target.split}" if target.split else ""
        more += f" × {target.times:g}" if target.times is not None else ""
        parts.append(f"{target.metric}{more} from '{name}'")
    parts += [f"where {name} = {value}" for name, value in mapping.where.items()]
    parts += [f"seeds split one data set: {resampled_test(float(mapping.resampled))}"] if mapping.resampled else []
    parts += ["seeds are independent as stated"] if mapping.independent else []
    return ", ".join(parts)


def _word_text(word: Word, theirs: Theirs) -> str:
    names = [f"{name} → {other or 'left out'}" for name, other in theirs.names.items()]
    text = word if theirs.value is None else f"{word} {theirs.value}"
    text += "" if theirs.column is None else f" from '{theirs.column}'"
    return text + (f" ({', '.join(names)})" if names else "")


def first_names(names: Iterable[str]) -> str:
    """Names in a message, the first few."""
    listed = [name for name in names if not name.startswith("tags.mlflow.")]
    return ", ".join(listed[:20]) + (f", … ({len(listed)} in all)" if len(listed) > 20 else "") or "none"
