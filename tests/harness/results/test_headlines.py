"""Headlines count tests by group, reversed ones first."""

from typing import Any

import pytest

from harness.judge.detail import from_json
from harness.results.verdict_text import TONES, UNKNOWN, CountedVerdict, headline_lines, headline_text, place_of
from harness.vocabulary import Tone, Verdict

Stated = tuple[str, str, dict[str, Any]]


def lines(*claims: Stated, stand_in: bool = True) -> list[str]:
    counted = [CountedVerdict.of(claim, verdict, from_json(design)) for claim, verdict, design in claims]
    result = headline_lines(counted, stand_in=stand_in)
    assert sum(line.claims for line in result) == len(claims), "each claim is counted in one line"
    return list(headline_text(result, stand_in))


def score(verdict: str, test: str, family: str = "secondary", **more: Any) -> tuple[str, dict[str, Any]]:
    return verdict, {"family": family, "kind": "difference", "contrast_id": test, **more}


EACH = [
    {"benchmark": "a", "contrast": "a", "verdict": "direction confirmed"},
    {"benchmark": "b", "contrast": "b", "verdict": "direction reversed"},
    {"benchmark": "d", "contrast": "d", "verdict": "not run"},
]
NINE = [(f"c{i}", *score("direction confirmed", "one")) for i in range(9)]


@pytest.mark.parametrize(
    ("claims", "line"),
    [
        (
            [*NINE, ("d", *score("inconclusive", "two"))],
            "2 tests (10 claims); 1 confirmed in direction, 1 inconclusive",
        ),
        (
            [("c", *score("direction reversed", "a", per_benchmark=EACH))],
            "2 tests (1 claim); 1 reversed, 1 confirmed in direction",
        ),
        (  # two verdicts of one test
            [("up", *score("direction confirmed", "t")), ("down", *score("direction reversed", "t"))],
            "1 test (2 claims); 1 reversed",
        ),
    ],
)
def test_tests_are_counted_not_claims(claims: list[Stated], line: str) -> None:
    assert lines(*claims)[-1] == f"Other scores: {line}."


def test_groups_have_separate_lines_and_claims_without_a_test_the_last() -> None:
    text = lines(
        ("p", *score("direction reversed", "p", "primary")),
        ("m", "direction confirmed", {"family": "mechanism", "kind": "mechanism", "contrast_id": "m"}),
        ("i", "inconclusive", {"family": "secondary", "kind": "intervention", "contrast_id": "i"}),
        ("a", *score(Verdict.NO_EFFECT, "a", "ablation")),
        ("f", "fails", {"mode": "check", "kind": "identity"}),
        ("h", "holds", {"mode": "check", "kind": "identity"}),
        ("w", *score("weak baseline", "w")),
        ("n", "not comparable", {"kind": "absolute", "family": "secondary", "contrast_id": "n"}),
        ("o", "not comparable", {"kind": "absolute", "family": "secondary", "contrast_id": "o"}),
        ("r", "not run", {}),
    )
    assert text == [
        "Measured on stand-ins: only the direction of each effect is tested, not its published size.",
        "Primary scores: 1 test; 1 reversed.",
        "Other scores: 1 test; 1 not evaluable.",
        "Mechanisms: 1 test; 1 confirmed in direction.",
        "Interventions of this suite: 1 test; 1 inconclusive.",
        "Claims on ablations: 1 test; 1 below the smallest effect size of interest.",
        "Formulas and code: 2 checks; 1 failed, 1 passed.",
        "Without a test: 2 not comparable, 1 not run.",
    ]


def test_reversed_verdicts_come_first_and_unknown_ones_last() -> None:
    ranked = sorted([*Verdict, "a verdict of tomorrow"], key=place_of)
    against = [verdict for verdict in Verdict if verdict.tone == Tone.AGAINST]
    assert set(ranked[: len(against)]) == set(against)
    assert ranked[-1] == "a verdict of tomorrow"
    assert set(TONES) == {*Tone, UNKNOWN}
