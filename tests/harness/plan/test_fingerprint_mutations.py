"""Mutations of the code of the shipped suites: texts move no trial, computations those that reach them.

The mutators work on the syntax trees by their own rules, not by those of the canonical source.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.plan import fingerprint
from harness.plan.fingerprint import roots_of
from harness.plan.planning import Selection, make_plan
from harness.registry.metadata import sources_file
from harness.registry.shipped import suite_files
from harness.suite import load_suite

TEXTS = ("warnings", "logging", "log", "logger")


@dataclass(frozen=True)
class Reached:
    """The trials of the shipped suites: by their roots, with the modules that they reach and their files."""

    of: dict[tuple[str, ...], frozenset[str]]
    files: dict[str, Path]

    def fingerprints(self) -> dict[tuple[str, ...], str]:
        """Every trial's code, computed from the sources as they are read now."""
        fingerprint.forget()
        return {start: fingerprint.fingerprint(start) for start in self.of}


@pytest.fixture(scope="module")
def trials() -> Reached:
    starts: set[tuple[str, ...]] = set()
    for name in suite_files():
        for scale in ("mini", "paper"):
            plan = make_plan(load_suite(name), Selection(scale=scale, seeds=(0,)))
            starts |= {tuple(sorted(roots_of(trial.spec))) for trial in plan.trials}
    of = {}
    for start in starts:
        modules = {root.partition(":")[0] for root in start} | {fingerprint.LOOP}
        of[start] = frozenset(fingerprint.reached(tuple(sorted(modules))))
    files = {name: fingerprint._file(name) for name in frozenset().union(*of.values())}
    assert len(of) > 60
    assert len(files) > 100
    return Reached(of, {name: path for name, path in files.items() if path is not None})


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[Path, str]], None]]:
    """Sources that are read as if they had been edited."""
    instead: dict[Path, bytes] = {}
    monkeypatch.setattr(fingerprint, "content", lambda path: instead.get(path) or path.read_bytes())

    def edit(texts: dict[Path, str]) -> None:
        instead.clear()
        instead.update({path: text.encode() for path, text in texts.items()})

    yield edit
    monkeypatch.undo()
    fingerprint.forget()


def _docstrings(tree: ast.AST) -> int:
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value = ast.Constant("Other words.")
                count += 1
    return count


def _annotations(tree: ast.AST) -> int:
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            node.returns = ast.Name("object")
            count += 1
        elif (isinstance(node, ast.arg) and node.annotation is not None) or isinstance(node, ast.AnnAssign):
            node.annotation = ast.BinOp(node.annotation, ast.BitOr(), ast.Constant(None))
            count += 1
    return count


def _is_text(node: object) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _reworded(root: ast.AST) -> int:
    count = 0
    for node in ast.walk(root):
        for name, value in ast.iter_fields(node):
            if _is_text(value):
                setattr(node, name, ast.Constant("another message"))
                count += 1
            elif isinstance(value, list):
                for place, item in enumerate(value):
                    if _is_text(item):
                        value[place] = ast.Constant("another message")
                        count += 1
    return count


def _messages(tree: ast.AST) -> int:
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            count += _reworded(node.exc)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in TEXTS
        ):
            count += _reworded(node)
    return count


def _metadata(tree: ast.AST) -> int:
    """Every text of a metadata record and of an option; a new field of the search space."""
    count = 0
    for node in ast.walk(tree):
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if isinstance(node, ast.Call) and (name.endswith("Metadata") or name == "option"):
            count += _reworded(node)
            node.keywords.append(ast.keyword("summary_again", ast.Constant("another text")))
    return count


WORDS = {"docstring": _docstrings, "annotation": _annotations, "message": _messages, "metadata": _metadata}


@pytest.mark.full
@pytest.mark.parametrize("kind", WORDS)
def test_words_move_no_trial(trials: Reached, edited: Callable[[dict[Path, str]], None], kind: str) -> None:
    """All files are changed at once; where that moves a trial, the file is looked for."""
    before = trials.fingerprints()
    changed = 0
    texts = {}
    for path in sorted(trials.files.values()):
        tree = ast.parse(path.read_bytes())
        here = WORDS[kind](tree)
        if here:
            changed += here
            texts[path] = ast.unparse(ast.fix_missing_locations(tree))
    assert changed > 60, f"only {changed} {kind}s were changed"
    edited(texts)
    if trials.fingerprints() == before:
        return
    for path, text in texts.items():
        edited({path: text})
        assert trials.fingerprints() == before, f"the {kind}s of {path} decide a trial's identity"
    pytest.fail(f"the {kind}s of several files together decide a trial's identity")


PLANNED = """
import json
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
plan = make_plan(load_suite("adamp"), Selection(seeds=(0,)))
print(json.dumps([[link.benchmark, link.arm, link.trial_id] for link in plan.links]))
"""


def test_names_and_places_of_files_move_no_trial(tmp_path: Path) -> None:
    """Helper modules of a copy are renamed, and their importers follow."""
    root = Path(fingerprint.__file__).parents[2]
    for package in ("harness", "methods", "suites"):
        shutil.copytree(root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    plan = make_plan(load_suite("adamp"), Selection(seeds=(0,)))
    moves = {
        "suites.tasks.augment": "suites.tasks.augmentations",
        "suites.data.digits": "suites.data.handwritten_digits",
        "suites.models.taps": "suites.models.feature_taps",
        "harness.trial.seeds": "harness.trial.streams",
        "methods.optimizers.projection": "methods.optimizers.rejection",
    }
    for old, new in moves.items():
        source = tmp_path.joinpath(*old.split(".")).with_suffix(".py")
        assert source.is_file(), f"{old} is gone: name another helper module"
        target = tmp_path.joinpath(*new.split(".")).with_suffix(".py")
        source.rename(target)
        if sources_file(source).is_file():
            sources_file(source).rename(sources_file(target))
    for path in tmp_path.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for old, new in moves.items():
            text = text.replace(f"{old} import", f"{new} import").replace(f'"{old}"', f'"{new}"')
            package, _, name = old.rpartition(".")
            text = text.replace(
                f"from {package} import {name}\n", f"from {package} import {new.rpartition('.')[2]} as {name}\n"
            )
        path.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", PLANNED]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[link.benchmark, link.arm, link.trial_id] for link in plan.links]


def _makes_metadata(node: ast.AST) -> bool:
    inner = ast.walk(node) if isinstance(node, ast.FunctionDef) else ()
    return any(isinstance(item, ast.Call) and getattr(item.func, "id", "").endswith("Metadata") for item in inner)


def _sites(tree: ast.AST) -> list[Callable[[], None]]:
    """Every single change of an operator, constant, comparison or call."""
    result: list[Callable[[], None]] = []
    spoken: set[int] = set()
    for node in ast.walk(tree):
        silent = isinstance(node, ast.Raise | ast.Assert) or (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and (node.func.id.endswith(("Metadata", "Error")) or node.func.id in ("option", "Option", "Key", "print"))
        )
        metadata = isinstance(node, ast.Assign | ast.AnnAssign) and any(
            isinstance(target, ast.Name) and target.id.lower() == "metadata"
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        )
        # an f-string may be a message's, and a function that makes a metadata record describes
        metadata = metadata or isinstance(node, ast.JoinedStr) or _makes_metadata(node)
        typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if silent or metadata or typing:
            spoken.update(id(item) for item in ast.walk(node))
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                spoken.update(id(item) for item in ast.walk(getattr(node, field)))
    for node in ast.walk(tree):
        if id(node) in spoken:
            continue
        if isinstance(node, ast.BinOp):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            result.append(lambda node=node, other=other: setattr(node, "op", other))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            result.append(lambda node=node: setattr(node, "value", node.value + 1))
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            result.append(lambda node=node: setattr(node, "value", not node.value))
        elif isinstance(node, ast.Compare):
            other = ast.LtE() if isinstance(node.ops[0], ast.Lt) else ast.Lt()
            result.append(lambda node=node, other=other: node.ops.__setitem__(0, other))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            result.append(lambda node=node: setattr(node.func, "attr", node.func.attr + "_"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            result.append(lambda node=node: setattr(node, "op", ast.UAdd()))
    return result


@pytest.mark.full
@pytest.mark.parametrize("mutants", [60, pytest.param(240, marks=pytest.mark.slow)])
def test_a_change_of_what_computes_moves_exactly_the_trials_that_reach_it(
    trials: Reached, edited: Callable[[dict[Path, str]], None], mutants: int
) -> None:
    draws = random.Random(20261126)
    before = trials.fingerprints()
    modules = sorted(trials.files)
    sites = {name: len(_sites(ast.parse(trials.files[name].read_bytes()))) for name in modules}
    once = [name for name in modules if sites[name]]
    again = draws.choices(modules, [sites[name] for name in modules], k=max(0, mutants - len(once)))
    for name in draws.sample(once, min(mutants, len(once))) + again:
        tree = copy.deepcopy(ast.parse(trials.files[name].read_bytes()))
        draws.choice(_sites(tree))()
        edited({trials.files[name]: ast.unparse(ast.fix_missing_locations(tree))})
        after = trials.fingerprints()
        moved = {start for start in trials.of if after[start] != before[start]}
        assert moved == {start for start, reached in trials.of.items() if name in reached}, name


@pytest.mark.full
def test_what_is_imported_is_reached() -> None:
    """Modules that Python loads for a trial's roots count, if they compute."""
    plan = make_plan(load_suite("adamp"), Selection(benchmarks=("imagenet-resnet18",), arms=("adamp",), seeds=(0,)))
    names = sorted({root.partition(":")[0] for root in (*roots_of(plan.trials[0].spec), fingerprint.LOOP)})
    reached = frozenset(fingerprint.reached(tuple(names)))
    code = f"import importlib, sys; [importlib.import_module(name) for name in {names!r}]"
    code += "; print('\\n'.join(name for name, one in sys.modules.items() if getattr(one, '__file__', None)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {
        name
        for name in done.stdout.split()
        if name.startswith(("methods.", "suites.", "harness.trial.", "harness.base."))
    }
    packages = {name for name in loaded if (fingerprint._file(name) or Path()).name == "__init__.py"}
    # a re-exporting package loads all that it re-exports; what is taken from it counts alone
    assert packages
    assert "suites.tasks" not in reached
    assert reached <= loaded | _lazily(reached)
    assert {name for name in loaded if name.startswith(("suites.", "harness.trial."))} - packages <= reached


def _lazily(reached: frozenset[str]) -> frozenset[str]:
    """Modules imported inside functions, with all that these reach."""
    result: set[str] = set()
    for name in reached:
        path = fingerprint._file(name)
        assert path is not None
        for function in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.ImportFrom) and node.module:
                        result |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset().union(*(fingerprint.reached((name,)) for name in result & reached))


def test_another_name_taken_from_a_module_is_other_code(tmp_path: Path) -> None:
    """The canonical source has the local name; the fingerprint has the original one."""
    codes = set()
    for number, name in enumerate(("f", "g as f", "f as g")):
        path = tmp_path / f"mine{number}.py"
        path.write_text(f"from methods.precision import {name}\n", encoding="utf-8")
        codes.add(fingerprint.fingerprint([str(path)]))
    assert len(codes) == 3


def test_what_a_package_hands_on_under_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "handing_on"
    package.mkdir()
    (package / "own.py").write_text("def f():\n    return 1\n\n\ndef g():\n    return 2\n", encoding="utf-8")
    (package / "user.py").write_text("from handing_on import h\n\nVALUE = h()\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    codes = []
    for handed_on in ("from handing_on.own import f as h", "from handing_on.own import g as h"):
        (package / "__init__.py").write_text(f"{handed_on}\n", encoding="utf-8")
        fingerprint.forget()
        assert "handing_on.own" in fingerprint.reached(("handing_on.user",))
        codes.append(fingerprint.fingerprint(["handing_on.user:VALUE"]))
    assert codes[0] != codes[1]
