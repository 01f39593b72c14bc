"""Interventions: claims about a gain that shrinks."""

import json
from pathlib import Path

import pytest
from judge_support import World, benchmark, binding, fact, write_suite

from harness.errors import SuiteError
from harness.judge.judging import claim_rows
from harness.suite import Suite, load_suite
from harness.vocabulary import Verdict

INTERVENTION = {
    "id": "holes-filled",
    "benchmarks": ["a"],
    "arm": "ours",
    "against": ["other"],
    "baselines": ["base", "third"],
    "metric": "score",
    "statement": "With the cause removed from both arms the gain shrinks.",
}


def with_interventions(folder: Path, *interventions: dict[str, object]) -> Suite:
    """A suite of one claim and these interventions."""
    path = write_suite(folder, [fact("c")], [binding("c")]).path
    lines = "".join(f"  - {json.dumps(item)}\n" for item in interventions)
    path.write_text(f"{path.read_text(encoding='utf-8')}interventions:\n{lines}", encoding="utf-8")
    return load_suite(path)


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        (((3.0, 3.1, 2.9), (0.1, 0.0, -0.1)), Verdict.CONFIRMED),
        (((0.1, 0.0, -0.1), (3.0, 3.1, 2.9)), Verdict.REVERSED),
        (((3.0, 3.1, 2.9), (2.0, 4.5, 3.1)), Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_says_if_a_gain_shrank(tmp_path: Path, gains: tuple[tuple[float, ...], ...], word: Verdict) -> None:
    suite = with_interventions(tmp_path, INTERVENTION)
    (first, second), low = gains, (50.0, 60.0, 55.0)
    scores = {
        ("a", "ours"): [x + g for x, g in zip(low, first, strict=True)],
        ("a", "base"): low,
        ("a", "other"): [x + g for x, g in zip(low, second, strict=True)],
        ("a", "third"): low,
    }
    rows = World(suite, scores).verdicts()
    row = rows["holes-filled"]
    assert row["verdict"] == word
    assert row["n"] == 3
    assert (row["design"]["multiplicity"]["family"], len(row["design"]["test"]["p"])) == ("intervention", 1)
    assert (rows["c"]["design"]["multiplicity"]["family"], len(rows["c"]["design"]["test"]["p"])) == ("secondary", 1)


def test_an_intervention_is_listed_as_one(tmp_path: Path) -> None:
    suite = with_interventions(tmp_path, INTERVENTION)
    (row,) = (row for row in claim_rows(suite) if row["claim_id"] == "holes-filled")
    assert (row["kind"], row["unit"], row["better"]) == ("intervention", "percent", "higher")
    assert row["source"] == "an intervention of this suite"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks": ["b"]}, "no benchmark 'b'"),
        ({"metric": "speed"}, "has no metric 'speed'"),
        ({"arm": "mine"}, "no arm 'mine'"),
        ({"id": "c"}, "the claim 'c' is bound twice"),
        ({"statement": "short"}, "at least 12"),
    ],
)
def test_a_wrong_intervention_is_a_located_error(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SuiteError, match=message) as raised:
        with_interventions(tmp_path, INTERVENTION | changes)
    lines = (tmp_path / "known.yaml").read_text(encoding="utf-8").splitlines()
    assert raised.value.problems[0].place.line == len(lines)


def test_a_claim_about_these_very_networks_is_not_judged_on_a_stand_in(tmp_path: Path) -> None:
    bound = [binding("c"), binding("pair", stand_in=False)]
    facts = [fact("c"), fact("pair", published={"difference": -2.0})]
    suite = write_suite(tmp_path, facts, bound, benchmarks=benchmark("a", paper=True))
    scores = {("a", "ours"): [52.0, 52.1, 51.9], ("a", "base"): [50.0, 50.1, 50.1]}
    at_paper = World(suite, scores, scale="paper").verdicts()
    assert (at_paper["c"]["verdict"], at_paper["pair"]["verdict"]) == (Verdict.REPRODUCED, Verdict.CONTRADICTED)
    text = suite.path.read_text(encoding="utf-8")
    small = "      mini:\n        recipe: {steps: 10}\nfacts:"
    suite.path.write_text(text.replace("facts:", small, 1), encoding="utf-8")
    on_stand_in = World(load_suite(suite.path), scores).verdicts()
    assert on_stand_in["c"]["verdict"] == Verdict.CONFIRMED
    assert on_stand_in["pair"]["verdict"] == Verdict.NOT_COMPARABLE
    assert on_stand_in["c"]["design"]["multiplicity"]["contrast_claims"] == ["c"]
