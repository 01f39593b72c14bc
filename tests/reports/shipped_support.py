"""The shipped suites with results whose truth is known: scores that follow from names, judged by the judge itself."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from report_support import finished, record_run

from harness.execute.environment import environment, environment_id
from harness.judge.stored import judge_now
from harness.plan.planning import Plan, Selection, Trial, make_plan
from harness.results.current import Reported
from harness.store import Writer
from harness.store.events import EnvironmentEvent, OutcomeEvent
from harness.suite import Suite, load_suite
from harness.suite.models import MechanismCheck, Metric
from harness.trial.result import MetricSeries, Score
from reports.site import write_site

SUITES: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "adamp": (
        ("mini", ("imagenet-resnet18", "coco-ssd-scratch")),
        ("small", ("cub-proxyanchor", "cub-triplet", "inshop-proxyanchor")),
    ),
    "nkd": (("mini", ("imagenet-resnet18", "imagenet-mobilenet-v1")),),
    "powernorm": (("mini", ("iwslt14-de-en",)),),
    "region_norm": (("mini", ("places2",)),),
    "knn_mmd": (("mini", ("wifall-action",)),),
}
"""Of each suite a scale and some benchmarks; those that a suite does not have are replaced by its first."""

EFFECTS = {
    "adamp": 2.0,
    "sgdp": 1.5,
    "nkd": 3.0,
    "nkd-unnormalised": -1.5,
    "nkd-target-only": 1.8,
    "uskd": 1.0,
    "released-leak": 9.0,
    "oracle-labels": 6.0,
    "knn-mmd": 2.0,
}
"""By how many units of a metric an arm is better; all others 0."""
SEEDS = tuple(range(5))
RUN = "20260304T050000-5678abcd"


def selections(suite: Suite, seeds: tuple[int, ...] = SEEDS) -> list[Selection]:
    """The reported selections of a suite."""
    result = []
    for scale, names in SUITES[suite.name]:
        existing = [name for name in names if name in suite.benchmarks]
        chosen = tuple(existing or list(suite.benchmarks)[:1])
        result.append(Selection(scale=scale, benchmarks=chosen, seeds=seeds))
    return result


def score(trial: Trial, metric: str, about: Metric) -> float:
    """A value shifted by the arm's effect, with noise shared by seeds."""
    common = random.Random(f"{trial.benchmark}{metric}{trial.seed}").gauss(0, 0.6)
    own = random.Random(f"{trial.benchmark}{metric}{trial.arm}{trial.seed}").gauss(0, 0.3)
    sign = 1 if about.better == "higher" else -1
    return 50 + common + sign * (EFFECTS.get(trial.arm, 0.0) + own)


def results_of(suite: Suite, trial: Trial, gates: Sequence[MechanismCheck]) -> list[Score]:
    """Final numbers: every declared metric, and the quantities of mechanism checks beyond their thresholds."""
    metrics = suite.benchmarks[trial.benchmark].model.metrics
    rows = {(about.split, name): score(trial, name, about) for name, about in metrics.items()}
    for gate in sorted(gates, key=lambda gate: gate.arm != trial.arm):  # this arm's own rule before those of others
        beyond = 1.2 if gate.op in (">=", ">") else 0.8
        draw = 0.02 * random.Random(f"{gate.metric}{trial.arm}{trial.seed}").random()
        # A reference arm has 1 in a ratio and 0 in a difference, so that the check's own arm decides.
        neutral = 1.0 if gate.relative_to is not None else 0.0
        reference = gate.arms != (gate.arm,) and trial.arm != gate.arm
        rows.setdefault(("train", gate.metric), neutral if reference else gate.value * beyond + draw)
    return [Score(*name, value) for name, value in rows.items()]


def rules_of(suite: Suite) -> list[MechanismCheck]:
    """The distinct mechanism checks of the suite."""
    result: dict[tuple[Any, ...], MechanismCheck] = {}
    for binding in suite.model.claims:
        value = binding.mechanism if isinstance(binding.mechanism, list) else [binding.mechanism]
        for rule in value:
            if rule is not None:
                result.setdefault((rule.metric, *rule.arms), rule)
    return list(result.values())


def fill_shipped(writer: Writer, suite: Suite, plan: Plan) -> None:
    """A run of the suite, every trial done."""
    run = f"{RUN}-{suite.name}-{plan.scale}"
    writer.record(EnvironmentEvent(environment_id=environment_id(), info=environment()))
    record_run(writer, suite, plan, run, environment_id(), f"harness run {suite.name}")
    gates = rules_of(suite)
    steps = list(range(1, 31))
    for trial in plan.trials:
        loss = [3 / step + 0.01 * trial.seed for step in steps]
        epochs, seconds = [step / 10 for step in steps], [0.02 * step for step in steps]
        series = MetricSeries("train", "loss", steps, epochs, loss, seconds)
        ended = finished(trial, environment_id(), results_of(suite, trial, gates), [series])
        writer.record(OutcomeEvent(ended, run))


def write_shipped(folder: Path, seeds: tuple[int, ...] = SEEDS) -> Path:
    """The site of all five suites; returns its folder."""
    database = folder / "shipped.duckdb"
    reported = []
    for name in SUITES:
        suite = load_suite(name)
        for selection in selections(suite, seeds):
            with Writer(database, f"{RUN}-{name}-{selection.scale}") as writer:
                fill_shipped(writer, suite, make_plan(suite, selection))
            reported.append(Reported(suite, judge_now(suite, selection, database)[0]))
    return write_site(database, reported, folder / "site", trial_pages=True).parent
