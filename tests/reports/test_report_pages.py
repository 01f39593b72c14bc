"""Content of the pages: escaped, linked, with the statement of every number."""

import csv
import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from html_support import Parsed, parsed
from report_support import HOSTILE, SCRIPT, Written, fill, outcome, plans, write_suite

from harness.app.session import planned_trials
from harness.cli.group import run_main
from harness.store import Reader, Writer, open_reader
from harness.store.events import OutcomeEvent, PlannedEvent, VerdictsEvent
from harness.suite import load_suite
from harness.trial.result import Score
from reports import site
from reports.data import sql
from reports.data.ablations import Ablation
from reports.data.comparisons import _gain_left
from reports.data.suite_results import SuiteResults
from reports.figures import figure
from reports.links import address, slug, suite_path
from reports.pages.index import difference_cell
from reports.site import MANIFEST, gather, write_site


def suite_of(folder: Path, scale: str = "mini") -> Parsed:
    return parsed(folder / "suites" / "demo" / scale / "index.html")


def bench_of(folder: Path, scale: str = "mini") -> Parsed:
    return parsed(folder / "suites" / "demo" / scale / "on-digits-known.html")


def test_every_page_is_well_formed_with_unique_identifiers(written: Written) -> None:
    pages = [*written.pages(), written.single]
    assert len(pages) > 100
    for path in pages:
        page = parsed(path)
        assert not page._open, f"{path}: <{page._open[-1].tag}> is not closed"
        assert len(page.ids) == len(set(page.ids)), f"{path}: {[i for i in page.ids if page.ids.count(i) > 1][:3]}"


def test_one_thing_is_never_a_plural(written: Written, tmp_path: Path) -> None:
    for path in [*written.pages(), written.single]:
        assert parsed(path).false_plurals() == [], path
    wrong = tmp_path / "wrong.html"
    wrong.write_text("<p title='1 claims'>1 benchmarks, 11 trials, 0.1 points; 1 more</p>", encoding="utf-8")
    assert Parsed(wrong).false_plurals() == ["1 benchmarks", "1 claims"]


def test_names_of_users_are_text_everywhere(written: Written) -> None:
    seen = 0
    for path in [*written.pages(), written.single]:
        page = parsed(path)
        assert "alert(1)" not in "".join(
            element.text for element in page.of("script") if "json" not in str(element.attributes)
        )
        assert not [image for image in page.of("img") if "onerror" in image.attributes]
        assert "<script>alert" not in path.read_text(encoding="utf-8")
        assert not [a for a in page.of("a") if a.attributes.get("href", "").startswith("javascript:")]
        seen += HOSTILE in page.text and SCRIPT in page.text
    assert seen >= 5


def test_nothing_is_fetched_from_anywhere_else(written: Written) -> None:
    for path in written.pages():
        page = parsed(path)
        for element in page.elements:
            where = element.attributes.get("src") or (element.tag == "link" and element.attributes.get("href")) or ""
            if where and not where.startswith("data:"):
                assert (path.parent / where).is_file(), f"{path}: {where}"
        for link in page.of("a"):
            if urlsplit(link.attributes["href"]).scheme:
                assert "noreferrer" in link.attributes["rel"]
    single = parsed(written.single)
    assert not [e for e in single.elements if e.attributes.get("src") and not e.attributes["src"].startswith("data:")]
    assert not [e for e in single.of("link") if not e.attributes["href"].startswith("data:")]


def test_every_internal_link_leads_somewhere(written: Written) -> None:
    existing = {path: parsed(path) for path in written.pages()}
    checked = 0
    for path, page in existing.items():
        for link in page.of("a"):
            parts = urlsplit(link.attributes["href"])
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path}: {link.attributes['href']}"
            if parts.fragment and target in existing:
                assert unquote(parts.fragment) in existing[target].ids, f"{path}: {link.attributes['href']}"
            checked += 1
    assert checked > 300
    single = parsed(written.single)
    for link in single.of("a"):
        href = link.attributes["href"]
        if href.startswith("#"):
            assert unquote(href[1:]) in single.ids, href


def test_every_statement_works_in_the_sandbox_of_harness_query(written: Written) -> None:
    statements = {sql for path in written.pages() for sql in parsed(path).statements()}
    assert len(statements) > 50
    with open_reader(written.database, sandbox=True, consistent=True) as reader:
        empty = [sql for sql in sorted(statements) if not len(reader.query(sql))]
    diverged = [sql for sql in empty if sql.startswith("SELECT split, metric, value FROM results")]
    assert len(diverged) == 4
    without = [sql for sql in empty if "claims" in sql and "sweep-1" in sql]  # no claim of this sweep is stored
    assert set(empty) == {*diverged, *without}


def test_a_statement_pasted_into_the_shell_gives_the_pages_number(written: Written) -> None:
    page = suite_of(written.folder)
    shown = next(
        e.text
        for e in page.of("code")
        if "pre" in e.within and "'demo-gain'" in e.text and "SELECT verdict, n" in e.text and "'published'" in e.text
    )
    query = f"{sys.executable} -m harness query --db '{written.database}' --format csv"
    shell, root = ["/bin/sh", "-c", shown.replace("harness query", query)], Path(__file__).resolve().parents[2]
    done = subprocess.run(shell, capture_output=True, text=True, check=True, timeout=60, cwd=root)
    row = next(csv.DictReader(io.StringIO(done.stdout)))
    assert row["verdict"] == "direction confirmed"
    assert f"+{float(row['difference']):.2f} points" in page.text


def test_every_figure_has_a_text_alternative_numbers_and_a_statement(written: Written) -> None:
    drawn = 0
    for path in written.pages():
        page = parsed(path)
        plots, links = page.classed("plot"), page.classed("csv")
        assert len(page.classed("figure")) == len(links)
        for plot in [*plots, *page.classed("scatter")]:
            assert plot.attributes["role"] == "img"
            assert len(plot.attributes["aria-label"]) > 30
        for link in links:
            rows = list(csv.reader((path.parent / link.attributes["href"]).open(encoding="utf-8")))
            assert len(rows) > 1
            assert len({len(row) for row in rows}) == 1
        figures = page.classed("figure")
        assert all("harness query" in figure.text for figure in figures)
        drawn += len(plots)
    assert drawn > 300


def test_plotly_accepts_every_kind_of_figure(written: Written) -> None:
    import plotly.graph_objects as go

    names = set()
    for path in [*(written.folder / "suites").rglob("*.html"), *(written.folder / "sweeps").rglob("*.html")]:
        for script in parsed(path).of("script"):
            if script.attributes.get("type") == "application/json":
                go.Figure(json.loads(script.text))
                names.add(script.attributes["id"].split("-")[0])
    assert names >= {"confusion", "best", "differences", "pairs", "curve", "budget", "setting"}


def test_the_csv_of_a_curve_is_what_its_statement_gives(written: Written) -> None:
    page = bench_of(written.folder)
    figure = next(e for e in page.classed("figure") if e.attributes["id"] == "curve-train-loss")
    link = next(e for e in page.classed("csv") if "curve-train-loss" in e.attributes["href"])
    rows = list(csv.DictReader((page.path.parent / link.attributes["href"]).open(encoding="utf-8")))
    sql = next(item for item in page.statements() if "m.name = 'loss'" in item and item.strip() in figure.text)
    with open_reader(written.database, sandbox=True) as reader:
        answer = reader.query(sql).dicts()
    assert [row["arm"] for row in rows] == [row["arm"] for row in answer]
    assert [float(row["mean"]) for row in rows] == pytest.approx([row["mean"] for row in answer], rel=1e-7)
    assert {row["trials"] for row in answer} == {4, 5}


def test_trials_are_those_of_the_plan_never_rows_by_name(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    reported = plans(suite, ["mini"], seeds=3)
    database = tmp_path / "harness.duckdb"
    fill(database, reported, fail_one=False)
    stale = next(t for t in reported[0].plan.trials if t.arm == "ours")
    with Writer(database) as writer:
        row = dict(planned_trials("late", [stale]).trials[0]) | {"trial_id": "f" * 64, "fingerprint": "another code"}
        writer.record(PlannedEvent(run_id="late", trials=[row], links=[]))
        results = (Score("test", "score", 987654.0),)
        writer.record(OutcomeEvent(replace(outcome(stale, tie=False), trial_id="f" * 64, results=results)))
    folder = write_site(database, reported, tmp_path / "site").parent
    for path in [*folder.rglob("*.html"), *folder.rglob("*.csv")]:
        text = path.read_text(encoding="utf-8")
        assert "ffffffffffff" not in text, path
        assert "987654" not in text, path


@pytest.mark.parametrize("seeds", [1, 3])
def test_effects_of_a_declared_factorial_are_shown_from_the_first_seed_on(tmp_path: Path, seeds: int) -> None:
    suite = write_suite(tmp_path)
    with (tmp_path / "demo.yaml").open("a", encoding="utf-8") as file:
        file.write(
            "ablate:\n  ours:\n    design: factorial\n    factors:\n"
            "      inertia: {on: {optimizer.momentum: 0.5}}\n      shrinking: {on: {optimizer.weight_decay: 0.01}}\n"
        )
    reported = plans(load_suite(suite.path), ["mini"], seeds=seeds)
    database = tmp_path / "harness.duckdb"
    fill(database, reported, fail_one=False)
    folder = write_site(database, reported, tmp_path / "site").parent
    text = (folder / suite_path("demo", "mini")).read_text(encoding="utf-8")
    assert ">main effect</td>" in text
    assert ">interaction</td>" in text


def with_verdicts(folder: Path, *verdicts: dict[str, Any]) -> Parsed:
    """The suite's page after later verdicts; absent values are common."""
    reported = plans(write_suite(folder), ["mini"], seeds=3)
    database = folder / "harness.duckdb"
    fill(database, reported)
    common = {"scale": "mini", "judged_at": "2026-05-01T00:00:00", "n": 0, "stand_in": ["recipe"], "design": {}}
    with Writer(database) as writer:
        writer.record(VerdictsEvent(suite="demo", scale="mini", verdicts=[common | verdict for verdict in verdicts]))
    return suite_of(write_site(database, reported, folder / "site").parent)


def test_the_latest_verdict_counts_and_absent_keys_are_no_matter(tmp_path: Path) -> None:
    infinite = {"n": 2, "difference": -1.0, "ci_low": -math.inf, "ci_high": math.inf, "p": 1.0}
    page = with_verdicts(
        tmp_path,
        {"claim_id": "demo-gain", "verdict": "inconclusive (distribution-sensitive)", **infinite},
        {"claim_id": "demo-tie", "verdict": "a word of tomorrow", "design": {"per_benchmark": [{"benchmark": "gone"}]}},
    )
    assert "inconclusive (distribution-sensitive)" in page.text
    assert "[−∞, +∞]" in page.text or "[−∞, ∞]" in page.text
    assert "unknown verdict: a word of tomorrow" in page.text
    assert len(page.classed("unknown")) >= 2  # in the counts and at the claim
    assert "direction confirmed" not in page.text


def test_stand_ins_say_so_and_published_values_stand_at_paper_scale_only(written: Written) -> None:
    mini, paper = suite_of(written.folder), suite_of(written.folder, "paper")
    assert len(mini.classed("standin")) >= 3
    assert next(e.attributes["id"] for e in mini.classed("hatched")) == "forest-stand-in"
    assert not paper.classed("standin")
    assert not paper.classed("hatched")
    assert len(paper.classed("printed")) >= 2
    assert not mini.classed("printed")
    assert "published +1.50" in paper.text
    for page in (paper, bench_of(written.folder, "paper")):
        assert "stand-in:" not in page.text
        assert "the paper's recipe" not in page.text


ESTIMATE = re.compile(r"[+−][\d.]+\s*(points|m)?(, 95 % interval)?\s*\[[+−]?[\d.∞]+, [+−]?[\d.∞]+\]")
"""An effect with its interval, as lines of the pages have it."""


def test_every_line_that_shows_an_effect_of_a_stand_in_names_it(written: Written) -> None:
    for page, least in ((suite_of(written.folder), 20), (bench_of(written.folder), 3)):
        lines = [*page.of("tr"), *page.of("li"), *page.of("summary"), *page.classed("f-line"), *page.classed("figure")]
        shown = [line.text for line in lines if ESTIMATE.search(line.text)]
        assert len(shown) >= least
        assert [text for text in shown if "not the paper's recipe" not in text] == []
    first = parsed(written.folder / "index.html")
    for row in (row.text for row in first.of("tr") if ESTIMATE.search(row.text)):
        assert ("not the paper's recipe" in row) is ("demo, mini" in row), row
    (card,) = (card.text for card in first.of("li") if "scale mini" in card.text)
    assert "; on not the paper's recipe: a tenth of the steps." in card


def test_a_published_size_beside_a_stand_in_is_the_papers_own(written: Written) -> None:
    mini, paper = suite_of(written.folder), suite_of(written.folder, "paper")
    for page, theirs in ((mini, True), (paper, False)):
        line = next(e for e in page.classed("claim") if e.attributes["id"] == "claim-demo-gain")
        assert "Ours is 1.5 points above Plain." in line.text
        assert ("the paper's claim, measured on a stand-in: not the paper's recipe" in line.text) is theirs
        assert ("published, the paper's own, on other data" in line.text) is theirs
    first = parsed(written.folder / "index.html")
    rows = [row for row in first.of("tr") if "Ours is 1.5 points above Plain." in row.text]
    assert ["the paper's claim, measured on a stand-in:" in row.text for row in rows] == [True, False]


def test_a_mechanism_that_did_not_act_shows_the_effect_that_was_measured(written: Written) -> None:
    line = next(e for e in suite_of(written.folder).classed("claim") if e.attributes["id"] == "claim-demo-inactive")
    assert re.search(r"[+−][\d.]+ points ?\[", " ".join(line.text.split()))
    assert "adj. p" not in line.text
    assert "did not act" in line.text


def test_a_weak_baseline_is_among_the_claims_with_its_reason(tmp_path: Path) -> None:
    reason = "plain reaches 3 points; the baseline threshold is 40"
    weak = {"claim_id": "demo-tie", "verdict": "weak baseline", "design": {"reason": reason, "family": "secondary"}}
    page = with_verdicts(tmp_path, weak)
    line = next(e for e in page.classed("claim") if e.attributes["id"] == "claim-demo-tie")
    assert "weak baseline" in line.text
    assert reason in line.text
    assert "1 not evaluable" in page.text


def test_an_arm_that_the_recipe_leaves_untuned_is_told(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    text = suite.path.read_text(encoding="utf-8")
    text = text.replace("{name: sgd, lr: 0.1}, set: {noise_key: plain}", "adam, set: {noise_key: plain}")
    text = text.replace("{name: sgd, lr: 0.2}, set: {noise_key: other}", "adamw, set: {noise_key: other}")
    suite.path.write_text(text.replace("{steps: 20}", "{steps: 20, optimizer: {adamw: {lr: 0.01}}}"), encoding="utf-8")
    database = tmp_path / "harness.duckdb"
    with Writer(database):
        pass
    reported = plans(load_suite(suite.path), ["mini", "paper"], seeds=1)
    folder = write_site(database, reported, tmp_path / "site").parent
    (note,) = suite_of(folder).classed("warning")
    assert "1 default where the recipe tunes another arm" in note.text
    assert "optimizer.adamw.lr tunes 'other', but 'plain' keeps the default lr of adam" in note.text
    assert not suite_of(folder, "paper").classed("warning")


def test_failures_gates_reasons_and_provenance_are_told(written: Written) -> None:
    suite, bench = suite_of(written.folder), bench_of(written.folder)
    assert "loss is nan at step 7" in bench.text
    assert "did not act" in suite.text
    assert "required >= 0.99" in suite.text
    assert "the comparator is not built here" in suite.text
    for path in written.pages():
        feet = parsed(path).classed("provenance")
        assert len(feet) == 1, path
        assert "0123456789ab with uncommitted changes" in feet[0].text, path
        assert "torch 2.14.1" in feet[0].text, path
        assert "ran twice" in feet[0].text or "ran once" in feet[0].text, path
    assert "passed: 1 trial ran twice; all 3 numbers came out the same" in suite.classed("provenance")[0].text
    assert "0 to 4" in bench.classed("provenance")[0].text


def test_what_people_look_at_stands_on_the_benchmarks_page(written: Written) -> None:
    page = bench_of(written.folder)
    assert len(page.of("img")) == 10
    assert "plain says" in page.text
    assert "chrF 51.5" in page.text
    confusion = next(e for e in page.classed("figure") if e.attributes["id"] == "confusion-plain")
    assert "cat is taken for" in confusion.text
    link = next(e for e in page.classed("csv") if "confusion-plain" in e.attributes["href"])
    rows = list(csv.DictReader((page.path.parent / link.attributes["href"]).open(encoding="utf-8")))
    assert sum(int(row["items"]) for row in rows) == 5 * 20
    assert sum(int(row["items"]) for row in rows if row["true"] != row["predicted"]) == sum(
        4 + seed for seed in range(5)
    )


def test_cost_and_energy_stand_against_the_gain(written: Written) -> None:
    page = suite_of(written.folder)
    table = page.text[page.text.index("Cost against gain") :]
    assert "34.0 J" in table  # of 'ours', four letters
    assert "× 0.971" in table  # over 'plain', five


def test_under_a_claim_gate_dose_and_removal_stand_side_by_side(written: Written) -> None:
    page = suite_of(written.folder)
    line = next(e for e in page.classed("claim") if e.attributes["id"] == "claim-demo-gain")
    assert "Mechanism check" in line.text
    assert "Rank correlation" in line.text
    assert "momentum − ours" in line.text
    assert "unresolved after 4 pairs" in page.text


def test_a_claim_shows_both_protocols_and_at_how_many_rates_it_holds(written: Written) -> None:
    page = suite_of(written.folder)
    claim = next(e for e in page.classed("claim") if e.attributes["id"] == "claim-demo-gain")
    for message in (
        "tuned: inconclusive",
        "confirmed at 2 of 3 rates",
        "lr 0.1",
        "lr 0.3 (largest of the grid)",
        "lr 0.3 (largest of the grid)",
        "8 configurations of each arm over 1 seed",
        "+0.125",
        "0.033, 0.333 times",
    ):
        assert message in claim.text, message
    (section,) = [item for item in page.of("section") if item.attributes.get("aria-labelledby") == "protocols"]
    assert "inconclusive" in section.text
    assert "confirmed at 2 of 3 rates" in section.text
    with open_reader(written.database) as reader:
        rows = reader.query(sql.rate_curve("demo-gain", "mini", "published")).rows
        ((word, *_),) = reader.query(sql.verdict("demo-gain", "mini", "tuned")).rows
    assert [(float(row[0]), row[-1]) for row in rows] == [(1 / 3, "false"), (1.0, "true"), (3.0, "true")]
    assert word == "inconclusive"


def test_the_first_page_finds_every_claim_and_ablation(written: Written) -> None:
    page = parsed(written.folder / "index.html")
    table = next(e for e in page.of("table") if e.attributes.get("id") == "entries")
    assert "Ours is 1.5 points above Plain." in table.text
    assert "Ablation momentum: optimizer.momentum: 0.9" in table.text
    rows = [row.text for row in page.of("tr") if "demo, mini" in row.text or "demo, paper" in row.text]
    ablated = [row for row in rows if "Ablation" in row and "demo, mini" in row]
    assert ablated
    assert all("stand-in" in row for row in ablated)
    assert not any("stand-in" in row for row in rows if "demo, paper" in row)


def test_a_report_sees_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = plans(write_suite(tmp_path), ["mini"], seeds=1)
    database = tmp_path / "harness.duckdb"
    fill(database, reported, fail_one=False)
    counts = []

    def gather_while_another_writes(reader: Reader, *more: Any) -> Any:
        for name in ("one", "two"):
            counts.append(reader.query("SELECT count(*) FROM trials").rows)
            with Writer(database) as writer:
                planned = planned_trials(name, reported[0].plan.trials[:1])
                writer.record(PlannedEvent(name, [dict(planned.trials[0]) | {"trial_id": name}], []))
        return gather(reader, *more)

    monkeypatch.setattr(site, "gather", gather_while_another_writes)
    write_site(database, reported, tmp_path / "site")
    assert counts[0] == counts[1]


def test_a_claim_of_several_comparisons_shows_what_they_span() -> None:
    shared = (None, (None, None), None, "points", "digits, not ImageNet")
    cell = difference_cell(*shared, several=(1.5, -0.25, 0.75))
    assert (cell.text, cell.order) == ("−0.250 to +1.50 points", -0.25)
    assert cell.below == "3 comparisons; stand-in: digits, not ImageNet"
    assert difference_cell(*shared).text == "–"


def test_identities_stand_apart_with_both_sides(written: Written) -> None:
    page = suite_of(written.folder)
    line = next(e for e in page.classed("claim") if e.attributes["id"] == "claim-demo-files")
    assert "1.250 = 1.500 points, tolerance 0.5" in line.text
    forests = [e.text for e in page.classed("figure") if e.attributes["id"].startswith("forest")]
    assert forests
    assert not [text for text in forests if "demo-files" in text]


def test_the_same_store_gives_the_same_bytes(written: Written, tmp_path: Path) -> None:
    again = write_site(written.database, written.reported, tmp_path / "again", trial_pages=True).parent
    names = json.loads((again / MANIFEST).read_text())
    assert names == json.loads((written.folder / MANIFEST).read_text())
    assert set(names) >= {page.relative_to(written.folder).as_posix() for page in written.pages()}
    for name in names:
        assert (again / name).read_bytes() == (written.folder / name).read_bytes(), name


def test_pages_of_an_earlier_site_go_and_files_of_others_stay(written: Written, tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(written.database, written.reported, out)
    (out / "notes.txt").write_text("mine")
    (tmp_path / "outside.txt").write_text("mine")
    names = json.loads((out / MANIFEST).read_text())
    (out / MANIFEST).write_text(json.dumps([*names, "../outside.txt"]))
    before = (out / "assets" / "site.js").stat().st_mtime_ns
    write_site(written.database, written.reported[:1], out)
    assert (out / "assets" / "site.js").stat().st_mtime_ns == before  # the same bytes are not written
    assert not (out / "suites" / "demo" / "paper" / "index.html").exists()
    assert (out / "suites" / "demo" / "mini" / "index.html").exists()
    assert (out / "notes.txt").read_text() == "mine"
    assert (tmp_path / "outside.txt").read_text() == "mine"


def test_a_suite_that_never_ran_has_a_page(tmp_path: Path) -> None:
    reported = plans(write_suite(tmp_path), ["mini"])
    database = tmp_path / "harness.duckdb"
    with Writer(database):
        pass
    folder = write_site(database, reported, tmp_path / "site").parent
    assert "No claim has been judged at scale mini yet" in suite_of(folder).text
    assert "35 not stored" in bench_of(folder).text
    assert "Planned, not stored: plain/0" in bench_of(folder).text


def test_the_site_without_any_suite_is_a_page(tmp_path: Path) -> None:
    database = tmp_path / "harness.duckdb"
    with Writer(database):
        pass
    assert "holds no suite yet" in Parsed(write_site(database, [], tmp_path / "site")).text


def test_writing_needs_no_training_library(written: Written, tmp_path: Path) -> None:
    code = f"""
import sys
from dataclasses import replace
from pathlib import Path
from harness.results.current import Reported
from reports.site import write_site
from harness.suite import load_suite
from harness.plan.planning import Selection, make_plan
suite = load_suite({str(written.reported[0].suite.path)!r})
write_site(Path({str(written.database)!r}), [Reported(suite, make_plan(suite, Selection()))], Path({str(tmp_path)!r}))
print(sorted({{'torch', 'ray', 'pandas', 'sklearn'}} & set(sys.modules)))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_names_become_safe_addresses_and_stay_apart() -> None:
    assert [slug(name) for name in ("adamp", "imagenet-resnet18")] == ["adamp", "imagenet-resnet18"]
    names = ["A", "a b", "a-b", "../../etc", "ä", "ö", "<script>", "", "x" * 200, "x" * 201, "CON", "a\u202eb"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(set(item) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") and len(item) < 100 for item in slugs)
    assert not [item for item in slugs if item.startswith(".")]


@pytest.mark.parametrize("text", ["javascript:alert(1)", "data:text/html,x", "//host/x", "http://[", "ftp://x", ""])
def test_only_addresses_of_the_web_become_links(text: str) -> None:
    assert address(text) == ""
    assert address("https://example.org/a?b") == "https://example.org/a?b"


def test_a_line_at_zero_and_an_axis_with_room_for_its_title() -> None:
    line = figure.zero_line("x")
    assert [line[key] for key in ("x0", "x1", "y0", "y1")] == [0, 1, 0, 0]
    assert figure.axis("score")["automargin"]


def test_identities_are_checked_not_judged() -> None:
    claims = [
        SimpleNamespace(judged=judged, identity=identity) for judged, identity in ((1, 1), (1, 0), (0, 1), (0, 0))
    ]
    results: Any = SimpleNamespace(claims=claims)
    assert SuiteResults.judged.fget(results) == [claims[1]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("better", "gain"), [("higher", 1.5), ("lower", 2.5)])
def test_the_gain_that_a_change_of_both_arms_leaves(better: str, gain: float) -> None:
    entry = SimpleNamespace(against="base", differences={0: 1.0, 1: 3.0})
    detail = SimpleNamespace(estimand=SimpleNamespace(direction=1))
    claim: Any = SimpleNamespace(
        metric="score", against="base", fact={"better": better}, detail=detail, on=lambda benchmark: [entry]
    )
    common = {"label": "", "unit": "", "n": 2, "difference": 0.0, "low": 0.0, "high": 0.0, "benchmark": "one"}
    common |= {"parent": "", "changed": "decay", "metric": "score", "sql": ""}
    own = Ablation(**common, arm="ours-decay", seeds={0: -1.0, 1: 0.0})
    other = Ablation(**common, arm="base-decay", seeds={0: 0.0, 1: 0.0})
    assert _gain_left(claim, own, other).difference == gain
    assert _gain_left(claim, replace(own, metric="loss"), other) is None


def test_a_report_shows_the_scales_that_are_stored(tiny: Path, database: Path) -> None:
    inline = ["--executor", "inline", "--no-report", "--quiet"]
    assert run_main(["run", str(tiny), "--scale", "smoke", "--db", str(database), *inline]) == 0
    assert run_main(["report", str(tiny), "--db", str(database), "--out", str(tiny.parent / "site")]) == 0
    assert (tiny.parent / "site" / suite_path("tiny", "smoke")).is_file()
