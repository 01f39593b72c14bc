"""A command's Ray: its folder and token are private, and no process remains."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import until

from harness.base import process_tree
from harness.errors import HarnessError
from harness.execute.executors import session
from harness.execute.executors.session import keep_token_private, make_folder, remove_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_private_and_short_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    created = make_folder()
    try:
        assert mode(created) == 0o700
        assert created.parent != deep
        assert len(os.fsencode(f"{created.parent}{session._SOCKET}")) <= 107
    finally:
        remove_folder(created)
    assert not created.exists()
    monkeypatch.setattr(session, "_SOCKET", "x" * (session.LONGEST - len("/tmp")))
    fitting = make_folder()
    assert str(fitting.parent) == "/tmp", "just short enough"
    remove_folder(fitting)
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK | os.X_OK)
    with pytest.raises(HarnessError, match="set TMPDIR to one"):
        make_folder()
    monkeypatch.undo()
    monkeypatch.setattr(session, "_SOCKET", "x" * 120)
    with pytest.raises(HarnessError, match="set TMPDIR to one"):
        make_folder()


def test_only_a_folder_of_ours_is_removed(tmp_path: Path) -> None:
    other, link = tmp_path / "other", tmp_path / "hr-link"
    other.mkdir()
    link.symlink_to(other)
    remove_folder(other)
    remove_folder(link)
    assert other.is_dir()


@pytest.mark.parametrize("named", [{}, {"RAY_AUTH_TOKEN": "x"}, {"RAY_AUTH_TOKEN_PATH": "/nowhere"}])
def test_the_token_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, str]) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / ".ray" / "auth_token"
    keep_token_private()
    if named:
        assert not file.exists()
        return
    assert mode(file) == 0o600
    token = file.read_text()
    assert len(token) == 64
    file.chmod(0o644)
    keep_token_private()
    assert (mode(file), file.read_text()) == (0o600, token)


def test_orphans_of_a_dead_command_are_ended_with_its_folder_and_no_others(tmp_path: Path) -> None:
    folder = make_folder()
    sleep = [sys.executable, "-c", "import time; time.sleep(120)"]
    daemon, bystander = subprocess.Popen([*sleep, f"--dir={folder}/ray"]), subprocess.Popen(sleep)
    code = (
        f"import subprocess; subprocess.Popen({sleep!r})\n"
        "import os; from pathlib import Path; from harness.execute.executors.session import note_children\n"
        f"note_children(Path({str(tmp_path)!r}), Path({str(folder)!r})); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    try:
        assert session.end_orphans(tmp_path) == 2  # a child, and a daemon that names the folder
        assert daemon.wait(5) == -signal.SIGKILL
        assert not folder.exists()
        own = session.note_children(tmp_path)
        assert session.end_orphans(tmp_path) == 0  # this process lives
        assert bystander.poll() is None
        assert list(tmp_path.iterdir()) == [own]
    finally:
        daemon.kill()
        bystander.kill()
        remove_folder(folder)


def running(process: subprocess.Popen[str]) -> bool:
    """True while a trial runs: Ray's workers are named after it."""
    for item in process_tree.below(psutil.Process(process.pid)):
        with contextlib.suppress(psutil.Error, IndexError):
            if item.cmdline()[0].startswith("ray::known"):
                return True
    return False


@pytest.fixture
def place() -> Iterator[Path]:
    """For temporary files of the run alone, with a short name."""
    folder = Path(tempfile.mkdtemp(prefix="t"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.ray
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "killed", ["gcs_server", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nothing", "raylet"))]
)
def test_a_run_s_ray_is_private_and_leaves_nothing(tmp_path: Path, tiny: Path, place: Path, killed: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    tiny.write_text(tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.05}"))
    database = tmp_path / "h.duckdb"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", str(tiny), "--no-report", "--quiet", "--db", str(database)],
        env={**environment, "TMPDIR": str(place), "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: list(place.glob("hr-*/ray/session_*/sockets/raylet*")) or process.poll() is not None)
        until(lambda: running(process) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        (folder,) = place.glob("hr-*")
        assert mode(folder) == 0o700
        assert mode(home / ".ray" / "auth_token") == 0o600
        family = process_tree.below(psutil.Process(process.pid))
        assert any(folder.name in " ".join(item.cmdline()) for item in family)
        if killed != "nothing":
            for item in family:
                with contextlib.suppress(psutil.Error):
                    if Path(item.cmdline()[0]).name == killed:
                        item.kill()
        out, err = process.communicate(timeout=150)
        assert process.returncode == 0, out + err
    finally:
        process.kill()
    assert [item.name for item in place.iterdir() if not item.name.startswith("torchinductor")] == []  # torch's own
    until(lambda: not [item for item in family if process_tree.is_alive(item)])
    assert session.naming(place) == []


def test_workers_of_a_dead_session_are_known_by_the_files_that_they_have_open(tmp_path: Path) -> None:
    """Workers call themselves ``ray::IDLE``, and are nobody's children without their raylet."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    script = "import sys, time; file = open(sys.argv[1], 'w'); print(1, flush=True); time.sleep(60)"
    workers = {}
    for name, title in (("own", "ray::IDLE"), ("other", "ray::IDLE"), ("own ", "python")):
        command = [title, "-c", script, str((tmp_path / name.strip() / f"{title[:3]}.log").relative_to(tmp_path))]
        workers[name] = subprocess.Popen(command, executable=sys.executable, cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        for worker in workers.values():
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"1\n"
        assert [item.pid for item in session.naming(tmp_path / "own")] == [workers["own"].pid]
        note = {"owner": [workers["own"].pid, 0.0], "processes": [], "folder": str(tmp_path / "own")}
        (tmp_path / "session-1.json").write_text(json.dumps(note))
        assert session.end_orphans(tmp_path) == 1
        assert workers["own"].wait(10) == -signal.SIGKILL
        assert workers["other"].poll() is None
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
