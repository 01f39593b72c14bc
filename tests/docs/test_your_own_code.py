"""docs/your-own-code.md: its table, its script and its file give verdicts as typed; the released suites validate."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tree_support import FENCE

from harness.cli.group import run_main

PAGE = Path(__file__).parent.parent.parent / "docs" / "your-own-code.md"


def files() -> dict[str, str]:
    """Files by name: blocks of the page that begin with it in a comment, and the suites of released code."""
    result = {path.name: path.read_text(encoding="utf-8") for path in PAGE.parent.glob("released/*.yaml")}
    for language, text in FENCE.findall(PAGE.read_text(encoding="utf-8")):
        first, _, rest = text.partition("\n")
        if language in ("csv", "python", "yaml") and re.fullmatch(r"# [\w.-]+\.\w+", first):
            result[first[2:]] = rest if language == "csv" else text
    return result


def commands() -> list[list[str]]:
    """Every line that calls the harness."""
    lines = [
        line
        for language, text in FENCE.findall(PAGE.read_text(encoding="utf-8"))
        if language == "sh"
        for line in text.splitlines()
    ]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("harness ")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_in_a_minute(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [words for words in commands() if words[0] == "judge"]
    assert [words[1] for words in typed] == ["results.csv", "means.csv", "published.csv"]
    for words in typed:
        assert run_main(words) == 0
        assert "direction confirmed" in capsys.readouterr().out
        assert (here / words[1].replace(".csv", "-verdicts.html")).is_file()


def test_a_script_in_five(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = [words for words in commands() if "mine.yaml" in words]
    assert [words[0] for words in typed] == ["validate", "plan", "run"]
    for words in typed:
        more = ["--executor", "inline", "--db", "r/h.duckdb", "--no-report"] if words[0] == "run" else []
        assert run_main([*words, *more]) == 0
    assert "adamp-over-adam" in capsys.readouterr().out


def test_a_file_as_an_arm(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (typed,) = [words for words in commands() if "--against" in words and words[0] == "run"]
    assert run_main([*typed, "--dry-run"]) == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(name for name in files() if name.endswith("released.yaml")))
def test_the_released_suites_validate(name: str, here: Path) -> None:
    assert run_main(["validate", name]) == 0


LINES = {
    "knn-mmd-released.yaml": ("Test Loss 0.512345, Test Acc 0.812345 ", 0.812345),
    "powernorm-released.yaml": ("Generate test with beam=5: BLEU4 = 35.87, 69.2/43.5/29.4/20.1 (BP=0.967)", 35.87),
    "cls-kd-released.yaml": ("mmcls - INFO - Epoch(val) [100][196]\taccuracy_top-1: 71.9620, top-5: 90", 71.962),
    "rn-released.yaml": ("PSNR:  24.97123", 24.97123),
}


@pytest.mark.parametrize("name", sorted(LINES))
def test_the_released_lines_are_read(name: str, here: Path) -> None:
    from harness.suite import load_suite
    from suites.tasks.program_results import Pattern

    (benchmark,) = load_suite(name).benchmarks.values()
    assert benchmark.model.mini is not None
    reader = Pattern(benchmark.model.mini.recipe["results"])
    line, expected = LINES[name]
    reader.printed(line)
    (record,) = reader.records
    assert list(record.numbers.values()) == [expected]
    assert set(record.numbers) == set(benchmark.model.metrics)


def test_a_script_without_a_seed_is_seeded(tmp_path: Path) -> None:
    (tmp_path / "draw.py").write_text("import random, sys\nprint(random.random(), sys.argv[1:])\n")
    words = [sys.executable, "-m", "harness.client", "draw.py", "--task", "action"]
    root = str(Path(__file__).parents[2])
    output = []
    for seed in ("1", "1", "2"):
        variables = {"HARNESS_SEED": seed, "PYTHONPATH": root}
        done = subprocess.run(words, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
        output.append(done.stdout)
    assert output[0] == output[1] != output[2]
    assert "['--task', 'action']" in output[0]
