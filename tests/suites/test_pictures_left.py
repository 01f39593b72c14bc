"""Artifacts of trials: detections, neighbours, translations, predictions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from task_lab import DETECTION, DIGITS, RETRIEVAL, TRANSLATION, Cell, train

from harness.trial.contracts import Task
from suites.tasks.pictures import DETECTED, PAPER, RIGHT, WRONG, as_pixels, framed, with_boxes

pytestmark = pytest.mark.usefixtures("own_cache")


FIVE = replace(DETECTION, data_keys={"train": 32, "validation": 4, "test": 5, "classes": 2})


def trained(cell: Cell, folder: Path, steps: int = 3) -> Task:
    task = cell.build(0)
    task.context = replace(task.context, folder=folder)
    train(task, steps)
    return task


def left(task: Task, name: str) -> tuple[Path, Any]:
    task.evaluate("test")
    [result] = task.artifacts()
    assert result.name == name
    assert result.caption
    return result.path, result.kind


@pytest.mark.parametrize(("cell", "name"), [(FIVE, "detections"), (RETRIEVAL, "neighbours")])
def test_pictures_open_and_repeat_themselves(tmp_path: Path, cell: Cell, name: str) -> None:
    path, kind = left(trained(cell, tmp_path / "one"), name)
    again, _ = left(trained(cell, tmp_path / "two"), name)
    assert kind == "picture"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 128
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 3
    assert path.read_bytes() == again.read_bytes()


def test_translations_are_kept_with_source_reference_and_score(tmp_path: Path) -> None:
    task = trained(TRANSLATION, tmp_path)
    path, kind = left(task, "translations")
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert kind == "samples"
    assert 0 < len(rows) <= 12
    assert all(set(row) == {"source", "reference", "translation", "chrf"} for row in rows)
    assert {row["reference"] for row in rows} <= set(task.texts["test"].references)  # type: ignore[attr-defined]


def test_predictions_by_item_give_the_accuracy_and_name_the_classes() -> None:
    task = DIGITS.build(0)
    train(task, 30)
    result = task.evaluate("test")
    items = result.items
    assert 100 * (items["label"] == items["predicted"]).mean() == pytest.approx(result.metrics["top1-accuracy"])
    np.testing.assert_array_equal(items["correct"], items["label"] == items["predicted"])
    assert len(items["classes"]) == 10
    assert items["label"].max() < len(items["classes"])


def test_a_wrong_neighbour_is_red_with_a_cross_a_right_one_is_green_without() -> None:
    grey = np.full((8, 8, 3), 90, dtype=np.uint8)
    right, wrong, query = (np.asarray(framed(grey, flag)) for flag in (True, False, None))
    assert tuple(right[0, 0]) == RIGHT
    assert tuple(wrong[0, 0]) == WRONG
    assert (wrong[:14, -14:] == PAPER).all(axis=-1).any()
    assert not (right == PAPER).all(axis=-1).any()
    assert (query[0, 0] == 120).all()


def test_boxes_are_drawn_where_they_are_in_whole_multiples_of_pixels() -> None:
    black = np.zeros((32, 32, 3), dtype=np.uint8)
    drawn = np.asarray(with_boxes(black, np.array([[8.0, 20.0, 24.0, 30.0]]), ["7"], true=False))
    assert drawn.shape == (128, 128, 3)
    assert tuple(drawn[100, 32]) == DETECTED
    assert tuple(drawn[100, 96]) == DETECTED
    assert (drawn[100, 60] == 0).all()


def test_normalised_images_come_back_as_they_were() -> None:
    raw = torch.randint(0, 256, (2, 1, 5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    mean, std = torch.full((1, 1, 1, 1), 0.4), torch.full((1, 1, 1, 1), 0.3)
    shown = as_pixels((raw.float() / 255 - mean) / std, mean, std)
    assert [image.shape for image in shown] == [(5, 5, 3)] * 2
    np.testing.assert_array_equal(shown[0][:, :, 1], raw[0, 0].numpy())
