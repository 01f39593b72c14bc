"""The first suite of one's own: written for a script or for a folder of images, so that it validates as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError

SCRIPT_ARMS = ("baseline", "method")
FOLDER_ARMS = ("adam", "adamw")
_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class FirstSuite:
    """What a suite is to compare.

    Attributes:
        arms: the baseline first, then what is held against it.
        option: of the script, which tells the arms apart: ``--opt``.
    """

    name: str
    arms: tuple[str, ...]
    metric: str
    better: str
    unit: str = ""
    seeds: int = 6
    option: str = ""


def flags_of(script: Path) -> list[str]:
    """The long options that a Python script declares by ``add_argument``; none where it cannot be read so."""
    try:
        tree = ast.parse(script.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return []
    return list(dict.fromkeys(_flags(tree)))


def _flags(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).startswith("--"):
                    yield str(argument.value)


def for_script(script: Path, start: FirstSuite, root: Path) -> str:
    """The text of a suite whose trials run a script.

    Args:
        root: the folder of the suite's file.

    Raises:
        HarnessError: the script is not there, or lies outside the suite's folder.
    """
    if not script.is_file():
        raise HarnessError(f"no script {script}")
    try:
        inside = script.resolve().relative_to(root.resolve())
    except ValueError:
        raise HarnessError(f"{script} lies outside {root}: write the suite beside it, or above it") from None
    flags, folder = flags_of(script), inside.parent.as_posix()
    key = start.option.lstrip("-") or "arm"
    words = ["python" if script.suffix == ".py" else "sh", inside.name, f"--{key}", f'"{{arm.{key}}}"']
    if "--seed" in flags or not flags:
        words += ["--seed", '"{seed}"']
    given = [f"  {arm}: {{values: {{{key}: {arm}}}}}" for arm in start.arms]
    lines = [
        *_head(start),
        "arms:",
        *given,
        "benchmarks:",
        f"  {_slug(script.stem)}:",
        *([f"    in: {folder}"] if folder != "." else []),
        f"    command: [{', '.join(words)}]",
        f"    metrics: {{{start.metric}: {{unit: {_unit(start)}, better: {start.better}}}}}",
        *_results(script, start),
        *_compared(start),
    ]
    return "\n".join(lines) + "\n"


def _results(script: Path, start: FirstSuite) -> list[str]:
    """How its numbers come back: by the client, where the script has it."""
    text = script.read_text(encoding="utf-8", errors="replace")
    if "harness.client" in text or "HARNESS_RESULTS" in text:
        return []
    return [
        "    # How numbers come back: a pattern on what it prints, {csv: FILE}, {lines: FILE} or {tensorboard: DIR} in",
        "    # {folder}; or leave this out and call harness.client.log(accuracy=…) in the script.",
        f"    results: {{pattern: '{re.escape(start.metric)}[ =:]+(?P<{_group(start.metric)}>[-+0-9.e]+)'"
        + (f", names: {{{start.metric}: {_group(start.metric)}}}" if _group(start.metric) != start.metric else "")
        + "}",
    ]


def for_folder(folder: Path, start: FirstSuite) -> str:
    """The text of a suite that trains two optimizers on a folder of images by class.

    Raises:
        HarnessError: the folder is not there or has no folder a split.
    """
    if not folder.is_dir():
        raise HarnessError(f"no folder {folder}")
    splits = [one for one in ("train", "val", "validation", "test") if (folder / one).is_dir()]
    if "train" not in splits or len(splits) < 2:
        raise HarnessError(
            f"{folder} has no train/CLASS/ and test/CLASS/ (or val/CLASS/); docs/your-own-data.md has every layout"
        )
    lines = [
        *_head(start),
        "arms:",
        *(f"  {arm}: {{optimizer: {arm}}}" for arm in start.arms),
        "benchmarks:",
        f"  {_slug(folder.name)}:",
        "    task: classification",
        f"    metrics: {{{start.metric}: {{unit: percent, better: higher}}}}",
        f"    data: {{name: imagefolder, path: {folder.resolve()}, size: 32}}",
        "    model: {name: bn-cnn}",
        "    recipe: {steps: 300, batch_size: 16, augment: shift, optimizer: {adam: {lr: 0.01, weight_decay: 0.01}}}",
        *_compared(start),
    ]
    return "\n".join(lines) + "\n"


def _head(start: FirstSuite) -> list[str]:
    return [f"suite: {start.name}", f"seeds: {{min: {start.seeds}, max: {max(12, start.seeds)}}}"]


def _compared(start: FirstSuite) -> list[str]:
    baseline, *methods = start.arms
    return [
        "compare:",
        *(
            f"  - {{arm: {method}, against: [{baseline}], metric: {start.metric}, primary: true}}"
            for method in methods[:5]
        ),
    ]


def _unit(start: FirstSuite) -> str:
    return start.unit or "''"


def _group(metric: str) -> str:
    """A metric as the name of a group in a pattern."""
    name = re.sub(r"\W", "_", metric)
    return name if not name[:1].isdigit() else f"_{name}"


def _slug(name: str) -> str:
    return _NAME.sub("-", name.lower()).strip("-") or "mine"


def suite_name(path: Path) -> str:
    """A suite's name from its file's."""
    return _slug(path.stem)


def checked_arms(arms: Sequence[str]) -> tuple[str, ...]:
    """At least two arms, each once.

    Raises:
        HarnessError: fewer, or one twice.
    """
    if len(set(arms)) < 2 or len(set(arms)) != len(arms):
        raise HarnessError("two arms at least are compared, the baseline first: --arm adam --arm adamp")
    return tuple(arms)
