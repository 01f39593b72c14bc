"""A program may write beneath its own trial's folder, not in those of others; where the kernel holds such a fence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from test_command_task import CLIENT, own_suite, ran

from harness.vocabulary import Status
from suites.tasks import program_fence
from suites.tasks.program_fence import Fence, private_temporary, started_within, version

fenced = pytest.mark.skipif(not version(), reason="this kernel has no Landlock")

TRIES = """
import os, shutil, sys
from pathlib import Path


def tried(what):
    try:
        what()
    except OSError:
        return 0
    return 1


own, other, here = folder(), folder().parent / "other", Path.cwd()
found = {
    "own": lambda: (own / "deep").mkdir() or (own / "deep" / "file").write_text("x"),
    "own_rename": lambda: os.replace(own / "deep" / "file", own / "moved"),
    "changed": lambda: (other / "product").write_text("bad"),
    "truncated": lambda: os.truncate(other / "product", 0),
    "removed": lambda: (other / "product").unlink(),
    "moved_away": lambda: os.replace(other / "product", own / "stolen"),
    "moved_in": lambda: os.replace(own / "moved", other / "planted"),
    "linked_in": lambda: os.link(own / "moved", other / "linked"),
    "made": lambda: (other / "new").write_text("x"),
    "made_beside": lambda: (other.parent / "new").mkdir(),
    "folder_gone": lambda: shutil.rmtree(other),
    "journal": lambda: (other.parent.parent / "harness.duckdb.journal" / "1.jsonl").write_text("x"),
    "child": lambda: os.system(f"echo bad > {other / 'product'} 2>/dev/null") and os.open("/nowhere", os.O_RDONLY),
    "working_folder": lambda: (here / "new.txt").write_text("x"),
    "existing_beside": lambda: (here / "runs" / "new.txt").write_text("x"),
    "temporary": lambda: __import__("tempfile").mkdtemp(),
    "null": lambda: Path("/dev/null").write_text("x"),
    "reads": lambda: (other / "product").read_text(),
}
log(**{name: tried(what) for name, what in found.items()}, accuracy=1)
"""
FENCED = "writes: []\n"
WITHIN = {"own", "own_rename", "existing_beside", "temporary", "null", "reads"}


def places(folder: Path) -> Path:
    other = folder / "artifacts" / "other"
    other.mkdir(parents=True)
    (other / "product").write_text("good")
    (folder / "harness.duckdb.journal").mkdir()
    (folder / "harness.duckdb.journal" / "1.jsonl").write_text("{}")
    (folder / "runs").mkdir()
    return other


def succeeded(outcome: object) -> set[str]:
    assert outcome.status == Status.DONE, outcome.error
    return {score.metric for score in outcome.results if score.value == 1} - {"accuracy"}


@fenced
def test_of_the_trials_folder_a_program_may_write_its_own(tmp_path: Path) -> None:
    other = places(tmp_path)
    outcome = ran(own_suite(tmp_path, CLIENT + TRIES, FENCED), tmp_path)
    assert succeeded(outcome) == WITHIN
    assert {path.name: path.read_text() for path in other.iterdir()} == {"product": "good"}
    assert "could write anywhere" not in str(outcome.artifacts[0].caption)


@fenced
def test_writes_opens_more(tmp_path: Path) -> None:
    places(tmp_path)
    script = CLIENT + "Path = type(folder())\nlog(accuracy=Path('deep/made').mkdir() is None)\n"
    path = own_suite(tmp_path, script, FENCED)
    assert ran(path, tmp_path).status == Status.FAILED
    path.write_text(path.read_text().replace("writes: []", "writes: [deep]"))
    assert ran(path, tmp_path).status == Status.DONE
    assert (tmp_path / "deep" / "made").is_dir()


@fenced
def test_a_script_beside_its_results_may_write_where_it_runs_unless_it_is_told(tmp_path: Path) -> None:
    places(tmp_path)
    outcome = ran(own_suite(tmp_path, CLIENT + "open('model.pt', 'w')\nlog(accuracy=1)\n"), tmp_path)
    assert outcome.status == Status.DONE, outcome.error
    assert "it could write anywhere: the results lie within the folder where it runs" in outcome.artifacts[0].caption


@fenced
def test_where_the_results_lie_elsewhere_there_is_a_fence_unasked(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    script = "open('model.pt', 'w')\n(folder().parent / 'planted').write_text('x')\n"
    outcome = ran(own_suite(project, CLIENT + script), tmp_path)
    assert outcome.status == Status.FAILED
    assert "PermissionError" in str(outcome.error)
    assert (project / "model.pt").exists()


@pytest.mark.parametrize("why", ["the suite", "the kernel"])
def test_without_a_fence_all_is_as_before_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    places(tmp_path)
    script = CLIENT + "(folder().parent / 'other' / 'product').write_text('changed')\nlog(accuracy=1)\n"
    if why == "the kernel":
        monkeypatch.setattr(program_fence, "version", lambda: 0)
    outcome = ran(own_suite(tmp_path, script, "writes: [/]\n" if why == "the suite" else FENCED), tmp_path)
    assert outcome.status == Status.DONE, outcome.error
    told = {"the suite": "the suite opens everything to it", "the kernel": "this system has no Landlock"}[why]
    assert outcome.artifacts[0].caption == f"what the program printed; it could write anywhere: {told}"
    assert (tmp_path / "artifacts" / "other" / "product").read_text() == "changed"


@fenced
def test_a_program_that_was_refused_is_told_what_to_do(tmp_path: Path) -> None:
    outcome = ran(own_suite(tmp_path, "open('model.pt', 'w')\n", FENCED), tmp_path)
    assert outcome.status == Status.FAILED
    assert "PermissionError" in str(outcome.error)
    assert "'writes: [PATH]' allows more" in str(outcome.error)
    outcome = ran(own_suite(tmp_path, "1 / 0\n", FENCED), tmp_path)
    assert "writes" not in str(outcome.error)


@fenced
def test_this_process_and_its_later_programs_are_not_fenced(tmp_path: Path) -> None:
    places(tmp_path)
    ran(own_suite(tmp_path, CLIENT + "log(accuracy=1)\n", FENCED), tmp_path)
    (tmp_path / "artifacts" / "other" / "mine").write_text("x")
    with pytest.raises(ZeroDivisionError):
        started_within(Fence(tmp_path / "artifacts" / "other"), lambda: 1 // 0)


def test_a_temporary_folder_that_is_closed_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_fence, "version", lambda: 7)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trial = tmp_path / "results" / "artifacts" / "abc"
    trial.mkdir(parents=True)
    made = private_temporary(Fence(trial))
    assert made is not None
    assert made.parent == tmp_path
    assert private_temporary(Fence(trial, (tmp_path,))) is None
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "results" / "elsewhere"))
    assert private_temporary(Fence(trial)) is None


@fenced
def test_the_temporary_folder_of_a_program_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = CLIENT + "import tempfile\nprint(tempfile.mkdtemp())\nlog(accuracy=1)\n"
    outcome = ran(own_suite(tmp_path, script, FENCED), tmp_path)
    assert outcome.status == Status.DONE, outcome.error
    told = Path(outcome.artifacts[0].path.read_text().split()[0])
    assert told.parent.parent == tmp_path
    assert list(tmp_path.glob("h-*")) == []


def test_too_many_neighbours_are_no_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not version():
        pytest.skip("this kernel has no Landlock")
    monkeypatch.setattr(program_fence, "MOST_ENTRIES", 1)
    outcome = ran(own_suite(tmp_path, CLIENT + "log(accuracy=1)\n", FENCED), tmp_path)
    assert "more than 1 entries beside" in str(outcome.artifacts[0].caption)
