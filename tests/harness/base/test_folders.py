"""Folders of trials that have ended: their files are not changed by mistake, and everything that must go can go."""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from harness.base.folders import remove, seal, unseal
from harness.errors import MissingDataError
from harness.execute.worker import Job, run_job, sealed
from harness.plan.planning import Selection, make_plan
from harness.suite import load_suite
from harness.trial.saved import has_trained_weights, load_trained_weights, save_trained_weights
from harness.vocabulary import Status

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A trial's folder in a place that other users can reach."""
    place = Path(tempfile.mkdtemp())
    trial = place / "trial"
    (trial / "deep").mkdir(parents=True)
    (trial / "file").write_text("whole")
    (trial / "deep" / "file").write_text("whole")
    (trial / "link").symlink_to(place / "outside")
    (place / "outside").write_text("whole")
    if os.getuid() == 0:
        for path in (place, trial, trial / "deep", *trial.rglob("file"), place / "outside"):
            os.chown(path, NOBODY, NOBODY)
    yield trial
    shutil.rmtree(place, ignore_errors=True)


def as_a_user(act: Callable[[], object]) -> None:
    """In a process that is not root: root may write anywhere."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            act()
            code = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_sealed_folder_s_files_stay(folder: Path) -> None:
    def act() -> None:
        seal(folder)
        for attempt in (
            lambda: (folder / "file").write_text("changed"),
            lambda: (folder / "deep" / "file").write_text("changed"),
            lambda: (folder / "deep" / "file").unlink(),
            lambda: (folder / "deep" / "new").touch(),
        ):
            with pytest.raises(PermissionError):
                attempt()
        (folder / "again").mkdir()  # in the folder itself there is room

    as_a_user(act)
    assert (folder / "file").read_text() == (folder / "deep" / "file").read_text() == "whole"
    assert mode(folder.parent / "outside") & stat.S_IWUSR  # a link is not followed


def test_a_sealed_folder_can_be_used_again_and_removed(folder: Path) -> None:
    def act() -> None:
        seal(folder)
        unseal(folder)
        (folder / "deep" / "file").write_text("new")
        seal(folder)
        shutil.rmtree(folder, ignore_errors=True)
        assert (folder / "deep" / "file").exists()  # what plain removal cannot do
        remove(folder)
        assert not folder.exists()

    as_a_user(act)
    assert (folder.parent / "outside").read_text() == "whole"


def test_a_damaged_product_of_a_sealed_folder_is_told_and_set_aside(folder: Path) -> None:
    """Changed as only the user's own code can: made writable first, or another put in its place."""
    save_trained_weights(folder, {"w": torch.arange(64.0)})
    if os.getuid() == 0:
        os.chown(folder / "product.safetensors", NOBODY, NOBODY)

    def act() -> None:
        seal(folder)
        product = folder / "product.safetensors"
        with pytest.raises(PermissionError):
            product.open("r+b")
        content = bytearray(product.read_bytes())
        content[-3] ^= 1
        product.unlink()
        product.write_bytes(content)
        with pytest.raises(MissingDataError, match=r"is damaged .*run again"):
            load_trained_weights(folder)
        assert not has_trained_weights(folder)
        unseal(folder)
        save_trained_weights(folder, {"w": torch.arange(64.0)})

    as_a_user(act)
    assert has_trained_weights(folder)


@pytest.mark.parametrize("fails", [False, True])
def test_a_trial_with_a_result_leaves_a_sealed_folder(tiny: Path, tmp_path: Path, fails: bool) -> None:
    (trial,) = make_plan(load_suite(tiny), Selection(seeds=(0,), arms=("base",), overrides={"fails": fails})).trials
    job = Job(trial.trial_id, trial.benchmark, trial.arm, trial.spec, tmp_path / "trial", keep_product=True)
    for _ in range(2):  # the second one finds it write-protected
        outcome = sealed(job, run_job(job, lambda *_: None))
        assert outcome.status == (Status.FAILED if fails else Status.DONE), outcome.error
    product = job.folder / "product.safetensors"
    if fails:
        assert not product.exists()
    else:
        assert mode(product) & 0o222 == 0
        assert mode(job.folder) & stat.S_IWUSR
