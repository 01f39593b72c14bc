"""False verdicts of tuned claims about arms that are equal in law."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from harness.judge.bindings import claim_designs
from harness.judge.design import ClaimDesign
from harness.judge.evidence import StoredTrial
from harness.judge.judging import judge_designs
from harness.judge.protocols import search_result
from harness.plan.planning import make_plan
from harness.plan.protocols import EqualSearch, searches, tuned_plan, tuned_suite
from harness.plan.tuning import Point
from harness.suite import load_suite
from harness.sweep.study import Drawing
from harness.trial.options import Scalar
from harness.vocabulary import Verdict

SPACES = {
    "grid": "{optimizer.lr: {factors: [0.333, 1, 3, 9]}, optimizer.weight_decay: {choices: [0.0, 0.001]}}",
    "random": "{optimizer.lr: {low: 0.01, high: 1.0, log: true}}",
}
NOW = datetime(2026, 1, 1)


DRAWN: dict[tuple[str, str], list[Point]] = {}
"""The points of a search and arm: draws depend on no result."""


def drawn(search: EqualSearch, arm: str) -> list[Point]:
    """The points of an arm's search, drawn once."""
    key = (search.tuning.sweep_id, arm)
    if key not in DRAWN:
        DRAWN[key] = Drawing.of(search.tuning, arm).draw(range(search.budget), [])
    return DRAWN[key]


def rate_of(params: Mapping[str, Scalar]) -> float:
    """The learning rate of a configuration."""
    rate = params["optimizer.lr"]
    assert isinstance(rate, float)
    return rate


@dataclass
class World:
    """Arms equal in law: −curvature · (log₃ of rate over optimum)² + noise of sd 1, correlated .5 within a seed."""

    curvature: float
    random: np.random.Generator
    shared: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.optimum = float(self.random.uniform(-0.5, 1.5))

    def score(self, rate: float, seed: int) -> float:
        common = self.shared.setdefault(seed, float(self.random.normal()))
        noise = math.sqrt(0.5) * (common + float(self.random.normal()))
        return noise - self.curvature * (math.log(rate / 0.1, 3) - self.optimum) ** 2

    def told(self, part: EqualSearch) -> tuple[dict[str, list[Point]], dict[str, float]]:
        """The configurations of a search, run in this world."""
        scores: dict[str, float] = {}
        points: dict[str, list[Point]] = {}
        (seeds,) = part.tuning.seed_groups()
        for arm in part.tuning.arms:
            for point in drawn(part, arm):
                trials = [f"{part.tuning.sweep_id} {arm} {point.number} {seed}" for seed in seeds]
                values = [self.score(rate_of(point.params), seed) for seed in seeds]
                scores |= dict(zip(trials, values, strict=True))
                mean = sum(values) / len(values)
                points.setdefault(arm, []).append(replace(point, value=mean, status="told", trial_ids=trials))
        return points, scores


def words(tiny: Path, sampler: str, count: int, curvature: float, repeats: int, *, single: bool = False) -> float:
    """Share of decisive verdicts; ``single``: the seeds of one search taken for the sample, as before."""
    judged = 20 if single else 2
    section = f"searches: {count}, judged: {judged}, sampler: {sampler}, spaces: {{'*': {SPACES[sampler]}}}"
    tiny.write_text(tiny.read_text() + f"tuned: {{{section}}}\n")
    suite = load_suite(tiny)
    plan = make_plan(suite)
    every = searches(suite, plan)
    own = {arm: {"optimizer.lr": 0.1} for arm in ("base", "better")}
    designs = claim_designs(
        tuned_suite(suite), tuned_plan(suite, plan, [(e, own) for e in every]).judged, sequential=False
    )
    if single:
        designs = [replace(each, pairing=replace(each.pairing, seeds_of_search=None)) for each in designs]
    random = np.random.default_rng(20261203)
    return sum(_decides(designs, every, judged, World(curvature, random)) for _ in range(repeats)) / repeats


def _decides(designs: list[ClaimDesign], every: list[EqualSearch], judged: int, world: World) -> bool:
    (block,) = designs[0].blocks
    evidence = {}
    for search in every[:1] if designs[0].pairing.seeds_of_search is None else every:
        number, result = search.tuning.number, search_result(search, world.told)
        assert result.equal
        for arm, params in result.params.items():
            for seed in range(number * judged, (number + 1) * judged):
                trial = block.cells[arm][seed]
                score = {("test", block.metric): 50 + world.score(rate_of(params), seed)}
                evidence[trial] = StoredTrial(trial, "done", "here", score)
    ((_, row),) = judge_designs(designs, evidence, {}, NOW)
    return Verdict.of(row.verdict).decisive


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("sampler", "curvature"), [("grid", 1.0), ("random", 4.0)])
@pytest.mark.parametrize(("count", "repeats"), [(3, 3000), (6, 2000), (20, 1000)])
def test_equal_arms_that_are_tuned_again_get_few_verdicts(
    tiny: Path, sampler: str, curvature: float, count: int, repeats: int
) -> None:
    share = words(tiny, sampler, count, curvature, repeats)
    print(f"{sampler}, {count} searches: {100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / repeats):.1f} %")
    assert 0 < share <= 0.06


@pytest.mark.full
@pytest.mark.parametrize(("sampler", "curvature"), [("grid", 1.0), ("random", 4.0)])
def test_the_seeds_of_one_search_would_give_many(tiny: Path, sampler: str, curvature: float) -> None:
    share = words(tiny, sampler, 3, curvature, 500, single=True)
    print(f"{sampler}, one search, 20 seeds: {100 * share:.1f} %")
    assert share > 0.12
