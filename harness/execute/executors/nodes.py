"""Whether every machine of a cluster is fit for a run, asked of each before anything runs.

A fit node has the data, shares the folder of results (products and checkpoints of one node are read by another), and
has the very code and versions that the trials' identities are made of. A node that joins later, or whose files change,
is caught by each of its trials (:func:`unfit_for`).
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.execute.environment import environment
from harness.execute.worker import Job

PACKAGES = ("harness", "methods", "suites")
SHARED_VERSIONS = ("torch", "torchvision", "numpy")
PATIENCE_SECONDS = 120.0
"""For every node to start a worker, import and answer."""


@cache
def code_digest() -> str:
    """sha256 over the Python files of the three packages that trials are made of, as they lie on this machine."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        found = util.find_spec(package)
        for root in (found.submodule_search_locations or []) if found is not None else []:
            for file in sorted(Path(root).rglob("*.py")):
                digest.update(f"{package}/{file.relative_to(root).as_posix()}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def traits(data: str, token: str) -> dict[str, Any]:
    """What a node has; ``token``: a file that the owner wrote beside its results."""
    versions = environment()["packages"]
    folder = Path(data)
    return {
        "the data": sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else None,
        "the results": Path(token).read_text(encoding="utf-8") if Path(token).is_file() else None,
        "code": code_digest(),
        "python": environment()["python"].rpartition(".")[0],
        **{name: versions.get(name, "none") for name in SHARED_VERSIONS},
    }


def check_nodes(ray: Any, state: Path, data: Path) -> None:
    """Ask every living node of a cluster.

    Raises:
        HarnessError: a node lacks something or has something else, one line for each.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    state.mkdir(parents=True, exist_ok=True)
    token = (state / f"shared-{secrets.token_hex(4)}").absolute()
    token.write_text(secrets.token_hex(16), encoding="utf-8")
    ask = ray.remote(num_cpus=0, max_retries=0)(traits)
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    try:
        own = traits(str(data), str(token))
        asked = {
            ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)).remote(
                str(data), str(token)
            ): host
            for name, host in nodes.items()
        }
        ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=PATIENCE_SECONDS)
        problems = [f"{asked[one]} does not answer within {PATIENCE_SECONDS:g} s" for one in late]
        for one in ready:
            problems += _differences(asked[one], own, _answer(ray, one), data, state)
    finally:
        token.unlink(missing_ok=True)
    if problems:
        raise HarnessError("the cluster cannot run this:\n" + "\n".join(f"  {problem}" for problem in problems))


def _answer(ray: Any, asked: Any) -> dict[str, Any] | str:
    try:
        answer: dict[str, Any] = ray.get(asked)
        return answer
    except Exception as error:  # whatever keeps a node from importing the harness
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _differences(host: str, own: dict[str, Any], there: dict[str, Any] | str, data: Path, state: Path) -> list[str]:
    if isinstance(there, str):
        return [f"{host}: the harness does not start there: {there}"]
    told = []
    if own["the data"] is not None and there["the data"] is None:
        told.append(f"{host}: HARNESS_DATA {data} is not there; put the data under the same path on every node")
    elif own["the data"] != there["the data"]:
        told.append(f"{host}: HARNESS_DATA {data} has other folders than here")
    if there["the results"] != own["the results"]:
        told.append(
            f"{host}: the folder of results {state.parent.absolute()} is not shared; weights of one node would "
            f"not be found by another"
        )
    if there["code"] != own["code"]:
        told.append(f"{host}: its harness, methods or suites are other code than here; install the same version on it")
    for name in ("python", *SHARED_VERSIONS):
        if there[name] != own[name]:
            told.append(f"{host}: {name} {there[name]}, here {own[name]}")
    return told


def unfit_for(job: Job) -> str | None:
    """Why this machine must not run a trial: its code is other code than the trial's identity is made of."""
    from harness.plan.fingerprint import fingerprint, roots_of

    if not job.code:
        return None
    here = fingerprint(roots_of(job.spec))
    if here != job.code:
        return f"this node has other code than the run's machine ({here[:12]} against {job.code[:12]})"
    return None
