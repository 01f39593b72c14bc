"""Digits, digits by class and help topics: disjoint splits, streams, leaks, damaged files."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_lab import Cell

from harness.errors import HarnessError
from suites.data.digits import enlarge, read_digits
from suites.data.help_topics import distinct_paragraphs, share_out, tokens_of
from suites.data.types import Images

DIGITS = "suites.data.digits:digits"
PAIRS = "suites.data.digits:digits-by-class"
TOPICS = "suites.data.help_topics:help-topics"


def load(source: str, seed: int = 0, **keys: object) -> Any:
    return Cell("", source, "", data_keys=keys).data_for(seed)


def shared_ngrams(part: list[int], train: list[int], length: int) -> float:
    """Share of the n-grams of ``part`` that occur in ``train``."""
    ours, theirs = (list(zip(*(text[start:] for start in range(length)), strict=False)) for text in (part, train))
    seen = set(theirs)
    return float(np.mean([gram in seen for gram in ours]))


def digits(**keys: object) -> Images:
    data = load(DIGITS, **keys)
    assert isinstance(data, Images)
    return data


def test_digits_equal_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    images, labels = read_digits()
    np.testing.assert_array_equal(labels, theirs.target)
    np.testing.assert_allclose(images * 16, theirs.images, rtol=1e-6)


def test_digits_splits_cover_every_item_once() -> None:
    data = digits(train=300, validation=200)
    items = np.concatenate([part.items for part in data.splits.values()])
    assert sorted(items) == list(range(1797))
    assert [len(data.splits[name]) for name in ("train", "validation", "test")] == [300, 200, 1297]
    images, labels = read_digits()
    part = data.splits["test"]
    np.testing.assert_array_equal(part.images[:, 0], images[part.items])
    np.testing.assert_array_equal(part.labels, labels[part.items])


def test_noise_has_the_requested_deviation() -> None:
    clean, noisy = digits().splits["test"], digits(noise=0.3).splits["test"]
    np.testing.assert_array_equal(clean.items, noisy.items)
    assert np.std(noisy.images - clean.images) == pytest.approx(0.3, rel=0.02)


def test_enlarging_keeps_constants_and_means_of_ramps() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 8, 8))
    np.testing.assert_allclose(enlarge(np.full((1, 8, 8), 0.5, np.float32), 16), 0.5, rtol=1e-6)
    large = enlarge(ramp, 16)[0]
    np.testing.assert_allclose(
        large[:, 1:-1], np.broadcast_to((np.arange(16) + 0.5) / 2 - 0.5, (16, 16))[:, 1:-1], atol=1e-5
    )


def test_digits_and_numbers_that_leave_nothing_are_one_clear_error() -> None:
    with pytest.raises(HarnessError, match="leave nothing of 1797"):
        digits(train=1500, validation=297)
    with pytest.raises(HarnessError, match="fewer than two"):
        load(PAIRS, train_classes=80, validation_classes=19)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"1,2,3\n4,5,6\n", mtime=0), "expected"),
        (gzip.compress(b"words,here\n", mtime=0), "cannot be read"),
        (gzip.compress((",".join(["99"] * 64 + ["1"]) + "\n").encode() * 2, mtime=0), "outside"),
        (gzip.compress((",".join(["3"] * 65) + "\n").encode() * 200, mtime=0)[:60], "cannot be read"),
    ],
)
def test_a_damaged_digits_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(content)
    with pytest.raises(HarnessError, match=message):
        read_digits(file)


def test_numbers_share_neither_classes_nor_pictures_between_splits() -> None:
    data = load(PAIRS, noise=0.0)
    classes = {name: set(part.labels.tolist()) for name, part in data.splits.items()}
    assert {name: len(part) for name, part in classes.items()} == {"train": 50, "validation": 20, "test": 30}
    assert not classes["train"] & classes["test"]
    assert not classes["train"] & classes["validation"]
    assert not classes["validation"] & classes["test"]
    pictures = {
        name: {half.tobytes() for image in part.images for half in (image[0, :, :8].copy(), image[0, :, 8:].copy())}
        for name, part in data.splits.items()
    }
    assert not pictures["train"] & pictures["test"]
    assert not pictures["validation"] & pictures["test"]


def test_the_class_of_a_number_is_what_its_digits_spell() -> None:
    data = load(PAIRS, noise=0.0)
    images, labels = read_digits()
    labelled = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    part = data.splits["test"]
    for image, label in zip(part.images, part.labels, strict=True):
        spelt = "".join(str(labelled[image[0, :, start : start + 8].copy().tobytes()]) for start in (0, 8))
        assert data.classes[label] == spelt


def test_tokens_are_words_and_signs_and_a_paragraph_is_kept_once() -> None:
    assert tokens_of("Foo_bar(x) -> ====") == ["foo_bar", "(", "x", ")", "-", ">", "===="]
    topics = {"b": "One two\nthree.\n\nOnly here.", "a": "Title\n*****\n\none  two three."}
    kept = distinct_paragraphs(topics)
    assert kept == {"a": [["title"], ["one", "two", "three", "."]], "b": [["only", "here", "."]]}


def test_topics_go_to_one_split_each_and_large_ones_train() -> None:
    sizes = {"large": 500, **{f"t{n}": 50 for n in range(10)}}
    splits = share_out(sizes, list(sizes), 0.12)
    assert sorted(name for part in splits.values() for name in part) == sorted(sizes)
    assert "large" in splits["train"]
    assert all(sum(sizes[name] for name in splits[part]) >= 0.12 * 1000 for part in ("validation", "test"))


@pytest.mark.parametrize("seed", range(4))
def test_help_topics_leak_little_between_splits(seed: int) -> None:
    data = load(TOPICS, seed)
    train = data.splits["train"].tolist()
    for split in ("validation", "test"):
        assert shared_ngrams(data.splits[split].tolist(), train, 8) < 0.05
    assert len(train) > 40_000


def test_the_vocabulary_is_that_of_the_training_text() -> None:
    data = load(TOPICS, 2, min_count=5)
    assert data.vocabulary[0] == "<unk>"
    counts = np.bincount(data.splits["train"], minlength=len(data.vocabulary))
    assert counts[1:].min() >= 5
    assert list(counts[1:]) == sorted(counts[1:], reverse=True)
    assert all(part.max() < len(data.vocabulary) for part in data.splits.values())


def test_documents_mark_where_topics_start() -> None:
    data = load(TOPICS, 0)
    end = data.vocabulary.index("<eop>")
    for split, starts in data.documents.items():
        assert starts[0] == 0
        assert all(data.splits[split][start - 1] == end for start in starts[1:])
