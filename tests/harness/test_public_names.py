"""``import harness`` gives the public names, each imported when it is first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import harness

HEAVY = ("torch", "ray", "duckdb", "pandas", "numpy", "pydantic", "click")


def test_importing_the_package_costs_nothing() -> None:
    code = f"import sys, harness\nprint(sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", harness.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(harness, name).__name__ == name


def test_a_notebook_completes_names_that_are_not_imported_yet() -> None:
    assert {"judge", "open", "run", "Suite", "HarnessError"} <= set(dir(harness))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'runsuite'"):
        _ = harness.runsuite
