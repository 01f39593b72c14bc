"""Comparisons that no suite declares: designs and evidence from scores alone, as a table of results has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from harness.judge.bindings import TIMES
from harness.judge.comparisons import name_comparisons
from harness.judge.design import (
    ClaimDesign,
    DesignBlock,
    Estimand,
    Family,
    Multiplicity,
    Pairing,
    Question,
    StatisticalRules,
)
from harness.judge.evidence import StoredTrial
from harness.judge.judging import judge_designs
from harness.judge.rows import VerdictRow
from harness.vocabulary import Split, Status

PRIMARY = 5
"""So many tests are corrected by Holm, as the primary ones of a suite; where there are more, by Benjamini–Hochberg."""
KAPPA, G, TOLERATED = 0.5, 0.5, 0.2


@dataclass(frozen=True, slots=True)
class ArmScore:
    """A number of an arm on a benchmark; ``pair`` is what it shares with the other arms' (a seed, a fold).

    ``value`` is NaN or infinite where a training ended without one.
    """

    arm: str
    benchmark: str
    pair: str
    value: float


@dataclass(frozen=True, slots=True)
class AskedComparison:
    """What is asked of scores: each method against each baseline, on every benchmark or over all of them.

    Attributes:
        better: ``higher`` or ``lower``.
        unit: of the metric; of ``percent`` scores that all lie in [0, 1] are refused, times are compared as ratios.
        smallest: the smallest effect worth having, in that unit.
        perfect: the best score there is, for relative error reductions.
        scope: ``each`` benchmark a test of its own, ``all``: the effect is there in every one, ``mean``: over them.
        primary: tests that were announced before results, by name; without any all tests are one family.
        on_divergence: ``worst`` counts a score that is missing or not finite as a lost pair, ``invalid`` as a failure.
    """

    methods: tuple[str, ...]
    against: tuple[str, ...]
    metric: str
    better: str
    unit: str = ""
    smallest: float | None = None
    perfect: float | None = None
    scope: str = "each"
    primary: tuple[str, ...] = ()
    alpha: float = 0.05
    on_divergence: str = "invalid"


def judge_scores(asked: AskedComparison, scores: Sequence[ArmScore], judged_at: datetime) -> list[VerdictRow]:
    """A verdict for each comparison, by the rules of a suite's; nothing is read or stored.

    Raises:
        ValueError: an arm has two scores for one pair.
    """
    designs = comparison_designs(asked, scores)
    evidence: dict[str, StoredTrial] = {}
    for score in scores:
        trial = _trial(score)
        if trial in evidence:
            raise ValueError(f"two scores of {score.arm} for {score.pair} on {score.benchmark}")
        results = {(str(Split.TEST), asked.metric): score.value}
        evidence[trial] = StoredTrial(trial, Status.DONE, "", results)
    return [row for _, row in judge_designs(designs, evidence, {}, judged_at)]


def comparison_designs(asked: AskedComparison, scores: Sequence[ArmScore]) -> list[ClaimDesign]:
    """The designs of every comparison, in the order in which methods, baselines and benchmarks occur."""
    cells = _cells(scores)
    every = list(cells)
    places = [[name] for name in every] if asked.scope == "each" else [every]
    pairs = [(method, other) for method in asked.methods for other in asked.against if method != other]
    tests = [(method, other, place) for place in places for method, other in pairs]
    few = len(tests) <= PRIMARY
    return name_comparisons(
        [
            _design(asked, (method, other), {name: cells[name] for name in place}, few=few, several=len(every) > 1)
            for method, other, place in tests
        ]
    )


def test_name(method: str, other: str, place: Iterable[str], scope: str, *, several: bool) -> str:
    """``cifar10: adamp − adam``; ``mean of 4: adamp − adam``; the comparison alone where there is one benchmark."""
    names = list(place)
    compared = f"{method} − {other}"
    if not several:
        return compared
    return f"{names[0]}: {compared}" if scope == "each" else f"{scope} of {len(names)}: {compared}"


def _design(
    asked: AskedComparison,
    arms: tuple[str, str],
    cells: Mapping[str, Mapping[str, Mapping[int, str]]],
    *,
    few: bool,
    several: bool,
) -> ClaimDesign:
    direction = 1 if asked.better == "higher" else -1
    name = test_name(*arms, cells, asked.scope, several=several)
    family: Family = "primary" if (name in asked.primary if asked.primary else few) else "secondary"
    fewest = min(len(cell) for by_arm in cells.values() for cell in by_arm.values())
    blocks = tuple(
        DesignBlock(
            benchmark=benchmark,
            shares=(),
            metric=asked.metric,
            split=Split.TEST,
            better=asked.better,
            unit=asked.unit,
            direction=direction,
            chain=arms,
            best=False,
            cells={arm: by_arm.get(arm, {}) for arm in arms},
            floor=asked.smallest,
            smallest=asked.smallest,
            perfect=asked.perfect,
            place=benchmark,
        )
        for benchmark, by_arm in cells.items()
    )
    return ClaimDesign(
        scale="",
        question=Question(
            claim_id=name,
            suite="",
            kind="difference",
            mode="difference",
            benchmarks=tuple(cells),
            arm=arms[0],
            against=arms[1:],
            others=(),
            scope=asked.scope,
            k=None,
            order=None,
            protocol="published",
            domains=None,
            check=None,
            note="",
        ),
        pairing=Pairing(log_ratio=asked.unit.lower() in TIMES, on_divergence=asked.on_divergence),
        estimand=Estimand(
            direction=direction,
            metric=asked.metric,
            unit=asked.unit,
            delta=None,
            m=asked.smallest,
            margin=None,
            target=None,
            stated=False,
        ),
        rules=StatisticalRules(asked.alpha, KAPPA, G, TOLERATED, (fewest, fewest, fewest), sequential=False),
        multiplicity=Multiplicity(family),
        blocks=blocks,
    )


def _cells(scores: Sequence[ArmScore]) -> dict[str, dict[str, dict[int, str]]]:
    """benchmark → arm → number of the pair → trial; pairs are numbered in their order over all benchmarks."""
    numbers = pair_numbers(score.pair for score in scores)
    cells: dict[str, dict[str, dict[int, str]]] = {}
    for score in scores:
        cells.setdefault(score.benchmark, {}).setdefault(score.arm, {})[numbers[score.pair]] = _trial(score)
    return cells


def pair_numbers(pairs: Iterable[str]) -> dict[str, int]:
    """What pairs scores, numbered: seeds by themselves, other names in the order in which they occur."""
    names = list(dict.fromkeys(pairs))
    if all(name.isdecimal() and str(int(name)) == name for name in names):
        return {name: int(name) for name in names}
    return {name: number for number, name in enumerate(names)}


def _trial(score: ArmScore) -> str:
    return "\x1f".join((score.benchmark, score.arm, score.pair))


def unusable(scores: Iterable[ArmScore]) -> list[ArmScore]:
    """Those without a number to compute with."""
    return [score for score in scores if not math.isfinite(score.value)]
