"""What the bindings and recipes of AdamP must not do: each was found in review."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from harness.suite import load_suite
from harness.suite.cells import Setting, setting
from harness.suite.load import Suite
from harness.suite.models import Claim

GATED_BY = "mechanism.effective_step_decay."


@cache
def adamp() -> Suite:
    return load_suite("adamp")


@cache
def bindings() -> dict[str, Claim]:
    return {binding.id: binding for binding in adamp().model.claims}


def block(benchmark: str, scale: str) -> Setting:
    base = setting(adamp(), benchmark, scale)
    assert base is not None
    return base


def test_claims_on_adam_are_beaten_twice_everywhere() -> None:
    """AdamW alone decided them, and against Adam with L2 three of four gains were nothing."""
    judged = [
        item for item in bindings().values() if item.arm == "adamp" and "adamw" in item.against and not item.baselines
    ]
    assert len(judged) > 25
    for binding in judged:
        if adamp().facts[binding.id].kind != "intervention":
            assert (set(binding.against), binding.order) == ({"adamw", "adam"}, "best"), binding.id
        for benchmark in binding.benchmarks:
            for scale in ("mini", "small", "paper"):
                assert {"adam", "adamw", "adamp"} <= set(block(benchmark, scale).runs(adamp().model.arms))


def test_gates_ask_for_the_paper_s_cause_and_not_for_batch_norm_or_a_rate() -> None:
    """That the projection fires before BatchNorm is BatchNorm's doing; norms half as long again chose a rate."""
    for binding in bindings().values():
        if binding.arm in ("adamp", "sgdp") and adamp().facts[binding.id].kind == "difference":
            decay = [gate for gate in binding.gates if gate.metric.startswith(GATED_BY)]
            assert len(decay) == 1, binding.id
            assert (decay[0].op, decay[0].value, decay[0].relative_to) == (">=", 1.1, binding.arm), binding.id
            assert not any("projected_share" in gate.metric for gate in binding.gates), binding.id


def test_a_removed_decay_is_gated_by_what_it_did() -> None:
    for claim in ("sgd", "sgdp", "adam", "adamp", "order"):
        (gate,) = bindings()[f"adamp-no-weight-decay-{claim}"].gates
        plain = "sgd" if "sgd" in claim else "adamw"
        assert (gate.metric, gate.arm) == ("mechanism.weight_norm.conv", f"{plain}-no-weight-decay")
        assert (gate.relative_to, gate.op) == (plain, ">=")
    order = bindings()["adamp-no-weight-decay-order"]
    assert (order.against, order.baselines) == (["adamw-no-weight-decay"], ["adamp", "adamw"])
    half = bindings()["adamp-intervention-decay-sgdp"]
    assert (half.arm, half.against) == ("sgdp-no-weight-decay", ["sgd-no-weight-decay"])
    assert half.baselines == ["sgdp", "sgd"]


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
@pytest.mark.parametrize("detector", ["centernet", "ssd"])
def test_detectors_from_weights_are_those_that_are_named(detector: str, scale: str) -> None:
    base = block(f"coco-{detector}-imagenet", scale)
    assert base.served_by == base.benchmark
    assert base.model["kind"] == detector
    assert base.model["pretrained"] is True


def test_published_attacks_step_by_the_sign_and_are_scored_from_the_image() -> None:
    for ball in ("linf", "l2"):
        recipe: dict[str, Any] = dict(block(f"cifar10-adversarial-{ball}", "paper").recipe)
        assert recipe["attack_rule"] == "sign"
        assert recipe["attack_step"] == recipe["evaluation_step"] == pytest.approx(2 / 255, abs=1e-6)
        assert (recipe["random_start"], recipe["evaluation_start"]) == (True, False)


def test_every_arm_runs_somewhere_and_doses_rise() -> None:
    arms = adamp().model.arms
    blocks = [block(name, scale) for name in adamp().benchmarks for scale in ("mini", "small", "paper")]
    runs = {arm for base in blocks for arm in base.runs(arms)}
    assert set(arms) == runs
    doses = [arms[name].optimizer for name in ("adamp-delta-0", "adamp-delta-1", "adamp-delta-inf")]
    deltas = [dose["delta"] for dose in doses if isinstance(dose, dict)]
    assert len(deltas) == 3
    assert all(low < high for low, high in pairwise(deltas))
