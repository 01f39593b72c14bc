"""A first suite from a template: for a training script or a folder of images."""

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from harness.base.yaml_nodes import write
from harness.errors import HarnessError

TEMPLATES = Path(__file__).parent / "templates"
FOLDER_ARMS = ("adam", "adamw")
FOLDER_METRIC = "top1-accuracy"
MOST_COMPARISONS = 5
_PATTERN = r"{metric}[ =:]+(?P<{group}>[-+0-9.e]+)"
_RESULTS = """\
    # Source of the numbers: a pattern on printed lines, {{csv: FILE}}, {{lines: FILE}} or {{tensorboard: DIR}} in
    # {{folder}}; or remove this and call harness.client.log(accuracy=…) in the script.
    results: {0}"""


@dataclass(frozen=True, slots=True)
class FirstSuite:
    """The comparisons of a suite.

    Attributes:
        arms: the baseline first.
        option: of the script, which takes an arm's name: ``opt``.
    """

    name: str
    arms: tuple[str, ...]
    metric: str
    better: str
    unit: str = ""
    seeds: int = 6
    option: str = ""

    def __post_init__(self) -> None:
        if len(set(self.arms)) < 2 or len(set(self.arms)) != len(self.arms):
            raise HarnessError("at least two different arms are needed, the baseline first: --arm adam --arm adamp")


def for_script(script: Path, start: FirstSuite, root: Path) -> str:
    """The text of a suite whose trials run a script.

    Args:
        root: the folder of the suite's file.

    Raises:
        HarnessError: the script is missing, or lies outside the suite's folder.
    """
    if not script.is_file():
        raise HarnessError(f"no script {script}")
    try:
        inside = script.resolve().relative_to(root.resolve())
    except ValueError:
        raise HarnessError(f"{script} lies outside {root}: write the suite next to it or above it") from None
    source, key = script.read_text(encoding="utf-8", errors="replace"), start.option.lstrip("-")
    command = ["python" if script.suffix == ".py" else "sh", inside.name, f"--{key}", f"{{arm.{key}}}"]
    if "--seed" in source or "--" not in source:
        command += ["--seed", "{seed}"]
    return _filled(
        "script",
        start,
        arms=[f"{_yaml(arm)}: {{values: {{{_yaml(key)}: {_yaml(arm)}}}}}" for arm in start.arms],
        benchmark=_slug(script.stem),
        folder=_yaml(inside.parent.as_posix()),
        command=_yaml(command),
        results=_results(source, start.metric),
    )


def for_folder(folder: Path, start: FirstSuite) -> str:
    """Write a suite that trains optimizers on a folder of images.

    Raises:
        HarnessError: the folder is missing or has no folder for each split.
    """
    if not folder.is_dir():
        raise HarnessError(f"no folder {folder}")
    splits = [split for split in ("train", "val", "validation", "test") if (folder / split).is_dir()]
    if "train" not in splits or len(splits) < 2:
        raise HarnessError(
            f"{folder} has no train/CLASS/ and test/CLASS/ (or val/CLASS/); docs/your-own-data.md has every layout"
        )
    arms = [f"{_yaml(arm)}: {{optimizer: {_yaml(arm)}}}" for arm in start.arms]
    return _filled("folder", start, arms=arms, benchmark=_slug(folder.name), folder=_yaml(str(folder.resolve())))


def _filled(template: str, start: FirstSuite, *, arms: list[str], **values: str) -> str:
    baseline, *methods = map(_yaml, start.arms)
    metric = _yaml(start.metric)
    comparisons = [
        f"  - {{arm: {method}, against: [{baseline}], metric: {metric}, primary: true}}"
        for method in methods[:MOST_COMPARISONS]
    ]
    text = Template((TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8")).substitute(
        values,
        suite=start.name,
        seeds=start.seeds,
        most=max(12, start.seeds),
        arms="\n".join(f"  {arm}" for arm in arms),
        metric=metric,
        unit=_yaml(start.unit),
        better=start.better,
        comparisons="\n".join(comparisons),
    )
    return re.sub(r"\n\n+", "\n", text)


def _results(source: str, metric: str) -> str:
    """The ``results:`` of a script: none where it reports by the client."""
    if "harness.client" in source or "HARNESS_RESULTS" in source:
        return ""
    group = re.sub(r"\W|^(?=\d)", "_", metric)
    results: dict[str, str | dict[str, str]] = {"pattern": _PATTERN.format(metric=re.escape(metric), group=group)}
    if group != metric:
        results["names"] = {metric: group}
    return _RESULTS.format(_yaml(results))


def _yaml(value: object) -> str:
    """A value within a line of YAML, quoted where it must be."""
    return write([value], width=10_000, flow=True).strip()[1:-1]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "mine"


def suite_name(path: Path) -> str:
    """A suite's name from its file's."""
    return _slug(path.stem)
