"""Three Ray nodes that have only a network in common: each in a network namespace of this machine, with logical GPUs.

Trials spread, a node that loses its power costs its unfinished trials alone, and who has no token stays outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from test_cluster import NODE, ROOT, TOKEN, done_in, ended, nodes_of, numbers, until

from harness.store import open_reader

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
PORT = 6379
HEAD, SECOND, THIRD, OUTSIDE = "head", "second", "third", "outside"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """Namespaces on one bridge, which is in a namespace too: this machine's own network stays as it is."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hn"))  # sockets below it have short names only
        self._spaces: list[str] = []
        self.addresses: dict[str, str] = {}

    def build(self) -> None:
        """Namespaces, bridge and cables."""
        switch = self._space("switch")
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for number, name in enumerate((HEAD, SECOND, THIRD, OUTSIDE), start=1):
            space, end = self._space(name), f"to{number}"
            ip("-n", switch, "link", "add", end, "type", "veth", "peer", "name", "net", "netns", space)
            ip("-n", switch, "link", "set", end, "master", "bridge", "up")
            self.addresses[name] = f"10.77.0.{number}"
            ip("-n", space, "address", "add", f"{self.addresses[name]}/24", "dev", "net")
            for device in ("lo", "net"):
                ip("-n", space, "link", "set", device, "up")

    def _space(self, name: str) -> str:
        space = self.space(name)
        ip("netns", "add", space)
        self._spaces.append(space)
        return space

    def space(self, name: str) -> str:
        return f"harness-{os.getpid()}-{name}"

    @property
    def head(self) -> str:
        return f"{self.addresses[HEAD]}:{PORT}"

    def inside(self, name: str, *words: object, token: str | None = TOKEN, mute: bool = False) -> subprocess.Popen[str]:
        """A command in a namespace."""
        out = subprocess.DEVNULL if mute else subprocess.PIPE
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
        environment |= {**NODE, "HOME": str(self.folder)} | ({} if token is None else {"RAY_AUTH_TOKEN": token})
        return subprocess.Popen(
            ["ip", "netns", "exec", self.space(name), *map(str, words)],
            env=environment,
            text=True,
            stdout=out,
            stderr=out,
        )

    def start(self, name: str, gpus: int) -> None:
        """A Ray node; it is there when this returns."""
        where = ["--head", "--port", PORT, "--include-dashboard=false", "--temp-dir", self.folder / "ray"]
        where = where if name == HEAD else ["--address", self.head]
        node = self.inside(
            name,
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            *where,
            "--num-cpus",
            1,
            "--num-gpus",
            gpus,
            "--object-store-memory",
            100 * 2**20,
            "--node-ip-address",
            self.addresses[name],
            "--block",
            mute=True,
        )
        until(lambda: "raylet" in self.programs(name) or node.poll() is not None)
        assert node.poll() is None, f"the node {name} did not start"
        time.sleep(3)

    def processes(self, name: str) -> list[psutil.Process]:
        result = subprocess.run(["ip", "netns", "pids", self.space(name)], capture_output=True, text=True, check=False)
        return [psutil.Process(int(pid)) for pid in result.stdout.split() if psutil.pid_exists(int(pid))]

    def programs(self, name: str) -> set[str]:
        result = set()
        for process in self.processes(name):
            with contextlib.suppress(psutil.Error, IndexError):
                result.add(Path(process.cmdline()[0].split()[0]).name)
        return result

    def cut(self, name: str) -> None:
        """Kill everything in a namespace at once, like a power cut."""
        for process in self.processes(name):
            with contextlib.suppress(psutil.Error):
                process.kill()

    def run(self, suite: Path, database: Path, *more: str) -> subprocess.Popen[str]:
        """``harness run`` on the head."""
        command = [sys.executable, "-m", "harness", "run", suite, "--no-report", "--quiet", "--db", database]
        return self.inside(HEAD, *command, "--address", self.head, *more)

    def listening(self, name: str) -> dict[str, set[str]]:
        """The addresses that each program of a namespace listens on."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.space(name), "ss", "-Hltnp"], capture_output=True, text=True, check=True
        )
        result: dict[str, set[str]] = {}
        for line in done.stdout.splitlines():
            address = line.split()[3].rpartition(":")[0].partition("%")[0].strip("[]")
            for part in line.partition("users:")[2].split("pid=")[1:]:
                with contextlib.suppress(psutil.Error, IndexError):
                    line = psutil.Process(int(part.split(",")[0])).cmdline()
                    is_dashboard = any("dashboard" in word.lower() for word in (line[0], *line[1:4]))
                    program = "dashboard" if is_dashboard else Path(line[0].split()[0]).name
                    result.setdefault(program, set()).add(address)
        return result

    def close(self) -> None:
        for name in (OUTSIDE, THIRD, SECOND, HEAD):
            self.cut(name)
        for space in reversed(self._spaces):
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if shutil.which("ip") is None or shutil.which("ss") is None:
        pytest.skip("iproute2 (ip, ss) is not installed")
    created = Network()
    try:
        try:
            created.build()
        except (subprocess.CalledProcessError, PermissionError) as error:
            text = getattr(error, "stderr", b"") or str(error).encode()
            pytest.skip(f"network namespaces are not permitted here: {text.decode().strip()}")
        created.start(HEAD, 1)
        created.start(SECOND, 2)
        created.start(THIRD, 1)
        yield created
    finally:
        created.close()


ASKS = """
import json, sys
from ray._raylet import GcsClient
try:
    print(json.dumps(len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10))))
except Exception as error:
    print(json.dumps(str(type(error).__name__) + ": " + str(error)[:300]))
"""


@pytest.mark.parametrize("token", [TOKEN, None, "b" * 64])
def test_who_has_no_token_stays_outside(network: Network, token: str | None) -> None:
    """Asked from another machine's place in the network, over the wire."""
    out, err = network.inside(OUTSIDE, sys.executable, "-c", ASKS, network.head, token=token).communicate(timeout=120)
    answer = json.loads(out.splitlines()[-1]) if out.strip() else err
    if token == TOKEN:
        assert answer == 3
    else:
        assert "uthenticat" in str(answer) or "oken" in str(answer), answer


def test_what_listens_is_what_the_documents_say(network: Network) -> None:
    """docs/security.md: the control store and the raylet on all addresses, an agent on the node's own, no dashboard."""
    result = network.listening(HEAD)
    everywhere = {name for name, addresses in result.items() if addresses & {"*", "0.0.0.0", "::"}}
    assert {"gcs_server", "raylet"} <= everywhere, result
    assert result.pop("ray::RuntimeEnvAgent", None) == {network.addresses[HEAD]}
    workers = {name for name in result if name.startswith("ray::")}
    assert set(result) - workers == {"gcs_server", "raylet"}, result  # no dashboard


def test_each_trial_sees_its_node_s_gpus(network: Network, tmp_path: Path) -> None:
    (tmp_path / "gpu.py").write_text(
        "import os, time\nfrom harness.client import log\ntime.sleep(1)\n"
        "log(device=int(os.environ['CUDA_VISIBLE_DEVICES']))\n"
    )
    suite = tmp_path / "gpus.yaml"
    suite.write_text(
        "suite: gpus\narms: {a: {values: {x: 1}}, b: {values: {x: 2}}}\nbenchmarks:\n  one:\n"
        "    command: [python, gpu.py, '{arm.x}']\n    metrics: {device: {unit: number, better: higher}}\n"
        "compare: [{arm: a, against: [b], metric: device}]\n"
    )
    database = tmp_path / "gpus.duckdb"
    ended(network.run(suite, database, "--seeds", "6", "--gpus-per-trial", "1"))
    with open_reader(database) as reader:
        rows = reader.query("SELECT node, value FROM trials JOIN results USING (trial_id)").rows
    seen = {(node, device) for node, device in rows}
    assert len(rows) == 12
    assert len({node for node, _ in seen}) >= 2
    assert {device for _, device in seen} <= {0.0, 1.0}


def test_a_node_that_loses_its_power_costs_its_unfinished_trials(network: Network, tiny: Path, tmp_path: Path) -> None:
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.05}")
    tiny.write_text(text.replace("seeds: {min: 3", "seeds: {min: 8"))
    alone = tmp_path / "alone.duckdb"
    command = ["harness", "run", str(tiny), "--no-report", "--quiet", "--executor", "inline", "--db", str(alone)]
    subprocess.run([sys.executable, "-m", *command], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    database = tmp_path / "dying.duckdb"
    process = network.run(tiny, database)
    until(lambda: len(nodes_of(database)) >= 3 if done_in(database) else False)
    before = done_in(database)
    network.cut(THIRD)
    ended(process)
    assert before < 16, "the run was over before the node died"
    assert numbers(database) == numbers(alone)
    with open_reader(database) as reader:
        attempts = Counter(n for (n,) in reader.query("SELECT attempts FROM trials").rows)
        started = Counter(
            json.loads(detail)["trial_id"] if isinstance(detail, str) else detail["trial_id"]
            for (detail,) in reader.query("SELECT detail FROM events WHERE kind = 'retry'").rows
        )
    assert set(attempts) <= {1, 2}
    assert attempts[2] == len(started) <= 2  # a node of one CPU had one trial, and perhaps a next one
