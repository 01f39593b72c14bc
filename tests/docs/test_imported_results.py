"""The worked example of docs/imported-results.md: its files are written, its commands run, its lines come out."""

import re
import shlex
from pathlib import Path

import pytest
import tree_support
from click import Command

from harness.cli.group import harness, run_main
from harness.imports.mapping import ImportMap

PAGE = Path(__file__).parent.parent.parent / "docs" / "imported-results.md"


def blocks(language: str) -> list[str]:
    return tree_support.blocks("docs/imported-results.md", language)


def write_files(folder: Path) -> None:
    for text in [*blocks("yaml"), *blocks("csv")]:
        name, _, content = text.partition("\n")
        (folder / name.removeprefix("# ")).write_text(content, encoding="utf-8")


def test_worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    output, commands = "", 0
    for line in blocks("console")[0].splitlines():
        if line.startswith("$ "):
            assert run_main(shlex.split(line[2:])[1:]) == 0
            shown = capsys.readouterr()
            output, commands = " ".join((shown.out + shown.err).split()), commands + 1
        else:
            assert " ".join(line.split()) in output, line
    assert commands == 4


def test_the_example_of_a_shipped_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{arm},{seed},{71 + seed / 10 + (0.9 if arm == 'nkd' else 0)}" for seed in range(3) for arm in ("kd", "nkd")
    ]
    (tmp_path / "table2.csv").write_text("\n".join(["arm,seed,top1-accuracy", *rows]))
    for line in blocks("console")[1].splitlines():
        assert run_main(shlex.split(line.removeprefix("$ "))[1:]) == 0
    assert "imported from table2.csv (sha256" in capsys.readouterr().out


def test_the_statement_asks_for_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    assert run_main(["import", "results.csv", "--suite", "mine.yaml", "--map", "map.yaml"]) == 0
    assert run_main(["query", blocks("sql")[0], "--format", "csv"]) == 0
    assert "digits,adamp,3,results.csv,results.csv:9" in capsys.readouterr().out


def test_every_key_and_flag_of_the_table_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| in `map.yaml` |")[2].partition("\n\n")[0]
    keys = set(re.findall(r"`(\w+): ", table))
    assert keys == set(ImportMap.model_fields) - {"seed", "split", "step"}
    assert all(f"`{word}`" in table for word in ("seed", "split", "step"))
    command = harness.get_command(None, "import")  # type: ignore[arg-type]
    assert isinstance(command, Command)
    options = {name for item in command.params for name in item.opts}
    flags = set(re.findall(r"--[a-z][a-z-]+", text.partition("| in `map.yaml` |")[2].partition("## Sources")[0]))
    assert flags <= options
