"""The terminal's tables of verdicts: every line of a stand-in names it, effects have their exact intervals."""

import json
from pathlib import Path
from typing import Any

import pytest
from judge_support import WHEN, World, around, benchmark, binding, fact, flat, write_suite

from harness.cli.verdicts import print_ablations, print_verdicts
from harness.judge import VerdictRow, ablations
from harness.judge.bindings import claim_designs
from harness.judge.judging import judge_designs
from harness.results.verdict_text import headline, verdict_record
from harness.store import open_reader
from harness.suite import load_suite

STAND_IN = "noisy 8×8 digits, not ImageNet"
CHECK = {"metric": "mechanism.share", "arm": "ours", "op": ">=", "value": 0.9}
ABLATION = {"weak": "{role: ablation, parent: ours, optimizer: {name: sgd, lr: 0.01}}"}


def world(folder: Path, scale: str = "mini", share: float = 0.95) -> World:
    """Claims on a stand-in: confirmed, reversed, and with a mechanism check."""
    bound = [binding("won", primary=True), binding("lost", arm="third")]
    bound.append(binding("checked", against=["other"], mechanism=CHECK))
    facts = [fact(item["id"]) for item in bound]
    where = benchmark("a", paper=scale == "paper", about="noisy 8×8 digits, a small network")
    where = where.replace("title: a\n", "title: 'ImageNet, ResNet-18'\n")
    suite = write_suite(folder, facts, bound, benchmarks=where, arms=ABLATION)
    existing: dict[tuple[str, str], Any] = {
        ("a", "ours"): around(2.0, 0.3, 5),
        ("a", "base"): flat(5),
        ("a", "other"): around(0.5, 0.3, 5)[::-1],
        ("a", "third"): around(-2.0, 0.3, 5),
        ("a", "weak"): around(-1.0, 0.2, 5),
    }
    return World(suite, existing, scale, {("a", "ours"): {"mechanism.share": share}})


def rows_of(here: World) -> list[VerdictRow]:
    designs = claim_designs(here.suite, here.plan, sequential=False)
    return [row for _, row in judge_designs(designs, here.evidence(), {}, WHEN)]


def printed(here: World, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_verdicts(here.suite, here.scale, rows_of(here))
    return capsys.readouterr().out.splitlines()


def test_stand_ins_are_named_in_order_with_exact_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = world(tmp_path)
    lines = printed(here, capsys)
    assert "known at mini · stand-ins: published sizes do not apply" in lines[0]
    shown = [line for line in lines if line.startswith(("won", "lost", "checked"))]
    assert [line.split()[0] for line in shown] == ["won", "lost", "checked"] * 2  # the verdicts, and their sizes
    assert all(STAND_IN in line for line in shown)
    assert "primary" in shown[0]
    assert [" ".join(line.split()) for line in lines[-3:]] == [
        "Measured on stand-ins: only the direction of each effect is tested, not its published size.",
        "Primary scores: 1 test; 1 confirmed in direction.",
        "Other scores: 2 tests; 1 reversed, 1 confirmed in direction.",
    ]
    effect = next(row.detail.effect for row in rows_of(here) if row.claim_id == "won")
    assert f"{effect.d_z:+.3g} [{effect.d_z_low:+.3g}, {effect.d_z_high:+.3g}]" in shown[3]
    assert effect.d_z_high - effect.d_z > 1.2 * (effect.d_z - effect.d_z_low)  # not the mean's, divided


def test_as_published_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = "\n".join(printed(world(tmp_path, "paper"), capsys))
    assert "stand-in" not in shown
    assert "digits" not in shown


def test_a_failed_mechanism_check_shows_its_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(world(tmp_path, share=0.5), capsys)
    line = next(line for line in lines if line.startswith("checked"))
    assert "inactive" in line
    assert "+1.5" in line
    arm = "ours"
    assert any(
        line.startswith(f"inactive: mechanism.share of {arm} is 0.5 on a, not >= 0.9 (checked)") for line in lines
    )


def test_at_paper_scale_an_inactive_mechanism_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(world(tmp_path, "paper", share=0.5), capsys)
    assert "reproduced; mechanism did not act" in next(line for line in lines if line.startswith("checked"))


def test_the_record_names_the_stand_in(tmp_path: Path) -> None:
    row = next(row for row in rows_of(world(tmp_path)) if row.claim_id == "won")
    record = json.loads(json.dumps(verdict_record(row)))
    assert record["stand_in_name"] == STAND_IN
    assert record["verdict"] == "direction confirmed"
    assert headline([row])[1] == "Primary scores: 1 test; 1 confirmed in direction."


def test_ablations_name_the_stand_in_and_have_a_corrected_interval(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = world(tmp_path)
    here.store(database)
    with open_reader(database) as reader:
        rows = ablations(load_suite(here.suite.path), here.plan, reader)
    (row,) = rows
    assert (row.adjusted_low, row.adjusted_high) == (row.ci_low, row.ci_high)  # the only one
    print_ablations(rows)
    line = next(line for line in capsys.readouterr().out.splitlines() if "weak" in line)
    assert STAND_IN in line
    assert line.count(f"{row.ci_low:+.3g}".replace("-", "−")) == 2
