"""``harness init``: what it writes validates, runs, and never writes over anything."""

from pathlib import Path

import pytest

from harness.cli.group import run_main
from suites.fixtures.images import picture

SCRIPT = """
import argparse, random
parser = argparse.ArgumentParser()
parser.add_argument("--opt")
parser.add_argument("--seed", type=int)
arguments = parser.parse_args()
print(f"accuracy: {80 + random.Random(arguments.seed).random() + 3 * (arguments.opt == 'adamp')}")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text(SCRIPT)
    return tmp_path


FLAGS = ("--script", "code/train.py", "--option", "opt", "--arm", "adam", "--arm", "adamp", "--metric", "accuracy")


def test_for_a_script(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["init", "mine.yaml", *FLAGS, "--seeds", "3"]) == 0
    assert len((here / "mine.yaml").read_text().splitlines()) <= 16
    assert run_main(["run", "mine.yaml", "--db", "r/h.duckdb", "--executor", "inline", "--no-report"]) == 0
    assert "direction confirmed" in capsys.readouterr().out


def test_for_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            for number in range(4):
                picture(here / "photos" / split / label / f"{number}.png", number, 40, 40)
    assert run_main(["init", "photos.yaml", "--data", "photos"]) == 0
    assert run_main(["validate", "photos.yaml"]) == 0
    assert run_main(["plan", "photos.yaml", "--db", "r/h.duckdb"]) == 0
    assert "2 configurations, 12 trials" in capsys.readouterr().out


MISTAKES = {
    "no source": ((), "give one of --script FILE and --data DIR"),
    "no script": (("--script", "nothing.py", *FLAGS[2:]), "no script nothing.py"),
    "one arm": ((*FLAGS[:6], *FLAGS[8:]), "at least two different arms"),
    "no metric": (FLAGS[:-2], "--script needs --metric M; an example: harness init"),
    "an unknown direction": ((*FLAGS[:-1], "zeal"), "--better higher or --better lower"),
    "two sources": ((*FLAGS, "--data", "x"), "give one of --script FILE"),
    "no folder": (("--data", "x"), "no folder x"),
    "no splits": (("--data", "code"), "has no train/CLASS/"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_missing_is_said(mistake: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags, message = MISTAKES[mistake]
    assert run_main(["init", "mine.yaml", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "mine.yaml").exists()


def test_nothing_is_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "mine.yaml").write_text("precious")
    assert run_main(["init", "mine.yaml", *FLAGS]) == 2
    assert "mine.yaml exists" in capsys.readouterr().err
    assert (here / "mine.yaml").read_text() == "precious"
    assert run_main(["init", "mine.yaml", *FLAGS, "--force"]) == 0
