"""What the bindings of NKD, PowerNorm, Region Normalization and KNN-MMD must not do: each was found in review."""

from __future__ import annotations

from functools import cache

import pytest

from harness.suite import load_suite
from harness.suite.cells import content, served_by, setting
from harness.suite.load import Suite
from harness.suite.models import Claim
from suites.tasks.translation import ORDER

SCALES = ("mini", "small", "paper")


@cache
def suite_of(name: str) -> Suite:
    return load_suite(name)


def binding_of(suite: str, claim: str) -> Claim:
    return next(binding for binding in suite_of(suite).model.claims if binding.id == claim)


@pytest.mark.parametrize("scale", ["mini", "small"])
@pytest.mark.parametrize("name", ["nkd", "powernorm", "region_norm", "knn_mmd"])
def test_one_stand_in_is_asked_for_one_direction(name: str, scale: str) -> None:
    """Of ten pairs with one stand-in NKD was published to beat KD on eight and to lose on two: one test, two words."""
    suite, requested = suite_of(name), dict[tuple[object, ...], set[int]]()
    for binding in suite.model.claims:
        fact = suite.facts[binding.id]
        if fact.kind == "difference" and binding.arm and binding.stand_in:
            for benchmark in binding.benchmarks:
                served = served_by(suite, benchmark, scale)
                test = (served, binding.arm, *binding.against[:1], binding.metric or fact.metric)
                requested.setdefault(test, set()).add(fact.direction)
    assert not {test: signs for test, signs in requested.items() if len(signs) > 1}


@pytest.mark.parametrize("claim", ["knnmmd-local-over-global", "knnmmd-umap-d32-not-worse", "knnmmd-p-half-best"])
def test_claims_on_the_four_tasks_run_on_four(claim: str) -> None:
    suite, binding = suite_of("knn_mmd"), binding_of("knn_mmd", claim)
    assert len(binding.benchmarks) == 4
    for benchmark in binding.benchmarks:
        base = setting(suite, benchmark, "mini")
        assert base is not None
        assert {binding.arm, *binding.against} <= set(base.runs(suite.model.arms))


def test_text_must_fluctuate_an_order_of_magnitude_more_than_images() -> None:
    assert ORDER == 10
    gate = binding_of("powernorm", "pn-iwslt14-vs-ln").gates[0]
    assert (gate.arm, gate.relative_to, gate.op, gate.value) == ("batch-vanilla", "image-network", ">=", 1.0)
    assert binding_of("powernorm", "pn-mechanism-batch-statistics").against == ["batch-vanilla"]


def test_the_warm_up_of_powernorm_lasts_the_published_updates() -> None:
    """The norm counts batches, of which accumulation takes several an update."""
    for name in ("iwslt14-de-en", "wmt14-en-de"):
        base = setting(suite_of("powernorm"), name, "paper")
        assert base is not None
        warm = base.recipe["norm"]["power"]["warmup_steps"]
        assert warm == base.recipe["warmup"] * base.recipe.get("accumulate", 1)


@pytest.mark.parametrize("scale", SCALES)
def test_uskd_keeps_the_published_weight_of_its_weak_head(scale: str) -> None:
    suite = suite_of("nkd")
    for name, mu in (("imagenet-mobilenet-v1", 0.005), ("imagenet-resnet18", 0.005), ("cifar100-resnet18", 0.1)):
        base = setting(suite, name, scale)
        assert base is not None
        assert content(base, suite.model.arms["uskd"]).slots.methods["objective"].values["mu"] == mu


@pytest.mark.parametrize(("name", "bar"), [("region_norm", "diffusion-fill"), ("knn_mmd", "majority")])
def test_a_trivial_predictor_is_the_bar(name: str, bar: str) -> None:
    suite = suite_of(name)
    for benchmark in suite.benchmarks:
        for scale in SCALES:
            base = setting(suite, benchmark, scale)
            if base is not None:
                assert set(base.competent.values()) == {bar}, (benchmark, scale)
                assert bar in base.runs(suite.model.arms), (benchmark, scale)
