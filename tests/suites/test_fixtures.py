"""Tiny copies of the published sets: every source of a published recipe has one, and its own loader reads it."""

from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.plan.planning import Selection, make_plan
from harness.registry.shipped import suite_files
from harness.suite import load_suite
from harness.trial.contracts import DataRequest
from harness.trial.options import build
from harness.trial.seeds import Streams
from suites.fixtures.published import ARCHITECTURES, TRAINING, WRITERS, copy_of, shares, steps_per_epoch, trimmed

pytestmark = pytest.mark.usefixtures("own_cache")


def load(name: str, root: Path) -> Any:
    reads = copy_of(name, {"name": name}, root)
    source = registry.load("data", reads["name"])
    options = build(source.options, {key: value for key, value in reads.items() if key != "name"})
    files = dict.fromkeys(registry.entry("data", reads["name"]).metadata.files, "")
    return source.target(DataRequest(options, root, Streams(0), reads["name"], files))


@pytest.mark.parametrize("suite", sorted(suite_files()))
def test_every_source_of_a_published_recipe_has_a_copy(suite: str) -> None:
    plan = make_plan(load_suite(suite), Selection(scale="paper", seeds=(0,)))
    assert plan.trials
    for trial in plan.trials:
        assert trial.spec.data.name in WRITERS
        assert trial.spec.data.name in TRAINING
        for start in trial.spec.prerequisites.values():
            # Weights are a file in published names, or the architecture that they belong to.
            assert start.weights is None or start.weights in ARCHITECTURES or start.model


@pytest.mark.parametrize(
    ("name", "classes"),
    [("imagenet", 1000), ("imagenet9", 9), ("coco2017", 80), ("speech-commands", 35), ("magnatagatune", 50)],
)
def test_a_copy_has_as_many_classes_as_the_set(tmp_path: Path, name: str, classes: int) -> None:
    assert len(load(name, tmp_path).classes) == classes


@pytest.mark.parametrize(("name", "classes"), [("cub", 100), ("cars196", 98), ("inshop", 3997), ("sop", 11318)])
def test_a_retrieval_copy_lists_every_training_class(tmp_path: Path, name: str, classes: int) -> None:
    splits = load(name, tmp_path).splits
    assert len(set(splits["train"].labels.tolist())) == classes
    assert all(path.is_file() for path in splits["train"].images.paths)


@pytest.mark.parametrize(("name", "words"), [("ptb", 10_000), ("wikitext2", 33_278), ("wikitext103", 267_735)])
def test_a_text_has_the_published_vocabulary(tmp_path: Path, name: str, words: int) -> None:
    assert len(load(name, tmp_path).vocabulary) == words


@pytest.mark.parametrize(("name", "pieces"), [("iwslt14-de-en", 10_000), ("wmt14-en-de", 32_768)])
def test_a_translation_has_the_published_pieces(tmp_path: Path, name: str, pieces: int) -> None:
    train = load(name, tmp_path).splits["train"]
    assert 3 + len({piece for side in train for line in side for piece in line.split()}) == pieces


def test_a_source_without_a_copy_has_none(tmp_path: Path) -> None:
    assert copy_of("digits", {"name": "digits"}, tmp_path) is None
    assert steps_per_epoch("classification", "digits", {"batch_size": 2}) is None


def test_a_trimmed_recipe_is_never_larger_and_its_share_follows() -> None:
    recipe = {"batch_size": 120, "eval_batch": 1, "images_per_class": 0, "warm_epochs": 5, "lr": 0.1}
    small = trimmed("retrieval", recipe)
    assert small == {"batch_size": 4, "eval_batch": 1, "images_per_class": 0, "warm_epochs": 0, "lr": 0.1}
    assert shares("retrieval", recipe, small) == (30, 30)
    attacked = {"batch_size": 128, "eval_batch": 256, "attack_steps": 10, "evaluation_steps": 10}
    # Ten steps to the input and one to the weights, at two and three passes each.
    assert shares("adversarial", attacked, trimmed("adversarial", attacked)) == (64 * 23 / 7, 64)
    text = {"max_tokens": 4096, "accumulate": 128, "decode_limit": 200, "batch_size": 32, "eval_batch": 64}
    work, kept = shares("translation", text, trimmed("translation", text))
    assert work == 128 * kept
    assert steps_per_epoch("language-modelling", "wikitext103", {"batch_size": 60, "length": 150}) == 11469
