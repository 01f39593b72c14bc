"""Bindings and recipes of the suites stay fair."""

from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from contract_cells import suite_of

from harness.suite.cells import Setting, content, served_by, setting
from harness.suite.models import Claim
from suites.tasks.translation import ORDER

SCALES = ("mini", "small", "paper")


@cache
def bindings(suite: str) -> dict[str, Claim]:
    return {binding.id: binding for binding in suite_of(suite).model.claims}


def block(suite: str, benchmark: str, scale: str) -> Setting:
    base = setting(suite_of(suite), benchmark, scale)
    assert base is not None
    return base


@pytest.mark.parametrize("scale", ["mini", "small"])
@pytest.mark.parametrize("name", ["nkd", "powernorm", "region_norm", "knn_mmd"])
def test_one_stand_in_is_asked_for_one_direction(name: str, scale: str) -> None:
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
    suite, binding = suite_of("knn_mmd"), bindings("knn_mmd")[claim]
    assert len(binding.benchmarks) == 4
    for benchmark in binding.benchmarks:
        base = block("knn_mmd", benchmark, "mini")
        assert {binding.arm, *binding.against} <= set(base.runs(suite.model.arms))


def test_text_must_fluctuate_an_order_of_magnitude_more_than_images() -> None:
    assert ORDER == 10
    gate = bindings("powernorm")["pn-iwslt14-vs-ln"].gates[0]
    assert (gate.arm, gate.relative_to, gate.op, gate.value) == ("batch-vanilla", "image-network", ">=", 1.0)
    assert bindings("powernorm")["pn-mechanism-batch-statistics"].against == ["batch-vanilla"]


def test_the_warm_up_of_powernorm_lasts_the_published_updates() -> None:
    """The norm counts batches, of which accumulation takes several an update."""
    for name in ("iwslt14-de-en", "wmt14-en-de"):
        base = block("powernorm", name, "paper")
        warm = base.recipe["norm"]["power"]["warmup_steps"]
        assert warm == base.recipe["warmup"] * base.recipe.get("accumulate", 1)


@pytest.mark.parametrize("scale", SCALES)
def test_uskd_keeps_the_published_weight_of_its_weak_head(scale: str) -> None:
    suite = suite_of("nkd")
    for name, mu in (("imagenet-mobilenet-v1", 0.005), ("imagenet-resnet18", 0.005), ("cifar100-resnet18", 0.1)):
        base = block("nkd", name, scale)
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


GATED_BY = "mechanism.effective_step_decay."


def test_claims_on_adam_are_beaten_twice_everywhere() -> None:
    claims, arms = bindings("adamp").values(), suite_of("adamp").model.arms
    judged = [item for item in claims if item.arm == "adamp" and "adamw" in item.against and not item.baselines]
    assert len(judged) > 25
    for binding in judged:
        if suite_of("adamp").facts[binding.id].kind != "intervention":
            assert (set(binding.against), binding.order) == ({"adamw", "adam"}, "best"), binding.id
        for benchmark in binding.benchmarks:
            for scale in SCALES:
                assert {"adam", "adamw", "adamp"} <= set(block("adamp", benchmark, scale).runs(arms))


def test_gates_ask_for_the_paper_s_cause_and_not_for_batch_norm_or_a_rate() -> None:
    """That the projection fires before BatchNorm is BatchNorm's doing; norms half as long again chose a rate."""
    for binding in bindings("adamp").values():
        if binding.arm in ("adamp", "sgdp") and suite_of("adamp").facts[binding.id].kind == "difference":
            decay = [gate for gate in binding.gates if gate.metric.startswith(GATED_BY)]
            assert len(decay) == 1, binding.id
            assert (decay[0].op, decay[0].value, decay[0].relative_to) == (">=", 1.1, binding.arm), binding.id
            assert not any("projected_share" in gate.metric for gate in binding.gates), binding.id


def test_a_removed_decay_is_gated_by_what_it_did() -> None:
    for claim in ("sgd", "sgdp", "adam", "adamp", "order"):
        (gate,) = bindings("adamp")[f"adamp-no-weight-decay-{claim}"].gates
        plain = "sgd" if "sgd" in claim else "adamw"
        assert (gate.metric, gate.arm) == ("mechanism.weight_norm.conv", f"{plain}-no-weight-decay")
        assert (gate.relative_to, gate.op) == (plain, ">=")
    order = bindings("adamp")["adamp-no-weight-decay-order"]
    assert (order.against, order.baselines) == (["adamw-no-weight-decay"], ["adamp", "adamw"])
    half = bindings("adamp")["adamp-intervention-decay-sgdp"]
    assert (half.arm, half.against) == ("sgdp-no-weight-decay", ["sgd-no-weight-decay"])
    assert half.baselines == ["sgdp", "sgd"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("detector", ["centernet", "ssd"])
def test_detectors_from_weights_are_those_that_are_named(detector: str, scale: str) -> None:
    base = block("adamp", f"coco-{detector}-imagenet", scale)
    assert base.served_by == base.benchmark
    assert base.model["kind"] == detector
    assert base.model["pretrained"] is True


def test_published_attacks_step_by_the_sign_and_are_scored_from_the_image() -> None:
    for ball in ("linf", "l2"):
        recipe: dict[str, Any] = dict(block("adamp", f"cifar10-adversarial-{ball}", "paper").recipe)
        assert recipe["attack_rule"] == "sign"
        assert recipe["attack_step"] == recipe["evaluation_step"] == pytest.approx(2 / 255, abs=1e-6)
        assert (recipe["random_start"], recipe["evaluation_start"]) == (True, False)


def test_every_arm_runs_somewhere_and_doses_rise() -> None:
    arms = suite_of("adamp").model.arms
    blocks = [block("adamp", name, scale) for name in suite_of("adamp").benchmarks for scale in SCALES]
    runs = {arm for base in blocks for arm in base.runs(arms)}
    assert set(arms) == runs
    doses = [arms[name].optimizer for name in ("adamp-delta-0", "adamp-delta-1", "adamp-delta-inf")]
    deltas = [dose["delta"] for dose in doses if isinstance(dose, dict)]
    assert len(deltas) == 3
    assert all(low < high for low, high in pairwise(deltas))
