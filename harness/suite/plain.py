"""Suites as plain data: built in Python, written out as one file, stored with their run."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from harness.base.yaml_nodes import MAX_DEPTH, Node, write
from harness.errors import HarnessError, Place, Problem, SuiteError
from harness.registry.user_methods import UserMethod, register
from harness.suite.check import checked
from harness.suite.load import LoadedBenchmark, Suite, assembled
from harness.suite.models import Benchmark, PaperClaim, SuiteFile

PYTHON = "suite (Python)"
STORED = "suite (stored)"
"""Shown in messages in place of a file's name."""
VERSION = 1
"""Version of the stored form."""


def suite_from_dict(data: Mapping[str, Any], folder: str | Path = ".") -> Suite:
    """A suite of plain data, as a file would have it (short forms too), checked as a whole.

    Args:
        data: mappings, lists, text, numbers, booleans and None.
        folder: start of its relative paths.

    Raises:
        SuiteError: with every problem, each at its keys: ``suite (Python), arms.adamp.optimizer: …``.
    """
    return checked(assembled(node_of(data), Path(folder) / PYTHON))


def suite_to_yaml(suite: Suite) -> str:
    """Write a suite as one file, with its benchmarks, claims and parents.

    Relative paths of data and programs stay as they are, and begin at the folder of the file.
    """
    whole = suite.node.plain()
    whole.pop("inherits", None)
    benchmarks = {}
    for name, loaded in suite.benchmarks.items():
        used = whole["benchmarks"].get(name) or {}
        define = {key: value for key, value in loaded.node.plain().items() if key not in ("inherits", "abstract")}
        benchmarks[name] = {"define": define} | {key: used[key] for key in ("arms", "set") if key in used}
    whole["benchmarks"] = benchmarks
    own = {claim.id for claim in suite.model.claims if claim.kind is not None}
    facts = [fact for fact in suite.facts.values() if fact.id not in own]
    whole.pop("facts", None)
    if facts:
        whole["facts"] = [fact.model_dump(mode="json", exclude_defaults=True) for fact in facts]
    return write({key: whole[key] for key in ("suite", "title") if key in whole} | whole)


def suite_to_json(suite: Suite) -> str:
    """The resolved suite as JSON, as its run stores it; :func:`suite_from_json` returns an equal one."""
    files = {name: loaded for name, loaded in suite.benchmarks.items() if loaded.used.define is None}
    return json.dumps(
        {
            "version": VERSION,
            "path": str(suite.path.resolve()),
            "suite": suite.model.model_dump(exclude_unset=True),
            "benchmarks": {name: loaded.model.model_dump(exclude_unset=True) for name, loaded in files.items()},
            "facts": [fact.model_dump(exclude_unset=True) for fact in suite.facts.values()],
            "own_methods": [{**asdict(method), "file": str(method.file)} for method in suite.own_methods],
        }
    )


def suite_from_json(text: str) -> Suite:
    """The suite of :func:`suite_to_json`, checked as a whole against today's registry; its places are its keys.

    Raises:
        HarnessError: a later version wrote it, a custom part is gone, or it names what no longer exists.
    """
    stored = json.loads(text)
    if stored["version"] > VERSION:
        raise HarnessError("a later version of harness stored this suite; update harness, or give the suite's file")
    own = tuple(UserMethod(**{**method, "file": Path(method["file"])}) for method in stored["own_methods"])
    for method in own:
        register(method)
    model = SuiteFile.model_validate(stored["suite"])
    node = node_of(stored["suite"], STORED)
    benchmarks: dict[str, LoadedBenchmark] = {}
    for name, used in model.benchmarks.items():
        if used.define is not None:
            at = node.at(("benchmarks", name, "define"))
            benchmarks[name] = LoadedBenchmark(name, used.define, at, used)
            continue
        written = stored["benchmarks"][name]
        benchmarks[name] = LoadedBenchmark(name, Benchmark.model_validate(written), node_of(written, STORED), used)
    facts = {fact["id"]: PaperClaim.model_validate(fact) for fact in stored["facts"]}
    return checked(Suite(Path(stored["path"]), model, node, benchmarks, facts, own))


def node_of(data: Any, label: str = PYTHON) -> Node:
    """Plain data as nodes whose places are their keys, after a label.

    Raises:
        SuiteError: something that a suite file could not hold.
    """
    if not isinstance(data, Mapping):
        raise SuiteError([Problem(_place((), label), f"a mapping of a suite's keys is expected, not {_kind(data)}")])
    return _node(data, (), label)


def _node(value: Any, path: tuple[str, ...], label: str) -> Node:
    place = _place(path, label)
    if len(path) > MAX_DEPTH:
        raise SuiteError([Problem(place, f"nested deeper than {MAX_DEPTH} levels")])
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise SuiteError([Problem(place, f"the key {key!r} is {_kind(key)}; keys are text")])
        keys = {str(key): (*path, str(key)) for key in value}
        children = {key: _node(value[key], below, label) for key, below in keys.items()}
        return Node(place, children, {key: _place(below, label) for key, below in keys.items()})
    if isinstance(value, list | tuple):
        return Node(place, [_node(item, (*path, str(number)), label) for number, item in enumerate(value)])
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path):
        value = str(value)
    if not (value is None or isinstance(value, bool | int | float | str)) and callable(getattr(value, "item", None)):
        value = value.item() if getattr(value, "size", 1) == 1 else value  # a number of NumPy or torch
    if value is None or isinstance(value, bool | int | float | str):
        return Node(place, value)
    wrong = f"{_kind(value)} is not a valid value: text, numbers, booleans, None, lists and mappings are"
    raise SuiteError([Problem(place, wrong)])


def _place(path: tuple[str, ...], label: str) -> Place:
    return Place(Path(f"{label}, {'.'.join(path)}" if path else label), 0, 0)


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"
