"""Locked versions are complete, and within the ranges of pyproject."""

import importlib.util
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def the_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / ".ci" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LOCK = the_script()
LOCKED: dict[str, str] = LOCK.locked()


def pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def asked() -> list[Requirement]:
    """Requirements of pyproject: to run, for the extras, and to build."""
    project = pyproject()["project"]
    extras = [item for lines in project["optional-dependencies"].values() for item in lines]
    wanted = map(Requirement, [*project["dependencies"], *extras, *pyproject()["build-system"]["requires"]])
    return [item for item in wanted if LOCK.canonical(item.name) != LOCK.OWN]


@pytest.mark.parametrize("wanted", asked(), ids=str)
def test_what_is_asked_for_is_locked_within_its_range(wanted: Requirement) -> None:
    version = LOCKED.get(LOCK.canonical(wanted.name))
    assert version is not None, "python .ci/lock.py"
    assert wanted.specifier.contains(version)


def needed_by(name: str, extras: frozenset[str]) -> list[Requirement]:
    """Requirements of an installed package; empty where another version is installed."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:
        return []
    if installed.version.partition("+")[0] != LOCKED.get(LOCK.canonical(name)):
        return []
    wanted = map(Requirement, installed.requires or ())
    return [
        item
        for item in wanted
        if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in (*extras, ""))
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need other packages")
def test_whatever_those_need_is_locked_too() -> None:
    waiting = [(item.name, frozenset(item.extras)) for item in asked()]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        for item in needed_by(*at):
            version = LOCKED.get(LOCK.canonical(item.name))
            assert version is not None, f"{item} of {at[0]} is not locked"
            assert item.specifier.contains(version, prereleases=True), f"{at[0]} asks for {item}, {version} is locked"
            waiting.append((item.name, frozenset(item.extras)))
    assert len(seen) > len(asked())


def test_the_file_is_plain_and_names_no_host() -> None:
    text = LOCK.LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert list(LOCKED) == sorted(LOCKED)
    assert not {LOCK.OWN, "pip"} & LOCKED.keys()
    assert all(line.count("==") == 1 for line in text.splitlines() if not line.startswith("#"))


def test_another_version_a_missing_and_a_further_package_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOCK, "locked", lambda: {"click": "0.1", "no-such-package": "1.0"})
    message = LOCK.differences()
    assert f"click: {distribution('click').version} is installed, 0.1 is locked" in message
    assert "no-such-package: 1.0 is locked, none is installed" in message
    assert f"pytest {distribution('pytest').version} is installed and not locked" in message


def test_the_gate_installs_them() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'PIP_CONSTRAINT="$work/source/.ci/constraints.txt"' in gate
    assert "python .ci/lock.py --check" in gate
