"""A claim asked of a table's scores: designs and evidence without a suite."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from harness.judge.bindings import TIMES
from harness.judge.comparisons import name_comparisons
from harness.judge.design import ClaimDesign, DesignBlock, Estimand, Multiplicity, Pairing, Question, StatisticalRules
from harness.judge.evidence import StoredTrial
from harness.judge.judging import judge_designs
from harness.judge.rows import VerdictRow
from harness.vocabulary import Split, Status

PRIMARY = 5
"""Largest number of tests that Holm corrects unless some are announced; above it Benjamini–Hochberg."""
KAPPA, G, TOLERATED = 0.5, 0.5, 0.2


@dataclass(frozen=True, slots=True)
class ArmScore:
    """A score of an arm; not finite: a training ended without one. ``pair`` names its seed or fold."""

    arm: str
    benchmark: str
    pair: str
    value: float


def table_claim(
    metric: str,
    better: str,
    unit: str = "",
    *,
    smallest: float | None = None,
    scope: str = "each",
    alpha: float = 0.05,
    on_divergence: str = "invalid",
) -> ClaimDesign:
    """The claim of a table, before its arms are known.

    Args:
        better: ``higher`` or ``lower``.
        unit: of the metric; times are compared as ratios.
        smallest: smallest effect size of interest, in that unit.
        scope: ``each`` benchmark a test, ``all``: the effect is in every benchmark, ``mean``: over them.
        on_divergence: ``worst`` counts a score that is not finite as a lost pair, ``invalid`` as a failure.
    """
    return ClaimDesign(
        scale="",
        question=Question("", "", "difference", "difference", scope=scope),
        pairing=Pairing(log_ratio=unit.lower() in TIMES, on_divergence=on_divergence),
        estimand=Estimand(1 if better == "higher" else -1, metric, unit, m=smallest, stated=False),
        rules=StatisticalRules(alpha, KAPPA, G, TOLERATED, (0, 0, 0), sequential=False),
        multiplicity=Multiplicity("secondary"),
    )


def of_datasets(claim: ClaimDesign) -> ClaimDesign:
    """The claim whose pairs are data sets, tested by signed ranks."""
    return replace(claim, pairing=replace(claim.pairing, ranked=True))


def table_designs(
    claim: ClaimDesign,
    pairs: Sequence[tuple[str, str]],
    scores: Sequence[ArmScore],
    perfect: float | None = None,
    resampled: float = 0.0,
) -> list[ClaimDesign]:
    """The claim of each pair of arms; by benchmark where the scope is ``each``.

    ``resampled`` is n_test/n_train of pairs that split one data set.
    """
    cells = _cells(scores)
    places = [[name] for name in cells] if claim.question.scope == "each" else [list(cells)]
    return [
        _design(claim, (method, other), {name: cells[name] for name in place}, perfect, resampled, len(cells) > 1)
        for place in places
        for method, other in pairs
    ]


def judge_scores(
    designs: Sequence[ClaimDesign], scores: Sequence[ArmScore], primary: Sequence[str], judged_at: datetime
) -> list[VerdictRow]:
    """Judge each comparison by the rules of a suite; nothing is read or stored.

    ``primary`` are the claim_ids announced before results; without any, all tests are one family. Tests over data sets
    are corrected by Holm, however many.

    Raises:
        ValueError: an arm has two scores for one pair.
    """
    evidence: dict[str, StoredTrial] = {}
    metric = designs[0].estimand.metric if designs else ""
    for score in scores:
        trial = _trial(score)
        if trial in evidence:
            raise ValueError(f"two scores of {score.arm} for {score.pair} on {score.benchmark}")
        evidence[trial] = StoredTrial(trial, Status.DONE, "", {(str(Split.TEST), metric): score.value})
    return [row for _, row in judge_designs(with_families(designs, primary), evidence, {}, judged_at)]


def with_families(designs: Sequence[ClaimDesign], primary: Sequence[str]) -> list[ClaimDesign]:
    """The designs with their families: of announced tests and others, or of all."""
    few = len(designs) <= PRIMARY or any(design.pairing.ranked for design in designs)
    announced = primary or [design.claim_id for design in designs if few]
    return name_comparisons(
        [
            replace(design, multiplicity=Multiplicity("primary" if design.claim_id in announced else "secondary"))
            for design in designs
        ]
    )


def _test_name(method: str, other: str, place: Sequence[str], scope: str, *, several: bool) -> str:
    compared = f"{method} − {other}"
    if not several:
        return compared
    if scope == "mean":
        return f"mean over these {len(place)} data sets: {compared}"
    return f"{place[0]}: {compared}" if scope == "each" else f"{scope} of {len(place)}: {compared}"


def _design(
    claim: ClaimDesign,
    arms: tuple[str, str],
    cells: Mapping[str, Mapping[str, Mapping[int, str]]],
    perfect: float | None,
    resampled: float,
    several: bool,
) -> ClaimDesign:
    estimand, question = claim.estimand, claim.question
    fewest = min(len(cell) for by_arm in cells.values() for cell in by_arm.values())
    blocks = tuple(
        DesignBlock(
            benchmark=benchmark,
            shares=(),
            metric=estimand.metric,
            split=Split.TEST,
            better="higher" if estimand.direction > 0 else "lower",
            unit=estimand.unit,
            direction=estimand.direction,
            chain=arms,
            best=False,
            cells={arm: by_arm.get(arm, {}) for arm in arms},
            floor=estimand.m,
            smallest=estimand.m,
            perfect=perfect,
            place=benchmark,
            resampled=resampled,
        )
        for benchmark, by_arm in cells.items()
    )
    name = _test_name(*arms, tuple(cells), question.scope, several=several)
    return replace(
        claim,
        question=replace(question, claim_id=name, benchmarks=tuple(cells), arm=arms[0], against=arms[1:]),
        rules=replace(claim.rules, seeds=(fewest, fewest, fewest)),
        blocks=blocks,
    )


def _cells(scores: Sequence[ArmScore]) -> dict[str, dict[str, dict[int, str]]]:
    """benchmark → arm → number of the pair → trial."""
    numbers = pair_numbers(score.pair for score in scores)
    cells: dict[str, dict[str, dict[int, str]]] = {}
    for score in scores:
        cells.setdefault(score.benchmark, {}).setdefault(score.arm, {})[numbers[score.pair]] = _trial(score)
    return cells


def pair_numbers(pairs: Iterable[str]) -> dict[str, int]:
    """A number for each pair: seeds by themselves, other names in the order in which they occur."""
    names = list(dict.fromkeys(pairs))
    if all(name.isdecimal() and str(int(name)) == name for name in names):
        return {name: int(name) for name in names}
    return {name: number for number, name in enumerate(names)}


def _trial(score: ArmScore) -> str:
    return "\x1f".join((score.benchmark, score.arm, score.pair))
