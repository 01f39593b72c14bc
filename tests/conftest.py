"""Settings and fixtures of all tests: tiers, environment, small suites whose truth is known, the command line."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# The finder of an editable install comes after sys.path, where pytest puts this folder and with it tests/harness.
_spec = importlib.util.find_spec("harness")
if _spec is None or _spec.origin is None:
    sys.modules.pop("harness", None)
    sys.path.insert(0, str(ROOT))

import warm_process  # noqa: E402

# Several tests run side by side on small networks: one thread each, and no spinning while a thread waits. Ray's workers
# run at niceness 15 by default and would wait for minutes beside another test. torch's compiler starts no processes.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

FULL_FOLDERS = ("end_to_end", "soak", "performance", "docs")
WORKERS = 2

settings.register_profile("default", derandomize=True, max_examples=50, deadline=None)
settings.register_profile("slow", max_examples=2000, deadline=None)
settings.load_profile("default")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use both cores for the whole tree; files named on the command line run in this process."""
    option = config.option
    if hasattr(config, "workerinput"):  # a worker starts no workers
        return
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    if whole and getattr(option, "numprocesses", 0) is None and not (option.usepdb or option.collectonly):
        option.numprocesses = min(WORKERS, os.cpu_count() or 1)
        option.dist = "worksteal" if option.dist == "no" else option.dist


def pytest_configure(config: pytest.Config) -> None:
    """Keep slow cases of full tests out of ``-m full``; give the session, with its workers, one cache."""
    if config.option.markexpr == "full":
        config.option.markexpr = "full and not slow"
    if "HARNESS_CACHE" not in os.environ:
        cache = tempfile.mkdtemp(prefix="harness-tests-")
        os.environ["HARNESS_CACHE"] = cache
        config.add_cleanup(lambda: _remove_cache(cache))


def _remove_cache(cache: str) -> None:
    del os.environ["HARNESS_CACHE"]
    shutil.rmtree(cache, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests of Ray, browsers and long folders as ``full``.

    ``slow`` excludes ``full``; ``default`` keeps a test of such a folder in the default tier.
    """
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        costly = folder in FULL_FOLDERS or any(item.get_closest_marker(name) for name in ("ray", "browser"))
        if costly and not any(item.get_closest_marker(name) for name in ("slow", "default")):
            item.add_marker("full")


SYNTHETIC = """
suite: tiny
title: A suite whose truth is known
seeds: {min: 3, max: 12}
arms:
  base: {role: baseline, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: base}}
  better: {role: method, optimizer: {name: sgd, lr: 0.1}, set: {noise_key: better, effect: 3.0}}
benchmarks:
  known:
    define:
      benchmark: known
      title: Known truth
      task: synthetic
      metrics: {score: {unit: points, better: higher}}
      mini:
        data: {name: nothing}
        model: {name: scalar}
        recipe: {steps: 20, own_sd: 0.3}
facts:
  - id: tiny-better
    suite: tiny
    benchmark: known
    metric: score
    unit: points
    better: higher
    method: better
    baseline: base
    published: {method: 53, baseline: 50, difference: 3}
    kind: difference
    statement: better is 3 points above base.
claims:
  - {id: tiny-better, benchmarks: [known], arm: better, against: [base], primary: true}
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    """A valid suite of two arms on the synthetic task."""
    return dedent(SYNTHETIC).lstrip()


@pytest.fixture
def tiny(tmp_path: Path, tiny_text: str) -> Path:
    """The suite as a file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(tiny_text, encoding="utf-8")
    return path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Path of a test's own database."""
    return tmp_path / "results" / "harness.duckdb"


def run_inline(*arguments: object) -> None:
    """Call a command that runs trials, in this process, without a report."""
    from harness.cli.group import run_main

    inline = ["--executor", "inline", "--quiet"]
    if arguments[0] == "run":
        inline.append("--no-report")
    assert run_main([*map(str, arguments), *inline]) == 0


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """A folder with ``tiny.yaml`` and the store of one run of it; tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(tiny_text, encoding="utf-8")
    run_inline("run", folder / "tiny.yaml", "--db", folder / "results" / "harness.duckdb")
    return folder


@pytest.fixture
def ran(finished: Path, tiny: Path, database: Path) -> Path:
    """Copy the suite and a database with one run."""
    shutil.copytree(finished / "results", database.parent)
    return tiny


@pytest.fixture(scope="session")
def mixed_store(tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Path:
    """A database of two recipes, two scales, a sweep and a namesake."""
    folder = tmp_path_factory.mktemp("mixed")
    tiny, other, database = folder / "tiny.yaml", folder / "other.yaml", folder / "results" / "harness.duckdb"
    tiny.write_text(tiny_text)
    text = tiny_text.replace("suite: tiny", "suite: other").replace("tiny-better", "other-better")
    other.write_text(text.replace("own_sd: 0.3}", "own_sd: 0.3, level: 90}"))
    at = ("--db", database)
    run_inline("run", tiny, "--set", "level=10", "--seeds", 1, *at)
    run_inline("run", tiny, *at)
    run_inline("sweep", tiny, "--benchmark", "known", "--budget", 2, *at)
    run_inline("run", other, *at)
    run_inline("run", tiny, "--scale", "smoke", *at)
    return database


@pytest.fixture(autouse=True)
def _own_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests from writing into the results of the working folder."""
    monkeypatch.setenv("HARNESS_DB", str(tmp_path / "results" / "harness.duckdb"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Compute on one thread, whatever a test before this one set."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


Harness = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """The command line as a user calls it: ``harness("run", "tiny.yaml")`` in another process.

    ``fresh=True`` starts a new interpreter instead of forking from one that has imported the libraries.
    """

    def call(
        *arguments: object, timeout: float = 240, fresh: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["harness", *map(str, arguments)]
        variables = {**os.environ, **environment}
        if not fresh:
            return warm_process.call(command, tmp_path, variables, timeout)
        command = [sys.executable, "-m", *command]
        return subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Harness:
    """The command line in this process, in the folder of the test: ``command("plan", "tiny.yaml")``."""
    from harness.cli.group import run_main

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        code = run_main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module", autouse=True)
def _restored_registry() -> Iterator[None]:
    """Restore the registry after each file: a process keeps a user's file for good."""
    from harness.registry import index

    before = {kind: dict(added) for kind, added in index._ADDED.items()}
    yield
    for kind, added in before.items():
        index._ADDED[kind].clear()
        index._ADDED[kind].update(added)
