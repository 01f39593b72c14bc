"""Every registered data source: reads its shipped or tiny copy, is a function of the seed, refuses damage and absence.

Tiny copies are those of ``suites.fixtures``; a user's own folder of each layout is written here. A small real set with
a fixed checksum is its layout's reader behind that checksum: read where HARNESS_DATA has it, refused where its file is
of another content.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_copies import OWN, written

from harness import registry
from harness.data.locate import require_data
from harness.errors import HarnessError, MissingDataError
from harness.trial.contracts import DataRequest
from harness.trial.options import build
from harness.trial.seeds import Streams
from harness.trial.spec import Part
from suites.data.sounds import SoundFiles
from suites.data.types import ImageFiles
from suites.fixtures.published import WRITERS
from suites.tasks.decoding import decode_centre

SOURCES = {name: entry for name, entry in registry.entries("data").items() if entry.metadata.content != "weights"}
SHIPPED = sorted(
    name
    for name, entry in SOURCES.items()
    if entry.metadata.origin != "folder" and not any(file.startswith("data:") for file in entry.metadata.files)
)
FOLDERS = sorted(name for name, entry in SOURCES.items() if entry.metadata.origin == "folder")
PUBLISHED = sorted(set(WRITERS) & set(SOURCES))
FIXED = sorted(set(SOURCES) - {*SHIPPED, *FOLDERS, *PUBLISHED})
ONE_SET = {"nothing": "it is nothing", "digit-pairs": "its items are drawn from the option sample, not from the seed"}


# Which file of a layout is overwritten to damage it: tables and lists where there are, else an item.
DAMAGED = {
    "audiofolder": "test/*/*.wav",
    "audiotags": "test.csv",
    "cars196": "cars_annos.mat",
    "celeba": "*.txt",
    "cifar": "*/test*",
    "coco": "*.json",
    "csi": "*.csv",
    "cub": "images.txt",
    "dcase2017-task4": "*.csv",
    "huggingface": "*.parquet",
    "idx": "train-images*",
    "imagefolder": "train/*/*.*",
    "imagepairs": "test/*.png",
    "inshop": "list_eval_partition.txt",
    "magnatagatune": "*.csv",
    "paralleltext": "train*.de",
    "paris-streetview": "*.png",
    "places365": "*.jpg",
    "sop": "Ebay_train.txt",
    "speech-commands": "a_nohash_0.wav",
    "table": "test.csv",
    "textfolder": "test/*/*.txt",
    "texttable": "test.csv",
    "tokens": "*train*",
    "voc": "Annotations/*.xml",
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


def load(part: Mapping[str, Any], root: Path, seed: int = 0) -> Any:
    source, entry = registry.load("data", str(part["name"])), SOURCES[str(part["name"])]
    existing = entry.options
    wanted = {} if part["name"] in SHIPPED else {"validation": 1, "size": 64}
    # A layout of small images has its own sizes.
    wanted = {
        key: value for key, value in wanted.items() if key in existing and existing[key].default in (0, 224, 256, 512)
    }
    values = {key: value for key, value in part.items() if key != "name"}
    files = {file: entry.metadata.sha256.get(file, "") for file in entry.metadata.files}
    options = build(source.options, {**wanted, **values})
    return source.target(DataRequest(options, root, Streams(seed), entry.name, files))


def leaves(value: Any) -> Iterator[bytes]:
    """Everything that a source yields, files decoded, as bytes."""
    if isinstance(value, ImageFiles):
        yield from (decode_centre(path, value.size, value.resize).tobytes() for path in dict.fromkeys(value.paths))
    elif isinstance(value, SoundFiles):
        yield from (np.asarray(value.read(place)).tobytes() for place in range(len(value)))
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in value:
            yield str(key).encode()
            yield from leaves(value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    else:
        yield value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()


def digest(data: Any) -> str:
    """One number for all that a source yields."""
    return hashlib.sha256(b"".join(leaves(data))).hexdigest()


def test_every_source_is_read_here() -> None:
    assert set(OWN) == set(FOLDERS), "a new layout: write a user's folder of it"
    layouts = {SOURCES[name].metadata.layout for name in (*FOLDERS, *PUBLISHED)}
    assert layouts == set(DAMAGED), "a new layout: say which of its files to damage"
    fixed = {SOURCES[name].metadata.layout for name in FIXED}
    assert fixed <= set(FOLDERS), "a new published source: give it a tiny copy"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_and_generated_data_are_a_function_of_the_seed(name: str, tmp_path: Path) -> None:
    first, again, other = (digest(load({"name": name}, tmp_path, seed)) for seed in (0, 0, 1))
    assert first == again
    assert (first == other) is (name in ONE_SET)


@pytest.mark.parametrize("name", [*FOLDERS, *PUBLISHED])
def test_a_copy_is_read_alike_each_time_and_refused_once_damaged(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    part = written(name, root)
    first, again = (digest(load(part, root)) for _ in range(2))
    assert first == again
    pattern = DAMAGED[SOURCES[name].metadata.layout]
    file = min(path for path in root.rglob(pattern) if path.is_file())
    file.write_bytes(b"\xff\xfe no such thing\n")
    with pytest.raises(HarnessError) as refused:
        digest(load(part, root))
    message = str(refused.value)
    assert file.name in message or name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", sorted(set(SOURCES) - set(SHIPPED) - set(FOLDERS)))
def test_an_absent_set_is_named_with_its_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for read in (lambda: require_data(Part(name)), lambda: load({"name": name}, tmp_path)):
        with pytest.raises(MissingDataError, match=name):
            read()
    with pytest.raises(MissingDataError, match=f"harness data fetch {name}"):
        require_data(Part(name))


@pytest.mark.parametrize("name", FIXED)
def test_a_file_of_another_content_is_refused(name: str, tmp_path: Path) -> None:
    for file in SOURCES[name].metadata.files:
        path = tmp_path / file.partition(":")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"another content")
    with pytest.raises(HarnessError) as refused:
        load({"name": name}, tmp_path)
    assert path.name in str(refused.value) or SOURCES[name].metadata.files[0].rpartition("/")[2] in str(refused.value)
    assert "\n" not in str(refused.value)
