"""Short names of stand-ins, from the benchmark's file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.registry.shipped import suite_files
from harness.suite import load_suite
from harness.suite.cells import Setting, setting, stand_in_names

DIGITS = Setting(
    "imagenet-resnet18",
    "mini",
    "classification",
    {"name": "digits"},
    {},
    {},
    ("data:real", "model", "recipe"),
    "noisy 8×8 digits, a small network",
    "imagenet-resnet18",
    {},
    None,
    published_data="ImageNet",
)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "noisy 8×8 digits, not ImageNet"),
        ({"about": ""}, "digits, not ImageNet"),
        ({"about": "five actions; few people"}, "five actions, not ImageNet"),
        ({"about": "29,000 captions, few words"}, "29,000 captions, not ImageNet"),
        (
            {"about": "ImageNet at 100 images a class, a small network"},
            "ImageNet at 100 images a class, not all of ImageNet",
        ),
        ({"stand_in": ("recipe",)}, "not the paper's recipe: noisy 8×8 digits, a small network"),
        (
            {"about": "ImageNet, one class in ten", "stand_in": ("data:real", "recipe")},
            "not the paper's data and recipe: ImageNet, one class in ten",
        ),
        ({"about": "", "stand_in": ("model", "recipe")}, "not the paper's model and recipe"),
        ({"about": "ImageNet, one class; many; more"}, "not the paper's data, model and recipe: ImageNet, one class"),
        ({"stand_in": ()}, ""),
    ],
)
def test_a_stand_in_is_named_by_its_data_else_by_what_differs(changes: dict[str, Any], name: str) -> None:
    assert replace(DIGITS, **changes).stand_in_name == name


def test_several_are_one_phrase() -> None:
    assert stand_in_names(["a, not x", "", "a, not x"]) == "a, not x"
    assert stand_in_names(["a", "b", "c", "d"]) == "a; b and 2 more"


@pytest.mark.parametrize(
    ("mini", "lengths"), [("epochs: 2", {"epochs": 2}), ("steps: 7", {"steps": 7}), ("batch_size: 2", {"steps": 400})]
)
def test_a_length_of_a_scale_replaces_that_of_the_paper(tiny: Path, mini: str, lengths: dict[str, int]) -> None:
    paper = """paper:
        data: {name: nothing}
        model: {name: scalar}
        recipe: {steps: 400}
      sources:
        recipe.steps: {trust: published, place: table 1}
      mini:"""
    tiny.write_text(tiny.read_text().replace("mini:", paper, 1).replace("steps: 20", mini))
    cell = setting(load_suite(tiny), "known", "mini")
    assert cell is not None
    assert {name: cell.recipe[name] for name in ("steps", "epochs") if name in cell.recipe} == lengths


@pytest.mark.parametrize("name", list(suite_files()))
def test_every_shipped_stand_in_has_one(name: str) -> None:
    suite = load_suite(name)
    for benchmark in suite.benchmarks:
        for scale in ("mini", "small"):
            cell = setting(suite, benchmark, scale)
            if cell is not None:
                named = cell.stand_in_name
                assert ", not " in named or named.startswith("not the paper's "), (benchmark, scale)
                assert len(named) <= 90, named
        published = setting(suite, benchmark, "paper")
        assert published is None or published.stand_in_name == ""
