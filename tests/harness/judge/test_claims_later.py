"""Claims whose trials come later."""

import re
from pathlib import Path

import pytest

from harness.app.run import Request, run_suite
from harness.cli.group import run_main
from harness.execute.dispatch import Watch
from harness.judge.stored import judge_now, stored_otherwise
from harness.plan.planning import Selection
from harness.store import open_reader
from harness.suite import load_suite


def otherwise(path: Path, database: Path, seeds: tuple[int, ...]) -> int:
    plan, _ = judge_now(load_suite(path), Selection(seeds=seeds), database)
    with open_reader(database) as reader:
        return stored_otherwise(plan, reader)


def test_claims_say_how_many_stored_trials_another_recipe_made(
    tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_suite(load_suite(tiny), Request(database, Selection(seeds=(0, 1, 2)), executor="inline"), Watch())
    assert otherwise(tiny, database, (0, 1, 2)) == 0
    assert otherwise(tiny, database, (0, 1, 2, 3)) == 0, "a seed that never ran was not measured with other code"

    text = tiny.read_text(encoding="utf-8")
    changed = re.sub(r"steps: (\d+)", lambda steps: f"steps: {int(steps[1]) + 1}", text)
    assert changed != text
    tiny.write_text(changed, encoding="utf-8")
    assert otherwise(tiny, database, (0, 1, 2)) == 6
    assert otherwise(tiny, database, (2, 3)) == 2

    assert run_main(["claims", str(tiny), "--seeds", "3", "--db", str(database)]) == 0
    message = " ".join(capsys.readouterr().err.split())
    assert "6 stored trials measured with other code, recipes or data are not judged" in message
    assert f"harness run {tiny} --scale mini" in message
