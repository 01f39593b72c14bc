"""Check that every node of a cluster can run the trials: same data, results, code and versions.

Each trial checks its code again (:func:`unfit_for`), since nodes join later and files change.
"""

import hashlib
import platform
import secrets
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.execute.environment import package_versions
from harness.execute.worker import Job

PACKAGES = ("harness", "methods", "suites")
SHARED_VERSIONS = ("torch", "torchvision", "numpy")
PATIENCE_SECONDS = 120.0
"""For every node to start a worker, import and answer."""


@dataclass(frozen=True, slots=True)
class NodeTraits:
    """Properties in which nodes must agree; ``token``: the content of a file beside the results."""

    folders: tuple[str, ...] | None
    token: str | None
    code: str
    versions: dict[str, str]


@cache
def code_digest() -> str:
    """Digest (sha256) of the Python files that trials are made of."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec is not None else []:
            for file in sorted(Path(root).rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(root).as_posix()}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def traits(data: str, token: str) -> NodeTraits:
    """Return the properties of this node; ``token``: a file that the command wrote beside its results."""
    installed, folder = package_versions(), Path(data)
    return NodeTraits(
        tuple(sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else None,
        Path(token).read_text(encoding="utf-8") if Path(token).is_file() else None,
        code_digest(),
        {
            "python": platform.python_version().rpartition(".")[0],
            **{name: installed.get(name, "none") for name in SHARED_VERSIONS},
        },
    )


def check_nodes(ray: Any, state: Path, data: Path) -> None:
    """Compare every living node of a cluster with this one.

    Raises:
        HarnessError: a node differs, one line for each difference.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    state.mkdir(parents=True, exist_ok=True)
    token = (state / f"shared-{secrets.token_hex(4)}").absolute()
    token.write_text(secrets.token_hex(16), encoding="utf-8")
    task = ray.remote(num_cpus=0, max_retries=0)(traits)
    hosts = {}
    try:
        own = traits(str(data), str(token))
        for node in ray.nodes():
            if node["Alive"]:
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                answer = task.options(scheduling_strategy=strategy).remote(str(data), str(token))
                hosts[answer] = node["NodeManagerHostname"]
        ready, late = ray.wait(list(hosts), num_returns=len(hosts), timeout=PATIENCE_SECONDS)
        problems = [f"{hosts[answer]} does not answer within {PATIENCE_SECONDS:g} s" for answer in late]
        for answer in ready:
            problems += _differences(hosts[answer], own, _answer(ray, answer), data, state)
    finally:
        token.unlink(missing_ok=True)
    if problems:
        raise HarnessError("the cluster cannot run this:\n" + "\n".join(f"  {problem}" for problem in problems))


def _answer(ray: Any, reference: Any) -> NodeTraits | str:
    try:
        answer: NodeTraits = ray.get(reference)
        return answer
    except Exception as error:  # anything that keeps a node from importing the harness
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _differences(host: str, own: NodeTraits, there: NodeTraits | str, data: Path, state: Path) -> list[str]:
    if isinstance(there, str):
        return [f"{host}: the harness does not start there: {there}"]
    lines = []
    if own.folders is not None and there.folders is None:
        lines.append(f"{host}: HARNESS_DATA {data} is not there; put the data under the same path on every node")
    elif own.folders != there.folders:
        lines.append(f"{host}: HARNESS_DATA {data} has other folders than here")
    if there.token != own.token:
        lines.append(
            f"{host}: the folder of results {state.parent.absolute()} is not shared; another node would not find "
            f"weights of this one"
        )
    if there.code != own.code:
        lines.append(f"{host}: its harness, methods or suites differ from here; install the same version on it")
    for name, version in own.versions.items():
        if there.versions[name] != version:
            lines.append(f"{host}: {name} {there.versions[name]}, here {version}")
    return lines


def unfit_for(job: Job) -> str | None:
    """Return the reason why this node must not run a trial: its code differs from the trial's; or None."""
    from harness.plan.fingerprint import fingerprint, roots_of

    if not job.code:
        return None
    here = fingerprint(roots_of(job.spec))
    if here != job.code:
        return f"this node has other code than the run's machine ({here[:12]} against {job.code[:12]})"
    return None
