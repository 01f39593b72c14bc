"""Numbers and sentences, ablations' parents, factorial grids."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from conftest import Written  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st
from report_support import write_suite

import reports
from harness import stats
from harness.judge.ablation import parent_of
from harness.store import open_reader
from harness.suite.models import Arm
from harness.vocabulary import Tone, Verdict
from reports import formatting
from reports.data import ablations
from reports.data.sql import command, literal
from reports.data.suite_results import SuiteResults, gather
from reports.figures.figure import TONES, compact, drawing, spearman, trace
from reports.pages import sentences


@pytest.fixture(scope="module")
def mini(written: Written) -> SuiteResults:
    with open_reader(written.database, consistent=True) as reader:
        return gather(reader, written.reported[0].suite, written.reported[0].plan)


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (1.234567, False, "1.23"), (-0.5, True, "−0.500"), (0.0, False, "0.00"), (12345.6, False, "12346"),
        (1e-9, False, "1.00e−09"), (2.5e7, True, "+2.50e+07"), (math.inf, False, "∞"), (-math.inf, True, "−∞"),
        (math.nan, False, "–"), (None, False, "–"), (1234567, False, "1\u202f234\u202f567"), (True, False, "yes"),
        (999.96, False, "1000"), (0.00012, False, "0.000120"),
    ],
)  # fmt: skip
def test_numbers_read_as_people_write_them(value: Any, sign: bool, text: str) -> None:
    assert formatting.number(value, sign=sign) == text


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_number_keeps_three_digits(value: float) -> None:
    shown = float(formatting.number(value).replace("−", "-"))
    assert shown == pytest.approx(value, rel=0.006, abs=1e-300)


@pytest.mark.parametrize(
    ("word", "tone"),
    [("reproduced", "holds"), ("inconclusive (distribution-sensitive)", "open"), ("contradicted", "against"),
     ("not run", "void"), ("inactive", "idle"), ("no effect worth having", "null"), ("never heard of", "unknown")],
)  # fmt: skip
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
        assert tone in sentences.SAID


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
    made = []

    class Counted(go.Scatter):  # type: ignore[misc]
        def __init__(self, *given: Any, **more: Any) -> None:
            made.append(given)
            super().__init__(*given, **more)

    for points in ([1.0], [2.0, 3.0]):
        drawn = trace(Counted, mode="lines", name="never drawn before", x=points, y=points)
        assert (drawn["type"], drawn["mode"], drawn["y"]) == ("scatter", "lines", points)
    assert len(made) == 1
    for wrong in ({"modes": "lines"}, {"line": {"colour": "red"}}):
        with pytest.raises(ValueError, match=r"[Ii]nvalid property"):
            trace(go.Scatter, **wrong)
    with pytest.raises(ValueError, match=r"[Ii]nvalid property"):
        drawing([], {}, {}, xaxes={})


def test_the_headline_counts_what_was_judged(mini: SuiteResults) -> None:
    said = sentences.headline(mini)
    assert said.startswith("Of 3 claims judged from trials, 1 holds in direction, 1 stays open and 1 has a mechanism")
    assert "1 of 1 identity checked holds." in said
    assert said.endswith("2 more claims of the paper are not run here.")
    assert [claim.claim_id for claim, _ in sentences.leading(mini)] == ["demo-gain"]


def test_what_would_change_a_verdict_names_the_numbers(mini: SuiteResults) -> None:
    claims = {claim.claim_id: claim for claim in mini.claims}
    assert "About 9 paired seeds" in sentences.change(claims["demo-tie"])
    assert "mechanism.share" in sentences.change(claims["demo-inactive"])
    assert "Only scale paper" in sentences.change(claims["demo-gain"])
    assert sentences.change(claims["demo-unbound"]) == "the comparator is not built here"


def test_standardised_intervals_share_the_sd_of_the_effect(mini: SuiteResults) -> None:
    claim = next(claim for claim in mini.claims if claim.claim_id == "demo-gain")
    assert claim.standardised is not None
    effect, low, high = claim.standardised
    sd = claim.value("difference") / effect
    assert low == pytest.approx(claim.value("ci_low") / sd)
    assert high == pytest.approx(claim.value("ci_high") / sd)


def test_the_published_difference_points_where_the_claim_does(mini: SuiteResults) -> None:
    claims = {claim.claim_id: claim for claim in mini.claims}
    assert claims["demo-gain"].published == 1.5
    assert claims["demo-tie"].published == 0.7
    assert claims["demo-home"].published is None


def test_an_ablation_is_compared_with_the_arm_it_changes_least(written: Written, mini: SuiteResults) -> None:
    arms = mini.plan.arms
    assert parent_of("momentum", arms) == "ours"
    assert ablations.changes(arms["momentum"], arms["ours"]) == "optimizer.momentum: 0.9"
    with open_reader(written.database, consistent=True) as reader:
        rows = ablations.ablations(reader, mini)
        row = next(row for row in rows if (row.arm, row.benchmark) == ("momentum", "digits-known"))
        answer = reader.query(row.sql).dicts()
    test = stats.paired_t([one["difference"] for one in answer])
    assert (row.difference, row.low, row.high, row.n) == (test.estimate, test.low, test.high, 5)
    assert row.difference == pytest.approx(-1.2, abs=0.6)
    assert any(arm == "ours" and "matters most" in told for arm, told, _ in ablations.decisive_changes(rows))


def test_factorials_are_found_where_all_else_is_equal() -> None:
    def arm(role: str, **settings: Any) -> Arm:
        return Arm.model_validate({"role": role, "optimizer": "sgd", "set": settings})

    arms = {
        "full": arm("method", a=1, b=1), "no-a": arm("ablation", a=0, b=1), "no-b": arm("ablation", a=1, b=0),
        "none": arm("ablation", a=0, b=0), "else": arm("baseline", a=0, b=0, c=1),
    }  # fmt: skip
    [(first, second, grid)] = ablations.grids(arms)
    assert (first, second) == ("a", "b")
    assert grid == {("1", "1"): "full", ("0", "1"): "no-a", ("1", "0"): "no-b", ("0", "0"): "none"}
    del arms["none"]
    assert ablations.grids(arms) == []


def test_a_suite_of_ordinary_names_loads(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, arm="small-lr", bench="second", title="Demo")
    assert suite.benchmarks["second"].model.title == "Demo"


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
