"""Suites outside the package: found by name after a run, warned about missing data."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables_support import run

from harness.cli.group import run_main

MISSING = """
suite: missing
arms: {a: {optimizer: adam}, b: {optimizer: adamw}}
benchmarks:
  d:
    task: classification
    data: {name: imagefolder, path: nowhere}
    model: {name: bn-cnn}
    recipe: {steps: 10, batch_size: 8, optimizer: {adam: {lr: 0.01}}}
    metrics: {top1-accuracy: {unit: percent, better: higher}}
compare: [{arm: b, against: [a], metric: top1-accuracy}]
"""


def test_a_suite_that_has_run_is_known_by_its_name(
    tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tiny, "--seeds", 1)
    for named in ([], ["tiny"], [str(tiny)]):
        capsys.readouterr()
        assert run_main(["claims", *named, "--db", str(database)]) == 0
        shown = capsys.readouterr().out
        assert "tiny-better" in shown
        assert "adamp" not in shown, "suites that never ran here say nothing"
    tiny.unlink()  # its run stored the suite
    assert run_main(["claims", "tiny", "--db", str(database)]) == 0
    assert "tiny-better" in capsys.readouterr().out


def test_data_that_are_not_there_are_told_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = tmp_path / "missing.yaml"
    suite.write_text(MISSING)
    assert run_main(["validate", str(suite)]) == 0
    assert "at mini: the layout 'imagefolder' is pointed at" in capsys.readouterr().err
    assert run_main(["plan", str(suite)]) == 0
    assert "nothing will run: the layout 'imagefolder' is pointed at" in capsys.readouterr().err
