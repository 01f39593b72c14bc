"""Packages shipped beside the engine: only this module knows their names.

Pages come through the entry point ``harness.pages``; another package may bring its own.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import HarnessError

SUITES = "suites"
CHECKS = f"{SUITES}.checks"
FIXTURES = f"{SUITES}.fixtures.published"
CONFORMANCE = "methods.conformance"
PAGES = "harness.pages"
COMPUTING = ("methods", "suites")
"""Packages whose code decides numbers."""
DESCRIBING = ("methods.metadata", "harness.base.metadata")
"""Modules that only describe."""


@cache
def suites_folder() -> Path:
    """The folder of the ``suites`` package beside this one.

    Raises:
        HarnessError: it is missing.
    """
    folder = Path(__file__).resolve().parents[2] / SUITES
    if not (folder / "__init__.py").is_file():
        raise HarnessError("the package 'suites' is not installed beside 'harness'; install the project again")
    return folder


def suite_files() -> dict[str, Path]:
    """Every shipped suite file by name."""
    return {path.stem: path for path in sorted(suites_folder().glob("*.yaml"))}


def check_names(suite: str) -> list[str]:
    """The names of a suite's checks, read without importing its module."""
    file = suites_folder() / "checks" / f"{suite}.py"
    if not file.is_file():
        return []
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def check_module(suite: str) -> str:
    """The module of a suite's checks."""
    return f"{CHECKS}.{suite}"


def fixtures() -> ModuleType:
    """The module that knows the tiny copies of the published data sets."""
    return importlib.import_module(FIXTURES)


def conformance() -> ModuleType:
    """The module that compares the methods with reference vectors."""
    return importlib.import_module(CONFORMANCE)


def page_writer(name: str) -> Any:
    """The function that writes pages: ``site``, ``comparison`` of a table's verdicts, or its ``fragment``.

    Raises:
        HarnessError: no installed package brings one.
    """
    from importlib.metadata import entry_points

    points = entry_points(group=PAGES, name=name)
    if not points:
        raise HarnessError(
            f"no installed package writes pages (entry point '{name}' of 'harness.pages'); install the project again"
        )
    return next(iter(points)).load()
