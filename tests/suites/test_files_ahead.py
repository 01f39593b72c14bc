"""Every task that reads files in training: the same batches for any number of threads, and after a resumption."""

import dataclasses
import io
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract_cells import tensors
from PIL import Image

from harness import registry
from harness.errors import HarnessError
from harness.execute.worker import Job
from harness.plan.planning import Selection, make_plan
from harness.preflight.measure import Copies
from harness.preflight.work import work_of
from harness.suite import load_suite
from harness.trial.assembly import assemble
from harness.trial.contracts import Task
from harness.trial.loading import Loader
from harness.trial.loop import DivergedError, Loop, train
from harness.trial.runtime import Runtime
from harness.trial.spec import Part, TrialSpec
from suites.data.photographs import jpeg_size, opened
from suites.tasks import decoding
from suites.tasks.decoding import decode_box, decode_centre, jpeg_decoder, pixels, resized

CELLS = {
    "classification": ("adamp", "imagenet-resnet18", "adamp"),
    "distillation": ("nkd", "imagenet-resnet18", "nkd"),
    "mixing": ("adamp", "imagenet-resnet50-cutmix", "adamp"),
    "retrieval": ("adamp", "cub-triplet", "adamp"),
    "retrieval by proxies": ("adamp", "inshop-proxyanchor", "adamw"),
    "debiasing": ("adamp", "imagenet9-rebias", "adamp"),
    "audio": ("adamp", "dcase", "adamp"),
    "detection": ("adamp", "coco-ssd-scratch", "adam"),
    "inpainting": ("region_norm", "places2", "rn"),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("copies"))


def paper_spec(suite: str, benchmark: str, arm: str) -> TrialSpec:
    plan = make_plan(load_suite(suite), Selection("paper", (benchmark,), (arm,), (0,)))
    return work_of(next(trial for trial in plan.trials if trial.arm == arm)).spec


def built(cell: str, copies: Copies, folder: Path) -> Task:
    """A task at paper scale: a micro-batch on tiny copies of published files."""
    spec = paper_spec(*CELLS[cell])
    data, root = copies.data(spec.data)
    values = {name: False if name == "pretrained" else value for name, value in spec.model.values.items()}
    spec = dataclasses.replace(spec, data=data, model=Part(spec.model.name, values), prerequisites={})
    task = assemble(spec, Runtime(folder, torch.device("cpu"), registry.load, root))
    if cell == "distillation":  # of its networks and its teacher nothing is needed here
        task.load_images()  # type: ignore[attr-defined]
    else:
        task.build()
    return task


@pytest.mark.full
@pytest.mark.timeout(200)
@pytest.mark.parametrize("cell", CELLS)
def test_batches_are_the_same_for_any_number_of_threads(cell: str, copies: Copies, tmp_path: Path) -> None:
    task = built(cell, copies, tmp_path)

    def batches(workers: int, epoch: int, first: int = 0) -> list[list[torch.Tensor]]:
        loader = Loader(torch.device("cpu"), workers)
        taken = [tensors(batch) for batch in loader.ahead(islice(task.readings(epoch), first, 3))]
        loader.close()
        return taken

    assert task.in_files  # type: ignore[attr-defined]
    for epoch in (0, 1):
        plain = batches(0, epoch)
        assert plain
        assert all(plain)
        for workers in (1, 2, 4):
            same(batches(workers, epoch), plain)
        same(batches(2, epoch, first=1), plain[1:])  # as a trial that goes on from its checkpoint
        same([tensors(batch) for batch in islice(task.batches(epoch), 3)], plain)
    assert repr(plain) != repr(batches(0, 0))


def same(mine: list[list[torch.Tensor]], theirs: list[list[torch.Tensor]]) -> None:
    assert len(mine) == len(theirs)
    for item, other in zip(mine, theirs, strict=True):
        assert len(item) == len(other)
        assert all(map(torch.equal, item, other))


def small_spec(**recipe: Any) -> TrialSpec:
    """A short training of the mini network on a copy of ImageNet."""
    chosen = Selection("mini", ("imagenet-resnet18",), ("adamp",), (0,))
    spec = make_plan(load_suite("adamp"), chosen).trials[-1].spec
    data = Part("imagenet", {"size": 32, "resize": 36, "validation": 0})
    changes = {"steps": 9, "epochs": None, "evaluations": 2, "batch_size": 2, "augment": "imagenet"}
    changes |= {"eval_batch": 2, "select": "last", "selection_metric": None, "max_steps": None}
    return dataclasses.replace(spec, data=data, content={}, recipe={**spec.recipe, **changes, **recipe})


class CutOff(Exception):  # noqa: N818
    """The simulated end of the process."""


def trained(spec: TrialSpec, root: Path, folder: Path, stop_at: int = 10**9) -> Any:
    def beat(step: int, steps: int, loss: float) -> None:
        if step >= stop_at:
            raise CutOff

    runtime = Runtime(folder, torch.device("cpu"), registry.load, root, beat, checkpoint_seconds=0.0)
    done = train(spec, runtime)
    return done.results, {(item.split, item.name): (item.step, item.value) for item in done.series}


def every_step(loop: Loop, step: int, loss: torch.Tensor) -> None:
    loop.runtime.beat(step + 1, loop.total, float(loss.detach()))


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader") and thread.is_alive()]


def wait_for_threads() -> None:
    for thread in loader_threads():
        thread.join(20)
    assert not loader_threads()


@pytest.mark.full
def test_a_training_from_files_goes_on_to_the_last_bit_with_other_threads(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root = copies.data(Part("imagenet"))
    whole = trained(small_spec(loader_workers=0), root, tmp_path / "whole")
    monkeypatch.setattr(Loop, "_beat", every_step)
    for stop_at, workers in ((3, 4), (6, 2)):
        with pytest.raises(CutOff):
            trained(small_spec(loader_workers=workers), root, tmp_path / "cut", stop_at)
        wait_for_threads()
    assert trained(small_spec(loader_workers=1), root, tmp_path / "cut") == whole
    wait_for_threads()


def test_a_resumed_trial_reads_nothing_of_the_batches_that_are_done(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root = copies.data(Part("imagenet"))
    read: list[Path] = []
    monkeypatch.setattr(decoding, "pixels", lambda file, _before=pixels: (read.append(file), _before(file))[1])
    task = assemble(small_spec(), Runtime(tmp_path, torch.device("cpu"), registry.load, root))
    loop = Loop(task, task.build(), Runtime(tmp_path, torch.device("cpu"), registry.load, root))
    loop.step = loop.position = 1
    task.loader.workers = 0
    next(loop._batches())
    assert len(read) == 2


def test_a_diverged_training_leaves_no_thread(copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, root = copies.data(Part("imagenet"))

    def diverged(self: Loop, step: int, batch: Any) -> Any:
        raise DivergedError(step, float("nan"))

    monkeypatch.setattr(Loop, "take_step", diverged)
    runtime = Runtime(tmp_path, torch.device("cpu"), registry.load, root)
    assert train(small_spec(loader_workers=3), runtime).status == "diverged"
    wait_for_threads()


def test_a_damaged_file_fails_its_trial_with_its_path(copies: Copies, tmp_path: Path) -> None:
    from suites.fixtures.images import write_imagenet

    write_imagenet(tmp_path)
    for broken in (tmp_path / "imagenet" / "train").rglob("*.JPEG"):
        broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(HarnessError, match=r"train_\d\.JPEG is not an image that can be decoded"):
        trained(small_spec(loader_workers=2), tmp_path, tmp_path / "trial")
    wait_for_threads()


@pytest.mark.full
def test_threads_that_read_are_no_part_of_the_identity() -> None:
    def planned(**overrides: Any) -> Any:
        chosen = Selection("mini", ("imagenet-resnet18",), ("adamp",), (0,), overrides=overrides)
        return make_plan(load_suite("adamp"), chosen).trials[-1]

    few, many, computing = planned(loader_workers=0), planned(loader_workers=7), planned(threads=2)
    assert few.trial_id == many.trial_id != computing.trial_id
    assert many.spec.recipe["loader_workers"] == 7
    # A trial takes the CPUs of those that compute or of those that read.
    cpus = [Job("", "", "", item.spec, Path()).threads for item in (few, many, computing)]
    assert cpus == [1, 7, 2]


def photographs() -> Iterator[tuple[str, bytes, bool]]:
    """Files of every usual kind, and whether they are JPEG's usual kind."""
    draws = np.random.default_rng(0)
    for width, height in ((64, 48), (33, 47), (8, 8), (17, 150)):
        coarse = draws.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        for mode in ("RGB", "L", "CMYK"):
            for subsampling, progressive in ((0, False), (1, True), (2, False), (2, True)):
                out = io.BytesIO()
                options = {} if mode == "CMYK" else {"subsampling": subsampling, "progressive": progressive}
                image.convert(mode).save(out, "JPEG", quality=91, **options)
                yield f"{width}x{height}-{mode}-{subsampling}-{progressive}.jpg", out.getvalue(), mode != "CMYK"
        for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("BMP", "RGB"), ("WEBP", "RGB")):
            out = io.BytesIO()
            image.convert(mode).save(out, kind)
            yield f"{width}x{height}-{mode}.{kind.lower()}", out.getvalue(), False


def test_the_operator_decodes_as_pillow_does(tmp_path: Path) -> None:
    """So that numbers do not depend on whether torchvision still has it."""
    assert jpeg_decoder() is not None
    for name, content, usual in photographs():
        file = tmp_path / name
        file.write_bytes(content)
        theirs = np.asarray(opened(content, "RGB", name))
        assert (jpeg_size(content) == (theirs.shape[1], theirs.shape[0])) == usual, name
        assert np.array_equal(pixels(file), theirs), name


def test_without_the_operator_pictures_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for name, content, _ in photographs():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    box = (0.1, 0.2, 0.7, 0.55)
    fast = [(decode_centre(file, 24, 30), decode_box(file, box, 24)) for file in files]
    monkeypatch.setattr(decoding, "jpeg_decoder", lambda: None)
    for file, (centre, cut) in zip(files, fast, strict=True):
        assert np.array_equal(decode_centre(file, 24, 30), centre)
        assert np.array_equal(decode_box(file, box, 24), cut)


def test_resizing_is_that_of_pillow_to_a_level() -> None:
    draws = np.random.default_rng(0)
    for height, width in ((90, 120), (300, 70), (20, 30)):
        image = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
        theirs = np.asarray(Image.fromarray(image).resize((48, 56), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.abs(resized(image, 56, 48).astype(int) - theirs).max() <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image"),
        (b"\xff\xd8\xff", "not an image"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03", "pixels, more than"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x01\xff\xff\x03", "too narrow"),
        (b"\xff\xd8\xff\xe0\x00\x02" * 3, "not an image"),
    ],
)
def test_a_file_that_claims_or_lacks_pixels_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "odd.jpg").write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        pixels(tmp_path / "odd.jpg")
    with pytest.raises(HarnessError, match=r"no\.jpg"):
        pixels(tmp_path / "no.jpg")
