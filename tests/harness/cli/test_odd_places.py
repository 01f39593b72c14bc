"""Places that cannot be written, or not for long: one message, exit code 2, and nothing that had finished is lost."""

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from harness.cli.group import run_main
from harness.store import open_reader
from harness.store.rebuild import rebuild

Refuse = Callable[[], object]
CAPABILITIES = 41
PR_CAPBSET_DROP = 24
READING = {
    "query": ("query", "SELECT count(*) FROM trials"),
    "list runs": ("list", "runs"),
    "list trials": ("list", "trials"),
    "show": ("show", "TRIAL"),
    "check": ("db", "check"),
    "diff": ("diff", "latest", "latest"),
    "plan": ("plan", "tiny.yaml"),
    "claims": ("claims", "tiny.yaml"),
    "report": ("report", "tiny.yaml", "--out", "MADE"),
    "export": ("export", "--to", "csv", "MADE"),
}
WRITING = {
    "run": ("run", "tiny.yaml", "--executor", "inline"),
    "tag": ("db", "tag", "latest", "x"),
    "forget": ("db", "delete", "TRIAL"),
    "rebuild": ("db", "rebuild"),
    "report beside it": ("report", "tiny.yaml"),
}


def trial_of(folder: Path) -> str:
    with open_reader(folder / "results" / "harness.duckdb") as reader:
        return str(reader.query("SELECT min(trial_id) FROM trials").rows[0][0])


SEVERAL = """
import contextlib, io, json, sys
from harness.cli.group import run_main

answers = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_main(arguments)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(answers))
"""


def called(
    commands: Iterable[tuple[str, ...]], folder: Path, output: Path, begin: Refuse | None = None
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands in a folder, in one process; fill in MADE and TRIAL."""
    words = {"MADE": str(output)}
    if any("TRIAL" in arguments for arguments in commands):
        words["TRIAL"] = trial_of(folder)
    values = [[words.get(word, word) for word in arguments] for arguments in commands]
    environment = {**os.environ, "HARNESS_DB": "results/harness.duckdb"}
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(values)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=begin,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    return [subprocess.CompletedProcess(arguments, *answer) for arguments, answer in zip(values, answers, strict=True)]


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stdout[-500:], done.stderr[-1500:])
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system at a folder; skips where this is not permitted."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def without_privileges() -> None:
    """From the next program on, the superuser is nobody special."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(CAPABILITIES):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture(params=["mounted read-only", "a folder of others"])
def read_only(request: pytest.FixtureRequest, finished: Path, tmp_path: Path) -> Iterator[tuple[Path, Refuse | None]]:
    """A store that cannot be written, and what drops privileges."""
    if request.param == "mounted read-only":
        with mounted(tmp_path / "disk", "--bind", str(finished)) as place:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
            yield place, None
        return
    place = tmp_path / "others"
    shutil.copytree(finished, place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place, without_privileges if os.geteuid() == 0 else None
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)


@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="mounts and capabilities of Linux")
def test_a_read_only_store_is_read_and_judged(read_only: tuple[Path, Refuse | None], tmp_path: Path) -> None:
    folder, begin = read_only
    before = sorted(path.name for path in (folder / "results").iterdir())
    answers = called([*READING.values(), *WRITING.values()], folder, tmp_path / "made", begin)
    for done in answers[: len(READING)]:
        assert done.returncode == 0, (done.args, done.stdout[-300:], done.stderr[-1000:])
    assert (tmp_path / "made" / "index.html").is_file()
    for done in answers[len(READING) :]:
        refused(done, "cannot be written")
    assert sorted(path.name for path in (folder / "results").iterdir()) == before


ODD = {
    "a file": lambda place: place.write_text("x"),
    "below a file": lambda place: place.parent.write_text("x"),
    "in /proc": lambda place: None,
    "a folder where a file goes": lambda place: [
        (place / name).mkdir(parents=True) for name in ("index.html", "runs.csv", "trials.parquet")
    ],
}


CASES = [
    *((odd, form) for odd in ODD for form in ("csv", "report")),
    ("a folder where a file goes", "parquet"),
    *(("a file", form) for form in ("latex", "mlflow", "tensorboard", "single")),
]


@pytest.mark.timeout(200)
@pytest.mark.parametrize(("odd", "form"), CASES)
def test_what_cannot_be_written_into_is_named(
    odd: str, form: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"in /proc": Path("/proc/none"), "below a file": tmp_path / "made" / "below"}
    place = places.get(odd, tmp_path / "made")
    ODD[odd](place)
    if form in ("report", "single"):
        single = ["--single-file"] if form == "single" else []
        arguments = ["report", str(finished / "tiny.yaml"), "--out", str(place), *single]
    else:
        arguments = ["export", "--to", form, str(place)]
    code = run_main([*arguments, "--db", str(finished / "results" / "harness.duckdb")])
    shown = capsys.readouterr().err
    assert code == 2
    assert str(place) in shown
    assert "internal error" not in shown


def small_files() -> None:
    """No file may grow beyond 50 KB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50 << 10, 50 << 10))


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_limit_on_the_size_of_files_is_told_and_loses_nothing(tmp_path: Path, tiny: Path) -> None:
    """A limit on file sizes is reported and damages nothing."""
    for done in called([WRITING["run"], READING["claims"]], tmp_path, tmp_path / "made", small_files):
        refused(done, "ulimit -f")
        assert "damaged" not in done.stderr
    database = tmp_path / "results" / "harness.duckdb"
    assert rebuild(database, force=True).finished == 6
    (done,) = called([WRITING["run"]], tmp_path, tmp_path / "made")
    assert done.returncode == 0
    assert "[1/" not in done.stderr  # what had finished does not run again
