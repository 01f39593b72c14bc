"""Short names of stand-ins, from the benchmark's file."""

from __future__ import annotations

from dataclasses import replace

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


def test_other_data_are_named_and_what_they_are_not() -> None:
    assert DIGITS.stand_in_name == "noisy 8×8 digits, not ImageNet"
    assert replace(DIGITS, about="").stand_in_name == "digits, not ImageNet"
    assert replace(DIGITS, about="five actions; few people").stand_in_name == "five actions, not ImageNet"
    assert replace(DIGITS, about="29,000 captions, few words").stand_in_name == "29,000 captions, not ImageNet"
    part = replace(DIGITS, about="ImageNet at 100 images a class, a small network")
    assert part.stand_in_name == "ImageNet at 100 images a class, not all of ImageNet"


def test_on_the_papers_data_it_says_what_else_differs() -> None:
    assert replace(DIGITS, stand_in=("recipe",)).stand_in_name == (
        "not the paper's recipe: noisy 8×8 digits, a small network"
    )
    part = replace(DIGITS, about="ImageNet, one class in ten", stand_in=("data:real", "recipe"))
    assert part.stand_in_name == "not the paper's data and recipe: ImageNet, one class in ten"
    assert replace(DIGITS, stand_in=("model", "recipe"), about="").stand_in_name == "not the paper's model and recipe"
    every = replace(DIGITS, about="ImageNet, one class; many; more", stand_in=("data:real", "model", "recipe"))
    assert every.stand_in_name == "not the paper's data, model and recipe: ImageNet, one class"


def test_as_published_there_is_none() -> None:
    assert replace(DIGITS, stand_in=()).stand_in_name == ""


def test_several_are_one_phrase() -> None:
    assert stand_in_names(["a, not x", "", "a, not x"]) == "a, not x"
    assert stand_in_names(["a", "b", "c", "d"]) == "a; b and 2 more"


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
