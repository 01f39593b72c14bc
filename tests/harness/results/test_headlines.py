"""The few lines that a suite's verdicts come to: tests are counted, kinds stand apart, the unwelcome comes first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from judge_support import World, around, benchmark, binding, fact, flat, write_suite

from harness.judge.detail import from_json
from harness.results.headlines import FIRST, SAID, Group, ToldVerdict, headline_lines, headline_text, place_of
from harness.vocabulary import Tone, Verdict

Given = tuple[str, str, dict[str, Any]]


def lines(*given: Given, stand_in: bool = True) -> list[str]:
    message = [ToldVerdict.of(claim, word, from_json(design)) for claim, word, design in given]
    return list(headline_text(headline_lines(message, stand_in=stand_in), stand_in))


def score(word: str, test: str, family: str = "secondary", **more: Any) -> tuple[str, dict[str, Any]]:
    return word, {"family": family, "kind": "difference", "contrast_id": test, **more}


def test_tests_are_counted_not_claims() -> None:
    text = lines(
        *((f"c{i}", *score("direction confirmed", "one")) for i in range(9)), ("d", *score("undecided", "two"))
    )
    assert text[-1] == "Other scores: of 2 tests (10 claims), 1 holds in direction and 1 stays open."


def test_a_claim_with_a_test_a_benchmark_counts_each() -> None:
    value = ("a", "direction confirmed"), ("b", "direction reversed"), ("b", "direction reversed"), ("d", "not run")
    entries = [{"benchmark": name, "contrast": name, "verdict": word} for name, word in value]
    text = lines(("c", *score("direction reversed", "a", per_benchmark=entries)))
    assert text[-1] == "Other scores: of 2 tests (1 claim), 1 goes the other way and 1 holds in direction."


def test_of_two_words_of_one_test_the_one_that_contradicts_counts() -> None:
    text = lines(("up", *score("direction confirmed", "t")), ("down", *score("direction reversed", "t")))
    assert text[-1] == "Other scores: of 1 test (2 claims), 1 goes the other way."


def test_kinds_stand_apart_and_those_without_a_test_are_told_as_claims() -> None:
    text = lines(
        ("p", *score("direction reversed", "p", "primary")),
        ("m", "direction confirmed", {"family": "mechanism", "kind": "mechanism", "contrast_id": "m"}),
        ("i", "undecided", {"family": "secondary", "kind": "intervention", "contrast_id": "i"}),
        ("a", *score("no effect worth having", "a", "ablation")),
        ("f", "fails", {"mode": "check", "kind": "identity"}),
        ("h", "holds", {"mode": "check", "kind": "identity"}),
        ("w", *score("weak baseline", "w")),
        ("n", "not comparable", {"kind": "absolute", "family": "secondary", "contrast_id": "n"}),
        ("o", "not comparable", {"kind": "absolute", "family": "secondary", "contrast_id": "o"}),
        ("r", "not run", {}),
    )
    assert text == [
        "Measured on stand-ins: directions are judged, no published size is.",
        "Primary scores: of 1 test, 1 goes the other way.",
        "Other scores: of 1 test, 1 could not be judged.",
        "Mechanisms: of 1 test, 1 holds in direction.",
        "Interventions of this suite: of 1 test, 1 stays open.",
        "Claims on ablations: of 1 test, 1 shows no effect worth having.",
        "Formulas and code: of 2 checks, 1 fails and 1 holds.",
        "Without a test: 2 claims not comparable and 1 not run.",
    ]


def test_what_points_the_other_way_comes_before_everything() -> None:
    words = [*Verdict, "a word of tomorrow"]
    ranked = sorted(words, key=place_of)
    against = [word for word in Verdict if word.tone == Tone.AGAINST]
    assert set(ranked[: len(against)]) == set(against)
    assert ranked[-1] == "a word of tomorrow"
    assert set(FIRST) == set(Tone) == set(SAID)


def test_every_claim_of_a_suite_stands_in_one_line(tmp_path: Path) -> None:
    """What was seen on the pages: '2 could not be judged' beside 'not comparable 3'."""
    where = benchmark("a") + benchmark("b", level=51)
    value = fact("value", kind="absolute", published={"method": 52.0})
    facts = [fact("won"), fact("lost"), value, fact("very"), fact("un")]
    bindings = [
        binding("won", primary=True),
        binding("lost", arm="other"),
        binding("value", against=[]),
        binding("very", benchmarks=["b"], stand_in=False),
        {"id": "un", "unbound": "no comparator is built"},
    ]
    suite = write_suite(tmp_path, facts, bindings, benchmarks=where)
    scores: dict[tuple[str, str], Any] = {
        ("a", "ours"): around(2.0, 0.3, 5),
        ("a", "base"): flat(5),
        ("a", "other"): around(-2.0, 0.3, 5),
        ("b", "ours"): around(2.0, 0.3, 5),
        ("b", "base"): flat(5),
    }
    rows = World(suite, scores).verdicts()
    message = [ToldVerdict.of(name, row["verdict"], from_json(row["design"])) for name, row in rows.items()]
    result = headline_lines(message, stand_in=True)
    assert sum(line.claims for line in result) == len(rows) == 5
    assert [line.group for line in result] == [Group.PRIMARY, Group.SCORES, None]
    assert dict(result[-1].words) == {"not comparable": 2, "not run": 1}
    assert str(result[1]) == "Other scores: of 1 test, 1 goes the other way."
