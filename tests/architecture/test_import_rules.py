"""Who may import whom: the rules hold, and each of them refuses a planted violation."""

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("harness", "methods", "suites", "reports")

PLANTED = {
    "stages: a plan dispatches": ("stages", "harness/plan/estimate.py", "import harness.execute.dispatch"),
    "stages: the judge sweeps": ("stages", "harness/judge/mechanism.py", "import harness.sweep.summary"),
    "stages: a worker stores": ("stages", "harness/execute/worker.py", "import harness.store.writer"),
    "stages: a sweep calls the application": ("stages", "harness/sweep/study.py", "import harness.app.run"),
    "stages: a stage reaches its siblings": ("stages", "harness/sweep/study.py", "import harness.preflight.work"),
    "stages: the core asks the registry": ("stages", "harness/trial/loop.py", "import harness.registry"),
    "engine: a stage knows a method": ("engine", "harness/plan/estimate.py", "import methods.optimizers.adamp"),
    "engine: a command knows the pages": ("engine", "harness/cli/report.py", "import reports.site"),
    "core: a library more": ("core", "harness/trial/loop.py", "import pandas"),
    "methods: pandas": ("methods", "methods/optimizers/adamp.py", "import pandas"),
    "methods: the harness": ("methods", "methods/norms/powernorm.py", "import harness.trial.seeds"),
    "heavy-methods: sklearn in an optimizer": ("heavy-methods", "methods/optimizers/baselines.py", "import sklearn"),
    "families: one imports another": ("families", "methods/alignment/mk_mmd.py", "import methods.distillation.kd"),
    "suites: data imports tasks": ("suites", "suites/data/digits.py", "import suites.tasks.classification"),
    "suites-engine: a task stores": ("suites-engine", "suites/tasks/classification.py", "import harness.store.writer"),
    "pages: a page trains": ("pages", "reports/site.py", "import harness.trial.loop"),
    "page-layers: data draw": ("page-layers", "reports/data/sql.py", "import reports.pages.suite"),
    "pure: statistics read": ("pure", "harness/stats/paired.py", "import pandas"),
}

ALLOWED = {
    "methods": {"torch", "numpy", "umap", "sklearn", "adamp"},
    "harness/trial": {"torch", "numpy", "safetensors"},
    "harness/stats": {"numpy", "scipy"},
}
"""Every package that these folders may import beside the standard library and what the rules above let them."""


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def test_the_rules_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_planted_violations_are_refused(copy: Path) -> None:
    """All at once: a check of all rules takes as long as one."""
    texts = {}
    for _, file, line in PLANTED.values():
        path = copy / file
        texts.setdefault(path, path.read_text(encoding="utf-8"))
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    try:
        report = " ".join(lint(copy).stdout.split())
    finally:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    for name, (_, file, line) in PLANTED.items():
        importer = file.removesuffix(".py").replace("/", ".")
        assert f"{importer} -> {line.removeprefix('import ')} (l." in report, name


def test_every_rule_is_tried() -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == {contract for contract, _, _ in PLANTED.values()}


@pytest.mark.parametrize("folder", ALLOWED)
def test_only_listed_packages_are_imported(folder: str) -> None:
    existing = ALLOWED[folder] | set(sys.stdlib_module_names) | set(PACKAGES)
    others = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            others.update({name: path for name in names if name.partition(".")[0] not in existing})
    assert not others


def test_the_engine_names_no_other_package_even_in_strings() -> None:
    """Only the registry names shipped methods, suites and pages."""
    result = []
    for path in sorted((ROOT / "harness").rglob("*.py")):
        if path.parent.name == "registry":
            continue
        tree = ast.parse(path.read_bytes())
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        }
        result += [
            f"{path.relative_to(ROOT)}: {text!r}"
            for text in texts
            if text not in docs and text.partition(".")[0] in ("methods", "suites", "reports") and "." in text
        ]
    assert not result


def test_no_class_name_stands_twice() -> None:
    """One word, one meaning: the glossary can name each."""
    places: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_function_takes_more_than_seven_arguments() -> None:
    """Exceptions are listed: released code's signatures, the Python API's keywords, options of two commands."""
    published = {
        "methods/optimizers/adamp.py:AdamP.__init__",
        "methods/optimizers/sgdp.py:SGDP.__init__",
        "methods/optimizers/baselines.py:adamp_package",
        "methods/norms/powernorm.py:PowerNorm.__init__",
        "methods/distillation/uskd.py:USKD.__init__",
        "harness/app/imports.py:import_results",
        "harness/app/run.py:run",
        "harness/cli/importing.py:init_command",
        "harness/cli/report.py:report_command",
    }
    long = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_bytes())
            owners = {
                id(inner): f"{node.name}."
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef)
                for inner in node.body
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    count = len([item for item in arguments if item.arg not in ("self", "cls")])
                    if count > 7:
                        long.add(f"{path.relative_to(ROOT)}:{owners.get(id(node), '')}{node.name}")
    assert long == published


def test_the_root_of_the_engine_is_small() -> None:
    assert len([path for path in (ROOT / "harness").iterdir() if path.is_file()]) <= 6


def test_no_test_module_name_stands_twice() -> None:
    """Folders of tests are not packages: pytest imports their modules by bare name."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, times in names.items() if times > 1] == []
