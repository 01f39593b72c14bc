"""The command line: light where it can be, one message where something is wrong, help that is true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tables_support import run

from harness.app.verify import Repetition, Verification
from harness.cli.group import COMMANDS, FORMER_NAMES, UNLISTED, harness, run_main
from harness.cli.run import _show_verified

HEAVY = ("torch", "ray", "torchvision", "sklearn", "scipy", "pandas")


@pytest.mark.parametrize(
    ("arguments", "forbidden"),
    [
        (["--help"], (*HEAVY, "duckdb", "pydantic", "plotly", "rich")),
        (["run", "--help"], (*HEAVY, "duckdb", "pydantic", "plotly")),
        (["validate", "adamp"], HEAVY),
        (["plan", "adamp"], HEAVY),
        (["list", "methods"], HEAVY),
        (["list", "benchmarks"], HEAVY),
        (["claims", "adamp", "--format", "json"], ("torch", "ray", "torchvision", "sklearn")),
    ],
)
def test_commands_import_only_what_they_need(arguments: list[str], forbidden: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom harness.cli.group import run_main\n"
        f"code = run_main({arguments!r})\nprint(sorted(set(sys.modules) & set({forbidden!r})), file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip().splitlines()[-1] == "[]"


def commands() -> dict[str, click.Command]:
    """Every command by its words, those of groups included."""
    every = {}
    root = click.Context(harness)
    for name in harness.all_entries:
        command = harness.get_command(root, name)
        assert command is not None
        every[name] = command
        if isinstance(command, click.Group):
            for part in command.list_commands(root):
                child = command.get_command(root, part)
                assert child is not None
                every[f"{name} {part}"] = child
    return every


@pytest.mark.parametrize("name", commands())
def test_help_has_an_example_and_describes_every_option(name: str) -> None:
    command = commands()[name]
    assert command.epilog
    assert "Example" in command.epilog
    assert f"harness {name}" in command.epilog
    assert command.help
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, option.name


@pytest.mark.parametrize("name", [*COMMANDS, *UNLISTED])
def test_the_listing_describes_a_command_as_its_own_help_does(name: str) -> None:
    summary, help_text = harness.all_entries[name].help, commands()[name].help
    words = set(re.findall(r"\w+", summary.lower()))
    assert help_text
    assert len(words & set(re.findall(r"\w+", help_text.split("\n\n")[0].lower()))) >= 3


def test_help_lists_each_command_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 79
    assert [line.split()[0] for line in lines if line.strip() and line.split()[0] in COMMANDS] == list(COMMANDS)
    assert len(COMMANDS) <= 18


@pytest.mark.parametrize("name", FORMER_NAMES)
def test_a_former_name_works_with_a_hint(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: harness {' '.join(word for word in FORMER_NAMES[name] if word[0] != '-')} ")
    assert shown.err.startswith(f"hint: 'harness {name}")
    assert shown.err.count("\n") == 1


def test_errors_are_one_message_and_tracebacks_need_debug(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "none.duckdb")
    assert run_main(["query", "SELECT 1", "--db", missing]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(("error:", "Error:"))
    assert "Traceback" not in shown
    with pytest.raises(Exception, match=r"none\.duckdb"):
        run_main(["--debug", "query", "SELECT 1", "--db", missing])


def test_plan_as_json(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["plan", str(tiny), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["trials"] == 6
    assert plan["reused"] == 0
    assert [cell["arm"] for cell in plan["cells"]] == ["base", "better"]


def test_set_reads_values_as_yaml_does() -> None:
    from harness.cli.options import parse_overrides

    expected = {"lr": 1e-3, "name": "x", "flag": True, "list": [1, 2], "empty": None}
    assert parse_overrides(("lr=1e-3", "name=x", "flag=true", "list=[1, 2]", "empty=")) == expected


def test_time_budgets() -> None:
    from harness.cli.options import seconds
    from harness.errors import HarnessError

    assert [seconds(text) for text in ("90", "90s", "30m", "2h")] == [90, 90, 1800, 7200]
    for text in ("soon", "-1m", "", "1d", "inf"):
        with pytest.raises(HarnessError):
            seconds(text)


def test_list_shows_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["list", "methods", "adam*", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert {"adam", "adamw", "adamp"} <= set(names)
    assert all(name.startswith("adam") for name in names)


def test_conformance_passes_on_the_open_vectors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    vectors = Path(__file__).parents[2] / "vectors"
    assert run_main(["conformance", str(vectors)]) == 0
    assert "MISS" not in capsys.readouterr().out
    assert run_main(["conformance", str(tmp_path)]) == 2


def test_a_json_schema_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["validate", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "arms" in schema["properties"]
    assert schema["additionalProperties"] is False


def test_suites_of_one_command_share_its_executor(
    tiny: Path, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.execute.executors import EXECUTORS, ExecutorOptions, InlineExecutor

    shown: list[str] = []

    class Counted(InlineExecutor):
        def __init__(self, options: ExecutorOptions | None = None) -> None:
            shown.append("made")
            super().__init__(options)

        def shutdown(self) -> None:
            shown.append("ended")
            super().shutdown()

    monkeypatch.setitem(EXECUTORS, "inline", Counted)  # type: ignore[arg-type]
    other = tiny.with_name("other.yaml")
    text = tiny.read_text().replace("suite: tiny", "suite: other").replace("tiny-better", "other-better")
    other.write_text(text.replace("steps: 20", "steps: 21"))
    assert run_main(["run", str(tiny), str(other), "--executor", "inline", "--no-report", "--quiet"]) == 0
    assert shown == ["made", "ended"]
    assert "other-better" in capsys.readouterr().out


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


def test_a_suite_that_has_run_is_known_by_name(tiny: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


EQUAL, OTHER = Repetition("b/a/0", True, 7, ()), Repetition("b/a/1", True, 7, ("test.score",))


@pytest.mark.parametrize(
    ("verified", "reason"),
    [
        (Verification(0, 3, (EQUAL, OTHER), ("family sgd",)), "not all agree"),
        (Verification(0, 3, (EQUAL,), ("family sgd",)), "not all is covered"),
        (Verification(0, 3, (), ("task t",)), "not all is covered"),
        (Verification(3, 0, (EQUAL,), ()), "nothing of older code is stored"),
    ],
)
def test_why_nothing_is_adopted(verified: Verification, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    _show_verified(verified, adopt=True)
    assert capsys.readouterr().out.splitlines()[-1] == f"0 trials of older code adopted: {reason}"


def test_an_empty_store_says_what_fills_it(capsys: pytest.CaptureFixture[str]) -> None:
    _show_verified(Verification(0, 0, (), ()), adopt=True)
    assert capsys.readouterr().out.splitlines()[-1].startswith("no stored trials to verify")
