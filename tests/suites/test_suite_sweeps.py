"""The shipped ``sweep:`` sections: what they tune, that every draw is a trial, and that they run to a judged end."""

from pathlib import Path
from typing import Any

import pytest
from contract_cells import suite_of

from harness.app.search import SweepRequest, run_sweep
from harness.execute.dispatch import Watch
from harness.plan.planning import Selection, make_plan
from harness.plan.tuning import TUNING_SEED, Tuning, TuningRequest, make_tuning
from harness.registry.shipped import suite_files
from harness.store import open_reader
from harness.suite.spaces import with_point
from harness.sweep.study import Drawing

SHARED = {"optimizer.lr", "optimizer.weight_decay"}
OWN: dict[str, dict[str, set[str]]] = {
    "adamp": {"adamw": set(), "adamp": {"optimizer.delta", "optimizer.wd_ratio"}},
    "nkd": {
        "cross-entropy": set(),
        "kd": {"objective.temperature", "objective.alpha"},
        "nkd": {"objective.temperature", "objective.gamma"},
        "uskd": {"objective.alpha", "objective.beta", "objective.mu"},
    },
    "powernorm": {
        "layer": set(),
        "power": {"norm.power.alpha_fwd", "norm.power.alpha_bkw", "norm.power.warmup_fraction"},
    },
    "region_norm": {"bn": set(), "rn": {"norm.region-learned.threshold"}},
    "knn_mmd": {
        "mmd": {"adaptation.weight"},
        "knn-mmd": {"adaptation.local_weight", "adaptation.global_weight", "help_share", "neighbours"},
    },
}
"""Hyper-parameters of each arm beside the learning rate and the weight decay."""


def sections() -> list[tuple[str, str]]:
    """(suite, benchmark) of every shipped section."""
    listed = []
    for name in sorted(suite_files()):
        section = suite_of(name).model.sweep
        listed += [(name, item) for item in (section.benchmarks if section is not None else [])]
    return listed


def tuning_of(name: str, on: str, **more: Any) -> Tuning:
    return make_tuning(suite_of(name), TuningRequest(on, 6, **more))


def test_every_shipped_suite_has_a_section() -> None:
    assert {name for name, _ in sections()} == set(suite_files()) == set(OWN)
    assert sum(name == "adamp" for name, _ in sections()) == 3


@pytest.mark.parametrize(("name", "on"), sections())
def test_arms_tune_what_they_share_and_what_is_their_own(name: str, on: str) -> None:
    tuning = tuning_of(name, on)
    first, *others = tuning.arms
    assert suite_of(name).model.arms[first].role == "baseline"
    assert any(suite_of(name).model.arms[arm].role == "method" for arm in others)
    for arm, space in tuning.spaces.items():
        assert set(space) == SHARED | OWN[name][arm]
    item, *rest = [{key: space[key] for key in SHARED} for space in tuning.spaces.values()]
    assert all(other == item for other in rest)


@pytest.mark.parametrize("scale", ["mini", "small", "paper"])
@pytest.mark.parametrize(("name", "on"), sections())
def test_every_draw_is_a_trial(name: str, on: str, scale: str) -> None:
    tuning = tuning_of(name, on, scale=scale)
    points = {arm: Drawing.of(tuning, arm).draw(range(6), []) for arm in tuning.arms}
    arms = {
        f"{arm}#{point.number}": with_point(tuning.arms[arm], tuning.fill, point.params)
        for arm, drawn in points.items()
        for point in drawn
    }
    chosen = Selection(
        scale=scale, benchmarks=(on,), arms=(), seeds=(TUNING_SEED,), overrides=tuning.overrides, added_arms=arms
    )
    plan = make_plan(tuning.suite, chosen)
    specs = {trial.trial_id: trial.spec for trial in plan.trials}
    for arm, drawn in points.items():
        for point in drawn:
            spec = specs[plan.trial_ids(on, f"{arm}#{point.number}")[TUNING_SEED]]
            for key, value in point.params.items():
                assert value in values_of(spec, key), key
            assert all(spec.recipe[key] == value for key, value in tuning.overrides.items())


def values_of(spec: Any, key: str) -> list[Any]:
    """The values that a trial has under a range's name: several where its method fills several places."""
    head, _, rest = key.partition(".")
    slots = spec.slots.to_json()
    if head not in slots:
        return [spec.recipe[key]]
    filled = slots[head]
    if "name" in filled:
        return [filled[rest]]
    method, _, inner = rest.partition(".")
    values = [item[inner] for item in filled.values() if item["name"] == method]
    assert len(set(values)) == 1
    return values


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("adamp", "imagenet-resnet18"),
        pytest.param("nkd", "cifar100-resnet18", marks=pytest.mark.slow),
        ("powernorm", "ptb"),
        pytest.param("region_norm", "places2", marks=pytest.mark.slow),
        pytest.param("knn_mmd", "wifall-action", marks=pytest.mark.slow),
    ],
)
def test_a_section_runs_to_its_end(name: str, on: str, database: Path) -> None:
    request = SweepRequest(database=database, benchmark=on, budget=2, scale="smoke", executor="inline")
    result = run_sweep(suite_of(name), request, Watch())
    assert result.summary["equal"]
    assert set(result.summary["told"].values()) == {2}
    methods = len(result.points) - 1
    assert len(result.verdicts) == methods
    assert all(verdict.detail.question.protocol == "tuned" for verdict in result.verdicts)
    with open_reader(database) as reader:
        stored = reader.query("SELECT arm, count(*), count(value) FROM sweep_points GROUP BY arm").rows
    assert stored == [(arm, 2, 2) for arm, _, _ in stored]
    assert len(stored) == methods + 1
    again = run_sweep(suite_of(name), request, Watch())
    assert again.ran == 0
