"""Ray nodes on this machine with logical GPUs: trials spread; a node dies, joins late, has other code or no token."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from waiting import until

from harness.store import open_reader

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a" * 64
NODE = {
    "RAY_AUTH_MODE": "token",
    "PYTHONPATH": str(ROOT),
    "RAY_worker_niceness": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "4",
}
"""Environment of every node: one that dies is noticed within seconds."""

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def free_port() -> int:
    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        return int(item.getsockname()[1])


class Cluster:
    """Nodes as ``ray start`` makes them, each a group of processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, **NODE, "RAY_AUTH_TOKEN": TOKEN}

    def add(self, gpus: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """The head first, then others; it is there when this returns."""
        head = ["--head", "--port", str(self.port), "--include-dashboard=false", "--temp-dir", str(self.folder / "ray")]
        where = ["--address", f"127.0.0.1:{self.port}"] if self.nodes else head
        size = ["--num-cpus", "1", "--num-gpus", str(gpus), "--object-store-memory", str(100 * 2**20)]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--node-ip-address", "127.0.0.1", "--block"]
        node = subprocess.Popen(
            [*command, *where, *size],
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.nodes.append(node)
        until(lambda: node.poll() is not None or self._has_joined(node), "the node did not start")
        assert node.poll() is None, "the node did not start"
        return node

    def _has_joined(self, node: subprocess.Popen[bytes]) -> bool:
        """True if the node's raylet is connected to the head."""
        with contextlib.suppress(psutil.Error):
            processes = psutil.Process(node.pid).children(recursive=True)
            raylets = [process for process in processes if "raylet" in process.name()]
            peers = [connection.raddr for raylet in raylets for connection in raylet.net_connections("tcp")]
            return any(peer and peer.port == self.port for peer in peers)
        return False

    def listening(self, node: subprocess.Popen[bytes]) -> dict[str, set[str]]:
        """The addresses that each program of a node listens on."""
        result: dict[str, set[str]] = {}
        for process in psutil.Process(node.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, IndexError):
                program = Path(process.cmdline()[0].split()[0]).name
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        result.setdefault(program, set()).add(connection.laddr.ip)
        return result

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Everything of a node at once, as when its power goes."""
        with contextlib.suppress(psutil.Error):
            for item in [*psutil.Process(node.pid).children(recursive=True), psutil.Process(node.pid)]:
                with contextlib.suppress(psutil.Error):
                    item.kill()
        node.wait()

    def run(self, suite: Path, database: Path, *more: str, inline: bool = False) -> subprocess.Popen[str]:
        """``harness run`` on it."""
        command = [sys.executable, "-m", "harness", "run", str(suite), "--no-report", "--quiet", "--db", str(database)]
        where = ["--executor", "inline"] if inline else ["--address", f"127.0.0.1:{self.port}"]
        return subprocess.Popen(
            [*command, *where, *more],
            cwd=suite.parent,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="hc"))  # sockets below it have short names only
    created = Cluster(folder)
    try:
        yield created
    finally:
        for node in reversed(created.nodes):
            created.kill(node)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slow(tiny: Path) -> Path:
    """Twelve trials of about a second."""
    text = tiny.read_text().replace("own_sd: 0.3}", "own_sd: 0.3, step_seconds: 0.05}")
    tiny.write_text(text.replace("seeds: {min: 3", "seeds: {min: 6"))
    return tiny


def numbers(database: Path) -> dict[tuple[str, str, str], float]:
    with open_reader(database) as reader:
        return {row[:3]: row[3] for row in reader.query("SELECT trial_id, split, metric, value FROM results").rows}


def nodes_of(database: Path) -> set[str]:
    with open_reader(database) as reader:
        return {node for (node,) in reader.query("SELECT DISTINCT node FROM trials WHERE status = 'done'").rows}


def done_in(database: Path) -> int:
    with contextlib.suppress(Exception), open_reader(database) as reader:
        return int(reader.query("SELECT count(*) FROM trials WHERE status = 'done'").rows[0][0])
    return 0


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, out + err
    return out + err


def test_trials_spread_to_a_node_that_joins_late_and_dies(cluster: Cluster, slow: Path, tmp_path: Path) -> None:
    """Numbers are those of one machine throughout; a killed node costs its unfinished trials an attempt."""
    alone, spread = tmp_path / "alone.duckdb", tmp_path / "spread.duckdb"
    seeds = ("--seeds", "16")  # long enough for a node to start meanwhile
    one_machine = cluster.run(slow, alone, *seeds, inline=True)  # beside the other: its trials mostly sleep
    cluster.add()
    process = cluster.run(slow, spread, *seeds)
    until(lambda: done_in(spread) >= 1, every=0.5)  # a look reads the whole log
    second = cluster.add()
    until(lambda: len(nodes_of(spread)) == 2 or process.poll() is not None, every=0.5)
    assert process.poll() is None, "it ended before the second node had a trial"
    cluster.kill(second)
    ended(process)
    ended(one_machine)
    assert done_in(spread) == 32
    assert numbers(spread) == numbers(alone)


def test_each_trial_sees_its_own_gpu(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "gpu.py").write_text(
        "import os, time\nfrom harness.client import log\ntime.sleep(0.5)\n"
        "log(device=int(os.environ['CUDA_VISIBLE_DEVICES']))\n"
    )
    suite = tmp_path / "gpus.yaml"
    suite.write_text(
        "suite: gpus\narms: {a: {values: {x: 1}}, b: {values: {x: 2}}}\nbenchmarks:\n  one:\n"
        "    command: [python, gpu.py, '{arm.x}']\n    metrics: {device: {unit: number, better: higher}}\n"
        "compare: [{arm: a, against: [b], metric: device}]\n"
    )
    cluster.add(gpus=2)
    cluster.add(gpus=1)
    ended(cluster.run(suite, tmp_path / "gpus.duckdb", "--seeds", "4"))
    assert set(numbers(tmp_path / "gpus.duckdb").values()) <= {0.0, 1.0}


def test_a_node_with_other_code_is_refused(cluster: Cluster, slow: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for package in ("harness", "methods", "suites", "reports"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "methods" / "optimizers" / "sgd.py").open("a", encoding="utf-8") as file:
        file.write("\nEDITED = True\n")
    cluster.add()
    cluster.add(PYTHONPATH=str(other))
    message = ended(cluster.run(slow, tmp_path / "h.duckdb"), code=2)
    assert "differ from here; install the same version on it" in message
    assert "Traceback" not in message
    assert done_in(tmp_path / "h.duckdb") == 0


def test_a_plain_run_leaves_a_ray_that_runs_here_alone(cluster: Cluster, tiny: Path, tmp_path: Path) -> None:
    head = cluster.add()
    command = [sys.executable, "-m", "harness", "run", str(tiny), "--no-report", "--quiet"]
    done = subprocess.run(
        [*command, "--db", str(tmp_path / "h.duckdb")],
        env={**cluster.environment, "RAY_ADDRESS": f"127.0.0.1:{cluster.port}"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert head.poll() is None
    assert len(numbers(tmp_path / "h.duckdb")) > 0


COUNT_NODES = """
import sys
from ray._raylet import GcsClient
print("nodes:", len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10)))
"""


def test_ports_are_as_documented_and_need_the_token(cluster: Cluster) -> None:
    """Control store and raylet listen on all addresses, agents on their node's."""
    head = cluster.add()
    until(lambda: {"gcs_server", "raylet"} <= cluster.listening(head).keys())
    result = cluster.listening(head)
    assert all(result[name] & {"0.0.0.0", "::"} for name in ("gcs_server", "raylet")), result
    assert result.get("ray::RuntimeEnvAgent", {"127.0.0.1"}) == {"127.0.0.1"}
    assert {name for name in result if not name.startswith("ray::")} == {"gcs_server", "raylet"}, result
    for token in (TOKEN, "b" * 64, None):
        environment = {key: value for key, value in cluster.environment.items() if key != "RAY_AUTH_TOKEN"}
        environment |= {"HOME": str(cluster.folder)} | ({} if token is None else {"RAY_AUTH_TOKEN": token})
        command = [sys.executable, "-c", COUNT_NODES, f"127.0.0.1:{cluster.port}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        if token == TOKEN:
            assert "nodes:" in done.stdout, done.stderr
        else:
            assert "nodes:" not in done.stdout
            assert "uthenticat" in done.stderr or "oken" in done.stderr, done.stderr


def test_ray_without_authentication_is_refused(slow: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(slow), "--db", str(tmp_path / "h.duckdb")],
        env={**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "RAY_AUTH_MODE=disabled" in done.stderr
