"""Checks of this machine, each with its result and advice."""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.data.locate import is_here
from harness.data.roots import data_root
from harness.errors import HarnessError
from harness.execute.environment import environment, package_versions
from harness.store import Writer, open_reader
from harness.trial.spec import Part


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; ``needed`` is False where only some runs need it."""

    what: str
    works: bool
    detail: str
    needed: bool = True


def examine(database: Path, with_ray: bool = True) -> list[Finding]:
    """Run every check, one after another; nothing is raised."""
    here = environment()
    tried = [
        Finding("python", sys.version_info >= (3, 11), f"{here['python']} on {here['platform']}"),
        Finding("machine", True, f"{here['cpu']}, {here['cores']} cores, {here['memory_gb']} GiB"),
        Finding("packages", True, ", ".join(f"{name} {version}" for name, version in package_versions().items())),
        _try("torch", _torch),
        _try("database", lambda: _database(database)),
        _data(),
    ]
    return [*tried, _try("ray", _ray)] if with_ray else tried


def _try(what: str, tried: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, tried())
    except Exception as error:
        kind = "" if isinstance(error, HarnessError) else f"{type(error).__name__}: "
        return Finding(what, False, f"{kind}{error}")


def _torch() -> str:
    import torch
    import torchvision

    pair = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    if torch.cuda.is_available():
        return f"{pair}, {torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    return f"{pair}, no GPU: trials run on the CPU"


def _database(database: Path) -> str:
    if not database.exists():
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder) / "try.duckdb"
            with Writer(trial):
                pass
            with open_reader(trial) as reader:
                reader.query("SELECT count(*) FROM trials")
        return f"{database} does not exist yet; a new one can be written and read"
    with open_reader(database) as reader:
        trials, runs = reader.query("SELECT (SELECT count(*) FROM trials), (SELECT count(*) FROM runs)").rows[0]
    return f"{database}: {runs} runs, {trials} trials"


def _data() -> Finding:
    here = registry.entries("data")
    missing = [name for name in here if not is_here(Part(name))]
    detail = f"{len(here) - len(missing)} of {len(here)} sources are here (HARNESS_DATA: {data_root()})"
    if missing:
        detail += f"; missing: {', '.join(missing)}; 'harness data fetch NAME' gets one"
    return Finding("data", not missing, detail, needed=False)


def _ray() -> str:
    from harness.execute.executors import ExecutorOptions, RayExecutor

    with tempfile.TemporaryDirectory() as folder:
        executor = RayExecutor(ExecutorOptions(Path(folder)))
        try:
            import ray

            answer = ray.get(ray.remote(num_cpus=1)(lambda: sum(range(10))).remote(), timeout=120)
            resources = ray.cluster_resources()
        finally:
            executor.shutdown()
    if answer != 45:
        raise HarnessError("a Ray task returned a wrong answer")
    return f"a task ran; {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
