"""Texts with classes: the layouts that are read, the vocabulary, and what networks and estimators learn."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from task_lab import Cell, read_own, sizes

from harness.errors import HarnessError
from suites.data.documents import Documents

TABLE, FOLDER = "suites.data.documents:texttable", "suites.data.documents:textfolder"
TASK = "suites.tasks.text_classification:text-classification"
MODELS = "suites.models.text_classifiers:"
GOOD, BAD = ("fine", "lovely", "great"), ("awful", "dull", "poor")


def sentences(count: int = 60) -> list[tuple[str, str]]:
    draws = np.random.default_rng(0)
    result = []
    for number in range(count):
        label = ("good", "bad")[number % 2]
        word = draws.choice(GOOD if label == "good" else BAD)
        result.append((f"Film {number % 7}, it was {word}, they thought.", label))
    return result


def write_table(path: Path, kind: str = "csv") -> Path:
    frame = pd.DataFrame(sentences(), columns=["text", "label"])
    file = path / f"films.{kind}"
    path.mkdir(parents=True, exist_ok=True)
    if kind == "jsonl":
        file.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    elif kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False)
    return file


def write_folder(root: Path, splits: tuple[str, ...] = ("",)) -> Path:
    for split, (number, (text, label)) in product(splits, enumerate(sentences())):
        file = root / split / label / f"{number:03d}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def load(layout: str, path: Path, **keys: Any) -> Documents:
    return read_own(layout, path, **keys)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_gives_texts_and_classes_whatever_its_kind(tmp_path: Path, kind: str) -> None:
    data = load(TABLE, write_table(tmp_path, kind))
    assert data.classes == ("bad", "good")
    assert sizes(data) == {"train": 42, "validation": 6, "test": 12}
    part = data.splits["test"]
    for text, label, item in zip(part.texts, part.labels, part.items, strict=True):
        assert (text, data.classes[label]) == sentences()[item]


def test_a_folder_a_class_is_split_at_random_or_by_folders(tmp_path: Path) -> None:
    flat = load(FOLDER, write_folder(tmp_path / "flat"))
    assert flat.classes == ("bad", "good")
    assert sizes(flat) == {"train": 42, "validation": 6, "test": 12}
    split = load(FOLDER, write_folder(tmp_path / "split", ("train", "val", "test")))
    assert sizes(split) == {"train": 60, "validation": 60, "test": 60}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["text,label", "fine,good", ",bad"], r"films\.csv:3: 'text' is empty"),
        (["texte,label", "fine,good"], r"films\.csv:1: no column 'text' \(text\); did you mean 'texte'"),
        (["text,label", "1,good", "2,bad"], "'text' contains numbers; set text: NAME"),
        (["text,label", *["fine,good"] * 20], "a single class"),
    ],
)
def test_an_error_in_a_table_has_its_place(tmp_path: Path, rows: list[str], message: str) -> None:
    (tmp_path / "films.csv").write_text("\n".join(rows))
    with pytest.raises(HarnessError, match=message) as refused:
        load(TABLE, tmp_path / "films.csv")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "own")
    (root / "bad" / "001.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(HarnessError, match=r"bad/001\.txt cannot be read as text in UTF-8"):
        load(FOLDER, root)


def cell(path: Path, model: str, model_keys: dict[str, Any] | None = None, **recipe: Any) -> Cell:
    return Cell(TASK, TABLE, model, {"batch_size": 8, **recipe}, {"path": str(path)}, model_keys or {})


def test_an_estimator_reads_the_same_words_as_weights(tmp_path: Path) -> None:
    keys = {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"C": 10.0}}
    task = cell(write_table(tmp_path), "suites.models.estimators:sklearn", keys).build(0)
    task.build()
    assert not task.trains
    assert task.evaluate("test").metrics["accuracy"] > 95
    assert task.weights["test"].shape == (12, len(task.vocabulary) - 1)


def test_the_vocabulary_is_that_of_the_training_texts(tmp_path: Path) -> None:
    for name, words in (("train", "seen words here"), ("test", "unseen words there")):
        rows = [f"{words},{label}" for label in ("good", "bad") * 5]
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *rows]))
    task = cell(tmp_path, f"{MODELS}bag-of-embeddings", batch_size=4).build(0)
    task.build()
    assert set(task.vocabulary) == {"<unk>", "seen", "words", "here"}
    words = task.vocabulary.index("words")
    assert task.splits["test"].tokens[0].tolist() == [0, words, 0]


def test_padding_changes_no_answer(tmp_path: Path) -> None:
    for model in ("bag-of-embeddings", "text-transformer"):
        task = cell(write_table(tmp_path), f"{MODELS}{model}").build(0)
        network = task.build().eval()
        tokens = task.splits["train"].tokens[:4]
        more = torch.cat([tokens, torch.full((4, 5), task.padding)], dim=1)
        with torch.no_grad():
            torch.testing.assert_close(network(tokens), network(more))
            assert network(torch.full((1, 3), task.padding)).isfinite().all()


def test_options_that_leave_no_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no token occurs 1000 times in training; lower min_count"):
        cell(write_table(tmp_path), f"{MODELS}bag-of-embeddings", min_count=1000).build(0).build()
