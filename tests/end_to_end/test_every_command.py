"""Every command once, end to end, on a store of one run."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli.group import COMMANDS, UNLISTED
from harness.store import open_reader
from suites.fixtures.images import picture

pytestmark = pytest.mark.default

Command = Callable[..., "subprocess.CompletedProcess[str]"]
VECTORS = Path(__file__).parents[1] / "vectors"
TABLE = "arm,bench,seed,score\n" + "".join(
    f"{arm},known,{seed},{50 + seed + 3 * (arm == 'better')}\n" for arm in ("base", "better") for seed in range(4)
)
INLINE = ("--executor", "inline", "--quiet")
CALLS: dict[str, tuple[tuple[object, ...], str]] = {
    "run": (("tiny.yaml", *INLINE, "--seeds", "4"), "report/index.html"),
    "plan": (("tiny.yaml",), "known"),
    "sweep": (("tiny.yaml", "--benchmark", "known", "--budget", "2", *INLINE), "better"),
    "verify": (("tiny.yaml", "--sample", "2", *INLINE), "equal "),
    "claims": (("tiny.yaml",), "direction confirmed"),
    "judge": (
        ("table.csv", "--method", "better", "--against", "base", "--metric", "score", "--better", "higher"),
        "confirmed",
    ),
    "report": (("tiny.yaml", "--out", "site"), "index.html"),
    "list": (("runs",), "tiny"),
    "show": (("TRIAL",), "score"),
    "query": (("SELECT count(*) AS n FROM trials",), "6"),
    "diff": (("latest", "latest"), "6 trials shared"),
    "export": (("--to", "csv", "made"), ""),
    "init": (("mine.yaml", "--data", "photos"), "mine.yaml"),
    "validate": (("tiny.yaml",), ""),
    "preflight": (("tiny.yaml", "--scale", "mini", "--jobs", "1"), "known"),
    "data": (("list",), "cifar10"),
    "doctor": ((), "torch"),
    "conformance": ((VECTORS,), ""),
    "import": (("table.csv", "--suite", "tiny.yaml", "--arm-column", "arm", "--benchmark", "known"), "8"),
    "db": (("check",), "harness.duckdb"),
}


def test_every_command_has_a_call() -> None:
    assert set(CALLS) >= set(COMMANDS) | set(UNLISTED)


@pytest.mark.parametrize("name", CALLS)
def test_a_command_does_its_work(name: str, ran: Path, database: Path, command: Command) -> None:
    (ran.parent / "table.csv").write_text(TABLE)
    for number, place in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        picture(ran.parent / "photos" / place / "0.png", number, 8, 8)
    with open_reader(database) as reader:
        ((trial,),) = reader.query("SELECT min(trial_id) FROM trials").rows
    arguments, shown = CALLS[name]
    done = command(name, *(trial if word == "TRIAL" else word for word in arguments))
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
