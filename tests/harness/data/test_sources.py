"""Fetching and verifying data: a server inside the test that redirects, lies, breaks off and resumes."""

import errno
import hashlib
import http.server
import os
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry
from harness.cli.group import run_main
from harness.data import checksums as manifests
from harness.data import download as sources
from harness.data.locate import data_identity
from harness.errors import HarnessError
from harness.registry.index import _ADDED as ADDED
from harness.registry.metadata import DataMetadata
from harness.trial.spec import Part

CONTENT = bytes(range(256)) * 5000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """``/file`` serves the content with ranges; ``/moved`` redirects; ``/broken`` ends early the first time."""

    broken: int = 0
    ranges: list[str]

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path == "/gone":
            self.send_error(404)
            return
        start = 0
        if wanted := self.headers.get("Range"):
            type(self).ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/broken" and type(self).broken > 0:
            type(self).broken -= 1
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def address() -> Iterator[str]:
    Server.broken, Server.ranges = 0, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def source(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered source whose home is the server; returns the folder for data."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    metadata = DataMetadata(
        name="served",
        target="load",
        summary="",
        origin="real",
        content="bytes",
        layout="file",
        home=address,
        licence="MIT",
        version="1",
        files=("data:served/file",),
        sha256={"data:served/file": SUM},
        fetch=f"http:{address}/file",
    )
    monkeypatch.setitem(ADDED["data"], "served", registry.Entry("data", "served", "none", metadata, {}))
    return tmp_path / "data"


def test_a_file_is_fetched_verified_and_not_fetched_again(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["data", "verify", "served"]) == 1
    assert "harness data fetch served" in capsys.readouterr().out
    assert run_main(["data", "fetch", "served"]) == 0
    assert (source / "served" / "file").read_bytes() == CONTENT
    assert run_main(["data", "verify", "served"]) == 0
    assert run_main(["data", "fetch", "served"]) == 0
    assert "here already" in capsys.readouterr().out


def test_a_redirect_is_followed_and_an_interruption_resumed_where_it_broke_off(address: str, tmp_path: Path) -> None:
    sources.download(f"{address}/moved", tmp_path / "file", SUM)
    assert (tmp_path / "file").read_bytes() == CONTENT
    Server.broken = 1
    sources.download(f"{address}/broken", tmp_path / "other", SUM)
    assert (tmp_path / "other").read_bytes() == CONTENT
    assert Server.ranges
    assert Server.ranges[0] != "bytes=0-"
    assert not list(tmp_path.glob("*.part"))


def test_a_wrong_checksum_keeps_nothing_and_a_lost_address_is_named(address: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="another sha256"):
        sources.download(f"{address}/file", tmp_path / "file", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(HarnessError, match="404"):
        sources.download(f"{address}/gone", tmp_path / "file", None)
    with pytest.raises(HarnessError, match="without a network put the file at"):
        sources.download("http://127.0.0.1:9/file", tmp_path / "file", None)


def test_a_full_disk_is_told(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(url: str, part: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sources, "_continue", full)
    with pytest.raises(HarnessError, match="No space left"):
        sources.download(f"{address}/file", tmp_path / "file", None)


def test_what_must_be_got_by_hand_says_how() -> None:
    with pytest.raises(HarnessError, match="by hand"):
        list(sources.fetch("imagenet"))
    assert "nothing to fetch" in next(iter(sources.fetch("digits")))


def test_torchvision_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torchvision import datasets

    def refuse(**_: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "CIFAR100", refuse)
    with pytest.raises(HarnessError, match="no route"):
        list(sources.fetch("cifar100"))


def test_a_users_folder_is_identified_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    folder = tmp_path / "mine"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a.txt").write_text("one")

    def identity() -> object:
        manifests.identity_of_path.cache_clear()
        return data_identity(Part("imagefolder", {"path": "mine"}))["sha256"]["path"]

    first = identity()
    assert identity() == first
    os.utime(folder / "train" / "a.txt", (1, 1))
    assert identity() == first
    (folder / "train" / "a.txt").write_text("two")
    changed = identity()
    assert changed != first
    (folder / "train" / "a.txt").rename(folder / "train" / "b.txt")
    assert identity() not in (first, changed)
