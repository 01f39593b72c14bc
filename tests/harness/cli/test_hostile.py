"""Hostile suites, options and files: exit code 2, one message with its place, nothing made, nothing hung."""

import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Harness = Callable[..., "subprocess.CompletedProcess[str]"]


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stdout[-500:], done.stderr[-1500:])
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert message in done.stderr, done.stderr
    assert len(done.stderr) < 4000


OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "a slot as a number": (("run", "tiny.yaml", "--set", "optimizer=1"), "--set"),
    "a share that is not a number": (("run", "tiny.yaml", "--gpus-per-trial", "nan"), "--gpus-per-trial"),
    "a share without end": (("run", "tiny.yaml", "--gpus-per-trial", "inf"), "--gpus-per-trial"),
    "an address where nobody is": (("run", "tiny.yaml", "--address", "127.0.0.1:1"), "nothing answers there"),
    "no address": (("run", "tiny.yaml", "--address", "nowhere"), "HOST:PORT is expected"),
    "a budget without end": (("sweep", "tiny.yaml", "--benchmark", "known", "--budget", "99999999999"), "--budget"),
    "an interval that is not a number": (("report", "--serve", "tiny.yaml", "--every", "nan"), "--every"),
    "browse without a database": (("report", "--serve", "tiny.yaml", "--db", "gone.duckdb"), "gone.duckdb"),
    "browse a loop of links": (("report", "--serve", "tiny.yaml", "--db", "loop.duckdb"), "loop.duckdb"),
    "an arm whose file ends the process": (
        ("run", "tiny.yaml", "--arm", "x=exits.py:A", "--against", "base"),
        "exits.py",
    ),
    "an arm whose file is a pipe": (("run", "tiny.yaml", "--arm", "x=pipe.yaml:A", "--against", "base"), "pipe.yaml"),
    "a pipe as suite": (("validate", "pipe.yaml"), "pipe.yaml"),
    "a device as suite": (("validate", "/dev/zero"), "/dev/zero"),
    "a pipe as database": (("run", "tiny.yaml", "--db", "pipe.yaml"), "is not a regular file"),
    "another program's database": (("run", "tiny.yaml", "--db", "other.sqlite"), "is not a DuckDB database"),
    "a text as database": (("query", "SELECT 1", "--db", "text.txt"), "is not a DuckDB database"),
    "a device as database": (("query", "SELECT 1", "--db", "/dev/zero"), "is not a regular file"),
    "a database whose path DuckDB cannot open": (("claims", "tiny.yaml", "--db", "\udcff.duckdb"), "has to be UTF-8"),
    "a name that is too long": (("validate", "n" * 300 + ".yaml"), "nnn"),
    "a table that is a pipe": (("judge", "pipe.yaml", "--method", "a", "--against", "b", "--metric", "m"), "pipe.yaml"),
    "an import of a pipe": (("import", "pipe.yaml", "--suite", "tiny.yaml"), "pipe.yaml"),
}


@pytest.fixture
def odd(tmp_path: Path, tiny: Path) -> Path:
    """A folder with odd things in it."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.duckdb").symlink_to(tmp_path / "loop.duckdb")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(7)\n")
    (tmp_path / "text.txt").write_text("no database, whatever its name says, and long enough to have a head\n")
    connection = sqlite3.connect(tmp_path / "other.sqlite")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    return tmp_path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", OPTIONS)
def test_a_hostile_option_is_refused(case: str, odd: Path, command: Harness) -> None:
    arguments, shown = OPTIONS[case]
    before = sorted(odd.iterdir())
    refused(command(*arguments), shown)
    created = set(odd.iterdir()) - set(before) - {odd / "results", odd / "cache"}
    assert not created


SUITES: dict[str, tuple[Callable[[str], str], str]] = {
    "facts in a pipe": (
        lambda text: text[: text.index("facts:")] + "facts: pipe.yaml\n" + text[text.index("claims:") :],
        "pipe.yaml",
    ),
    "a benchmark in a pipe": (
        lambda text: text.replace("benchmarks:\n", "benchmarks:\n  piped: {file: pipe.yaml}\n"),
        "pipe.yaml",
    ),
    "a NUL in a path": (
        lambda text: text[: text.index("facts:")] + 'facts: "a\\0b"\n' + text[text.index("claims:") :],
        "broken.yaml",
    ),
    "a path that is too long": (
        lambda text: text[: text.index("facts:")] + f"facts: {'n' * 300}.yaml\n" + text[text.index("claims:") :],
        "broken.yaml",
    ),
    "markup in a name": (lambda text: text.replace("suite: tiny", 'suite: "[red]tiny"', 1), "broken.yaml"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", SUITES)
def test_a_hostile_suite_is_refused(case: str, odd: Path, tiny_text: str, command: Harness) -> None:
    edit, shown = SUITES[case]
    (odd / "broken.yaml").write_text(edit(tiny_text))
    for name in ("validate", "plan"):
        refused(command(name, "broken.yaml"), shown)


def chain(folder: Path, tiny_text: str, length: int, twice: bool) -> Path:
    """Suites that each inherit the next, or the next twice."""
    (folder / f"s{length}.yaml").write_text(tiny_text)
    for number in range(length):
        after = f"s{number + 1}.yaml"
        (folder / f"s{number}.yaml").write_text(f"inherits: {[after, after] if twice else after}\n")
    return folder / "s0.yaml"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("length", "twice"), [(3000, False), (24, True)])
def test_inheritance_has_an_end(length: int, twice: bool, tmp_path: Path, tiny_text: str, command: Harness) -> None:
    done = command("validate", chain(tmp_path, tiny_text, length, twice))
    refused(done, "inherits")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["arms", "benchmarks"])
def test_a_suite_of_ten_thousand_is_refused(what: str, tmp_path: Path, tiny_text: str, command: Harness) -> None:
    if what == "arms":
        more = "".join(f"  a{n}: {{role: baseline, optimizer: {{name: sgd, lr: 0.1}}}}\n" for n in range(10_000))
        text = tiny_text.replace("benchmarks:\n", more + "benchmarks:\n", 1)
    else:
        existing = tiny_text[tiny_text.index("    define:") : tiny_text.index("facts:")]
        more = "".join(f"  b{n}:\n{existing}" for n in range(10_000))
        text = tiny_text.replace("facts:", more.rstrip("\n") + "\nfacts:", 1)
    (tmp_path / "huge.yaml").write_text(text)
    refused(command("plan", "huge.yaml"), "huge.yaml")
