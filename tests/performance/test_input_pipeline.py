"""What reading costs: images a second beside torch's DataLoader, a step while files are read, tokens and arrays.

Printed as a table; ratios within one run are asserted, seconds never.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.trial.loading import Loader, PendingBatch, ready
from suites.data.types import ImageFiles, ImageSplit
from suites.tasks.augment import crop_boxes, mirrored
from suites.tasks.common import ImageBatches
from suites.tasks.decoding import decode_box

CPU = torch.device("cpu")
SIZE, BATCH = 224, 50
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500 × 375 pixels, about 70 kB each."""
    from suites.fixtures.images import picture

    files = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        picture(file, number)
    return files


def images_of(files: list[Path], workers: int) -> ImageBatches:
    split = ImageSplit(ImageFiles(tuple(files), SIZE, 256), np.zeros(len(files), dtype=np.int64), np.arange(len(files)))
    return ImageBatches(split, torch.tensor(MEAN), torch.tensor(STD), CPU, Loader(CPU, workers))


def drawn(batch: int) -> torch.Generator:
    return torch.Generator().manual_seed(batch)


def readings(images: ImageBatches) -> Iterator[PendingBatch[tuple[torch.Tensor, torch.Tensor]]]:
    for batch, places in enumerate(torch.arange(len(images)).split(BATCH)):
        yield images.reading(places, "imagenet", drawn(batch))


class Torchvision(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The same crops and mirrors of the same files, by torchvision's functions on Pillow's images."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.boxes: list[list[float]] = []
        self.turned: list[bool] = []
        for batch, places in enumerate(torch.arange(len(files)).split(BATCH)):
            generator = drawn(batch)
            self.boxes += crop_boxes(len(places), generator).tolist()
            self.turned += mirrored(len(places), generator).tolist()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        from torchvision.datasets.folder import default_loader
        from torchvision.transforms import functional

        image = default_loader(str(self.files[place]))
        top, left, height, width = self.boxes[place]
        box = [round(top * image.height), round(left * image.width)]
        box += [max(1, round(height * image.height)), max(1, round(width * image.width))]
        cut = functional.resized_crop(image, *box, [SIZE, SIZE])
        cut = functional.hflip(cut) if self.turned[place] else cut
        return functional.normalize(functional.to_tensor(cut), MEAN, STD), 0


def rate_of_ours(files: list[Path], workers: int) -> float:
    images = images_of(files, workers)
    started = time.perf_counter()
    count = sum(len(labels) for _, labels in images.loader.ahead(readings(images)))
    seconds = time.perf_counter() - started
    images.loader.close()
    return count / seconds


def rate_of_torch(files: list[Path], workers: int) -> float:
    loader = torch.utils.data.DataLoader(Torchvision(files), BATCH, num_workers=workers)
    batches = iter(loader)
    for _ in range(workers):  # its processes have started, and each has made a batch
        next(batches)
    started = time.perf_counter()
    count = sum(len(labels) for _, labels in batches)
    return count / (time.perf_counter() - started)


def measured(files: list[Path], cores: int) -> dict[str, float]:
    """Images a second on so many cores, each the median of rounds that take turns."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    torch.set_num_threads(1)
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: rate_of_ours(files, cores),
        "DataLoader": lambda: rate_of_torch(files, cores),
    }
    if cores == 1:
        ways["DataLoader, no process"] = lambda: rate_of_torch(files, 0)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            rates[name].append(way())
    return {name: statistics.median(found) for name, found in rates.items()}


def test_the_same_pictures_are_made_in_less_of_a_processors_time(tmp_path: Path) -> None:
    """Of the processor's own time of one thread: it is 0.5 of torchvision's; the bound is wide."""
    files = write_photographs(tmp_path, 24)
    theirs, images = Torchvision(files), images_of(files, 0)
    boxes = theirs.boxes

    def seconds(work: Callable[[], Any]) -> float:
        started = time.thread_time()
        work()
        return time.thread_time() - started

    def ours() -> None:
        for place, file in enumerate(files):
            decode_box(file, boxes[place], SIZE)

    ours()
    ratios = [seconds(ours) / seconds(lambda: [theirs[place] for place in range(len(files))]) for _ in range(5)]
    assert statistics.median(ratios) < 0.8, ratios
    ((made, _),) = list(images.loader.ahead(readings(images)))
    expected = torch.stack([theirs[place][0] for place in range(len(files))])
    assert (made - expected).abs().max() < 1.5 / 255 / min(STD)  # a level of Pillow's resizing


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cores", [1, 2])
def test_images_a_second_beside_the_dataloader(tmp_path: Path, cores: int) -> None:
    files = write_photographs(tmp_path, 500)
    code = f"import sys, json; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_input_pipeline as t\n"
    code += f"from pathlib import Path; files = sorted(Path({str(tmp_path)!r}).glob('*.jpg'))\n"
    code += f"print(json.dumps(t.measured(files, {cores})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=800)
    rates = json.loads(done.stdout.splitlines()[-1])
    best = max(rate for name, rate in rates.items() if name != "ours")
    told = ", ".join(f"{name} {rate:.0f}/s" for name, rate in rates.items())
    print(
        f"\n{cores} core(s), {files[0].stat().st_size / 1000:.0f} kB a file: {told}: ours ×{rates['ours'] / best:.2f}"
    )
    assert rates["ours"] > 1.2 * best


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_step_that_takes_longer_than_reading_does_not_wait(tmp_path: Path, workers: int) -> None:
    files = write_photographs(tmp_path, 500)
    torch.set_num_threads(1)
    step, steps = 1.5 * BATCH / rate_of_ours(files, workers), len(files) // BATCH - 1
    started = time.perf_counter()
    for _ in range(steps):
        time.sleep(step)
    alone = time.perf_counter() - started
    images = images_of(files, workers)
    batches = images.loader.ahead(readings(images))
    next(batches)
    time.sleep(step)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
        time.sleep(step)
    beside = time.perf_counter() - started
    images.loader.close()
    ratio = beside / alone
    print(f"\n{workers} thread(s), {steps} steps of {1000 * step:.0f} ms: ×{ratio:.3f} of the step alone")
    assert ratio < 1.05


@pytest.mark.slow
def test_tokens_and_arrays_cost_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = torch.arange(1_000_000).view(-1, 100)

    def batches() -> Iterator[torch.Tensor]:
        return iter(tokens)

    def seconds(made: Iterator[torch.Tensor]) -> float:
        started = time.thread_time()
        for _ in made:
            pass
        return time.thread_time() - started

    loader = Loader(CPU, 4)
    extra = [seconds(loader.ahead(map(ready, batches()))) - seconds(batches()) for _ in range(7)]
    with capsys.disabled():
        print(f"\na batch in memory: {1e6 * statistics.median(extra) / len(tokens):.1f} µs more, no thread")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
