"""Numbers and sentences, ablations' parents, factorial grids."""

import math
from dataclasses import fields, replace
from pathlib import Path
from statistics import stdev
from typing import Any

import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_support import Written
from statsmodels.stats.power import TTestPower

import reports
from harness import stats
from harness.judge.ablation import parent_of
from harness.judge.detail import VerdictDetail
from harness.judge.former_details import PARTS
from harness.results.verdict_text import TONES as TEXTS
from harness.store import open_reader
from harness.suite.models import Arm
from harness.vocabulary import Tone, Verdict
from reports import formatting
from reports.data import ablations
from reports.data.sql import command, literal
from reports.data.suite_results import SuiteResults, gather
from reports.figures.figure import TONES, compact, drawing, spearman, trace
from reports.pages.claim import claim_detail


@pytest.fixture(scope="module")
def mini(written: Written) -> SuiteResults:
    with open_reader(written.database, consistent=True) as reader:
        return gather(reader, written.reported[0].suite, written.reported[0].plan)


@pytest.mark.parametrize(
    ("word", "tone"),
    [
        ("reproduced", "holds"),
        ("inconclusive (distribution-sensitive)", "open"),
        ("contradicted", "against"),
        ("not run", "void"),
        ("inactive", "idle"),
        (Verdict.NO_EFFECT, "null"),
        ("never heard of", "unknown"),
    ],
)
def test_verdicts_have_tones(word: str, tone: str) -> None:
    assert formatting.shown(word).tone == tone


def test_every_verdict_of_the_vocabulary_has_its_look_and_its_place() -> None:
    style = (Path(reports.__file__).parent / "static" / "style.css").read_text(encoding="utf-8")
    symbols = (Path(reports.__file__).parent / "templates" / "_parts.html").read_text(encoding="utf-8")
    for place, verdict in enumerate(Verdict):
        assert formatting.shown(f"{verdict} (distribution-sensitive)").tone == verdict.tone
        assert formatting.shown(verdict).order == place
        assert formatting.shown(verdict).text == verdict
    for tone in (*Tone, formatting.UNKNOWN):
        assert f".chip.{tone} " in style
        assert f'id="i-{tone}"' in symbols
        assert f'id="m-{tone}"' in symbols
        assert tone in TONES
        assert tone in TEXTS


@settings(deadline=None)
@given(st.text(max_size=40))
def test_literals_keep_any_text(text: str) -> None:
    import duckdb

    if "\0" not in text:
        assert duckdb.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize("sql", ["SELECT 'a'", 'SELECT "at" FROM events', "SELECT '$x `y` \\ !'", "SELECT 'it''s'"])
def test_commands_survive_the_shell(sql: str) -> None:
    import subprocess

    printed = command(sql).replace("harness query", "printf %s")
    assert subprocess.run(["/bin/sh", "-c", printed], capture_output=True, text=True, check=True).stdout == sql


def test_json_of_a_figure_has_no_number_that_json_lacks() -> None:
    assert compact({"a": [math.nan, math.inf, 1 / 3, True, None, 7]}) == {"a": [None, None, 0.333333, True, None, 7]}


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_the_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    from scipy.stats import spearmanr

    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    else:
        assert math.isnan(spearman(x, y))


def test_plotly_checks_a_drawing_s_style_and_never_the_same_one_twice() -> None:
    created = []

    class Counted(go.Scatter):  # type: ignore[misc]
        def __init__(self, *values: Any, **more: Any) -> None:
            created.append(values)
            super().__init__(*values, **more)

    for points in ([1.0], [2.0, 3.0]):
        drawn = trace(Counted, mode="lines", name="never drawn before", x=points, y=points)
        assert (drawn["type"], drawn["mode"], drawn["y"]) == ("scatter", "lines", points)
    assert len(created) == 1
    for wrong in ({"modes": "lines"}, {"line": {"colour": "red"}}):
        with pytest.raises(ValueError, match=r"[Ii]nvalid property"):
            trace(go.Scatter, **wrong)
    with pytest.raises(ValueError, match=r"[Ii]nvalid property"):
        drawing([], {}, {}, xaxes={})


def test_the_headline_counts_tests_and_keeps_kinds_apart(mini: SuiteResults) -> None:
    assert mini.headline == [
        ("Measured on stand-ins: only the direction of each effect is tested, not its published size.", ()),
        ("Primary scores: 1 test; 1 confirmed in direction.", (("direction confirmed", 1),)),
        (
            "Other scores: 2 tests; 1 inconclusive, 1 with an inactive mechanism.",
            (("inconclusive", 1), ("inactive", 1)),
        ),
        ("Formulas and code: 1 check; 1 passed.", (("holds", 1),)),
        ("Without a test: 1 not run.", (("not run", 1),)),
    ]
    assert [claim.claim_id for claim, _ in mini.leading] == ["demo-gain"]


def changed(detail: VerdictDetail, **values: Any) -> VerdictDetail:
    """The detail with other values of fields of its parts."""
    for name, part in PARTS.items():
        own = {each.name: values[each.name] for each in fields(part) if each.name in values}
        if own:
            detail = replace(detail, **{name: replace(getattr(detail, name), **own)})
    return detail


def judged_as(results: SuiteResults, *claims: tuple[str, str, dict[str, Any]]) -> SuiteResults:
    """The suite with copies of its first claim: id, verdict, and values of its detail."""
    (first,) = (claim for claim in results.claims if claim.claim_id == "demo-gain")
    created = []
    for name, word, values in claims:
        detail = changed(first.detail, **{"contrast": name, **values})
        created.append(replace(first, verdict=replace(first.verdict, claim_id=name, verdict=word, detail=detail)))
    return replace(results, claims=created)


def test_every_primary_claim_leads_and_what_points_the_other_way_is_first(mini: SuiteResults) -> None:
    words = ["direction confirmed", "inconclusive", "not run", Verdict.NO_EFFECT, "direction reversed"]
    primary = [(f"p{place}", word, {"family": "primary"}) for place, word in enumerate(words)]
    others = [("s", "direction reversed", {"family": "secondary"})]
    shared = [("p5", "direction confirmed", {"family": "primary", "contrast": "p0"})]
    results = judged_as(mini, *primary, *others, *shared)
    message = results.leading
    expected = ["direction reversed", "direction confirmed", Verdict.NO_EFFECT, "inconclusive", "not run"]
    assert [claim.word for claim, _ in message] == expected
    assert "2 claims share this test" in message[1][1][1]
    assert all("on not the paper's recipe: a tenth of the steps" in text for _, (_, text) in message)
    assert results.headline[1][0] == (
        "Primary scores: 4 tests (5 claims); 1 reversed, 1 confirmed in direction, 1 below the smallest effect size of "
        "interest, 1 inconclusive."
    )


def test_a_mechanism_that_is_marked_primary_is_no_primary_score(mini: SuiteResults) -> None:
    results = judged_as(mini, ("m", "direction confirmed", {"family": "mechanism", "kind": "mechanism"}))
    assert results.primary == []
    assert results.headline[1][0] == "Mechanisms: 1 test; 1 confirmed in direction."


def test_seeds_needed_are_the_corrected_ones_or_none(mini: SuiteResults) -> None:
    def told(**design: Any) -> str:
        (claim,) = judged_as(mini, ("c", "inconclusive", {"seeds_needed": 9, "level": 0.01, **design})).claims
        facts = dict(claim_detail(mini, claim).facts)
        assert ("seeds needed, at the corrected level" in facts) == ("paired seeds would decide" in claim.change)
        return claim.change

    assert "9 paired seeds would decide an effect as small as the interval allows" in told()
    assert "would decide" not in told(level=None)  # stored before seeds were counted at the corrected level
    assert "would decide" not in told(seeds_needed=None)
    assert "would decide" not in told(seeds_needed=3)  # five are there, and they do not


def test_matters_most_is_the_largest_effect_of_those_that_survive_the_correction() -> None:
    def row(arm: str, difference: float, half: float, corrected: float | None, **more: Any) -> ablations.Ablation:
        ends = None if corrected is None else (difference - corrected, difference + corrected)
        shared = {"metric": "accuracy", "unit": "points", "n": 5, "benchmark": "digits", **more}
        return ablations.Ablation(
            label=arm,
            difference=difference,
            low=difference - half,
            high=difference + half,
            arm=arm,
            parent="ours",
            changed="a part",
            sql="",
            stand_in_name="noisy digits, not ImageNet",
            corrected=ends,
            test=(shared["benchmark"], arm, "ours"),
            **shared,
        )

    clearest, largest, noisy, alone = (
        row("clearest", -1.0, 0.05, 0.08),
        row("largest", -3.0, 0.8, 1.2),
        row("noisy", -9.0, 8.0, 12.0),
        row("alone", -20.0, 1.0, None),
    )
    [(parent, message, top)] = ablations.decisive_changes([clearest, largest, noisy, alone])
    assert (parent, top) == ("ours", largest)
    assert message == (
        "largest (a part) matters most: −3.00 points of accuracy on digits (noisy digits, not ImageNet), corrected "
        "95 % interval [−4.20, −1.80], 5 paired seeds; 2 of 4 such intervals exclude zero"
    )
    [(_, message, top)] = ablations.decisive_changes([noisy, alone, row("two", -2.0, 0.1, 0.2, n=2)])
    assert (message, top) == ("no corrected interval of its 3 changes excludes zero", None)
    other = row("slower", -40.0, 1.0, 2.0, metric="perplexity", unit="")
    assert [top for _, _, top in ablations.decisive_changes([largest, other])] == [largest, other]
    served = replace(largest, benchmark="the same digits")
    assert "; 2 of 2 such intervals" in ablations.decisive_changes([largest, clearest, served])[0][1]


def test_what_would_change_a_verdict_names_the_numbers(mini: SuiteResults) -> None:
    claims = {claim.claim_id: claim for claim in mini.claims}
    tie = claims["demo-tie"]
    effect = tie.detail.effect
    assert effect is not None
    differences = list(tie.detail.per_benchmark[0].differences.values())
    power = TTestPower().power((effect.mde or 0) / stdev(differences), len(differences), effect.level)
    assert power == pytest.approx(0.8, abs=1e-6)
    assert f"With 5 seeds an effect of {effect.mde:.3f} points would be detected" in tie.change
    assert "mechanism.share" in claims["demo-inactive"].change
    assert "Only scale paper" in claims["demo-gain"].change
    assert claims["demo-unbound"].change == "the comparator is not built here"


def test_standardised_effects_have_their_exact_interval_or_none(mini: SuiteResults) -> None:
    claim = next(claim for claim in mini.claims if claim.claim_id == "demo-gain")
    values = list(claim.detail.per_benchmark[0].differences.values())
    exact = stats.effect_size_interval(values)
    assert claim.standardised == pytest.approx((exact.estimate, exact.low, exact.high))
    row = claim.verdict
    divided = (row.ci_high - row.difference) / row.difference * exact.estimate  # type: ignore[operator]
    assert exact.high - exact.estimate > divided
    (older,) = judged_as(mini, ("c", "inconclusive", {"d_z_low": None, "d_z_high": None})).claims
    assert older.standardised == (pytest.approx(exact.estimate), None, None)
    facts = dict(claim_detail(mini, claim).facts)
    assert facts["d_z, exact 95 % interval"] == (
        f"{formatting.number(exact.estimate)} {formatting.interval(exact.low, exact.high)}"
    )


def test_an_ablation_is_compared_with_the_arm_it_changes_least(written: Written, mini: SuiteResults) -> None:
    arms = mini.plan.arms
    assert parent_of("momentum", arms) == "ours"
    assert ablations.changes(arms["momentum"], arms["ours"]) == "optimizer.momentum: 0.9"
    with open_reader(written.database, consistent=True) as reader:
        rows = ablations.ablations(reader, mini)
        row = next(row for row in rows if (row.arm, row.benchmark) == ("momentum", "digits-known"))
        answer = reader.query(row.sql).dicts()
    test = stats.paired_t([item["difference"] for item in answer])
    assert (row.difference, row.low, row.high, row.n) == (test.estimate, test.low, test.high, 5)
    assert row.difference == pytest.approx(-1.2, abs=0.6)
    assert any(arm == "ours" and "matters most" in message for arm, message, _ in ablations.decisive_changes(rows))


def test_an_ablation_that_names_its_parent_is_compared_with_it() -> None:
    slots = {"lr": 0.1, "name": "sgd"}
    arms = {
        "ours": Arm(role="method", optimizer=slots),
        "first": Arm(role="ablation", parent="ours", optimizer={**slots, "momentum": 0.5}),
        "second": Arm(role="ablation", parent="first", optimizer={**slots, "momentum": 0.5, "nesterov": True}),
    }
    for name, parent, changed in (
        ("first", "ours", "optimizer.momentum: 0.5"),
        ("second", "first", "optimizer.nesterov: yes"),
    ):
        assert parent_of(name, arms) == parent
        assert ablations.changes(arms[name], arms[parent]) == changed
