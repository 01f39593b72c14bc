"""Simulated false positives of a suite."""

import json
import math
from pathlib import Path

import pytest
from false_words import SUITES, drawn, suite_of

from harness.cli.group import run_main
from harness.judge.simulating import LAWS, SimulatedNoise


def test_a_small_suite_counts_tests_words_and_seeds(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, 3, primary=2)
    result = drawn(suite, "3", 4, SimulatedNoise())
    assert (result.tests, result.repeats, result.mean_pairs) == ({"primary": 2, "secondary": 1}, 4, 3.0)
    sure = drawn(suite, "3", 3, SimulatedNoise(effect=30.0))
    assert [row["suites"] for row in sure.rows()] == [1.0, 1.0, 1.0]
    assert [row["confirmed"] for row in sure.rows()] == [1.0, 1.0, 1.0]
    assert [row["error"] for row in sure.rows()] == [0.0, 0.0, 0.0]
    bought = drawn(suite, "3..6", 3, SimulatedNoise(effect=30.0))
    assert bought.anywhere == 3
    assert 5.0 <= bought.mean_pairs < 6.0  # evidence is enough from five pairs on, and for Holm from six
    assert drawn(suite, "3..6", 2, SimulatedNoise()).mean_pairs <= 6.0
    assert drawn(suite, "3", 4, SimulatedNoise()).rows() == result.rows()  # replayable


@pytest.mark.parametrize("law", LAWS)
def test_every_law_has_the_variance_that_its_shares_say(law: str) -> None:
    import numpy as np

    rng = np.random.default_rng(5)
    noise = SimulatedNoise(law)
    whole = np.array([noise.draw(rng, 1.0, True) for _ in range(4000)])
    parts = np.array([noise.draw(rng, 0.4, True) + noise.draw(rng, 0.6, True) for _ in range(4000)])
    expected = {"normal": 1.0, "t3": math.sqrt(3), "binomial": math.sqrt(24), "skewed": 2.16}[law]
    if law in ("normal", "binomial"):
        assert whole.std() == pytest.approx(expected, rel=0.1)
        assert parts.std() == pytest.approx(expected, rel=0.1)
    assert abs(np.median(whole) - np.median(parts)) < expected


def test_the_command_prints_a_row_a_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite_of(tmp_path, 2, primary=1)
    arguments = ["plan", str(tmp_path / "known.yaml"), "--simulate", "--seeds", "3", "--repeats", "3"]
    assert run_main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["primary", "secondary", "any"]
    assert run_main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["family"] for row in answer["families"]] == ["primary", "secondary", "any"]
    assert answer["mean_pairs"] == 3.0
    assert run_main([*arguments[:2], "--law", "t3"]) == 2
    assert "--law is a setting of a simulation: add --simulate" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("claims", [1, 10, 60])
@pytest.mark.parametrize("seeds", ["3", "6", "3..20"])
@pytest.mark.parametrize(("law", "correlation"), [("normal", 0.0), ("normal", 0.6), ("t3", 0.0), ("binomial", 0.0)])
def test_false_words_are_rare(tmp_path: Path, claims: int, seeds: str, law: str, correlation: float) -> None:
    """False positives: in at most 5 % of suites a family, 10 % overall."""
    repeats = SUITES[claims] // (4 if ".." in seeds else 1)
    result = drawn(suite_of(tmp_path, claims), seeds, repeats, SimulatedNoise(law, correlation))
    for row in result.rows():
        bound = 0.10 if row["family"] == "any" and claims > 5 else 0.06 if law != "normal" else 0.05
        assert row["suites"] <= bound + 4 * math.sqrt(bound * (1 - bound) / result.repeats), row


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_power_of_the_capped_design(tmp_path: Path) -> None:
    """Five real primaries at d = .75, Holm, cap 20: 66 % with 16.1 seeds; fixed 20 seeds 83 %."""
    suite = suite_of(tmp_path, 5)
    repeats = 400
    bought = drawn(suite, "3..20", repeats, SimulatedNoise(effect=0.75))
    (primary,) = (row for row in bought.rows() if row["family"] == "primary")
    assert primary["confirmed"] == pytest.approx(0.66, abs=0.02 + 2 * math.sqrt(0.25 / (5 * repeats)))
    assert bought.mean_pairs == pytest.approx(16.1, abs=0.4)
    fixed = drawn(suite, "20", repeats, SimulatedNoise(effect=0.75))
    (primary,) = (row for row in fixed.rows() if row["family"] == "primary")
    assert primary["confirmed"] == pytest.approx(0.83, abs=0.02 + 2 * math.sqrt(0.25 / (5 * repeats)))
