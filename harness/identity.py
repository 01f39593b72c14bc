"""The identity of a trial: sha256 of its complete content, and of the code that computes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import registry
from harness.errors import MissingDataError
from harness.fingerprint import fingerprint
from harness.manifests import identity_of_path
from harness.paths import data_root


def canonical(value: Any) -> str:
    """JSON with sorted keys and the shortest form of every number: one text for one content."""
    return json.dumps(_number(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True)


def _number(value: Any) -> Any:
    """1 and 1.0 are one hyper-parameter value; a tuple and a list are one list."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_number(item) for item in value]
    return value


def sha256_of(value: Any) -> str:
    """sha256 of the canonical form."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def trial_id(spec_id: str, code: str) -> str:
    """The identity of a trial: content and code together."""
    return hashlib.sha256(f"{spec_id}/{code}".encode()).hexdigest()


def roots(spec: Mapping[str, Any]) -> Iterator[str]:
    """The modules that a trial's numbers come from: methods, task, data source, models."""
    for method in methods_of(spec["slots"]):
        yield registry.entry("method", method).module
    yield registry.entry("task", spec["task"]).module
    yield registry.entry("data", spec["data"]["name"]).module
    yield registry.entry("model", spec["model"]["name"]).module
    for other in (spec.get("reference"), *spec.get("prerequisites", {}).values()):
        if other is not None and other["model"]:  # published weights are read by name: no model is built for them
            yield registry.entry("model", other["model"]["name"]).module
            yield from (registry.entry("method", name).module for name in methods_of(other.get("slots", {})))


def methods_of(slots: Mapping[str, Any]) -> Iterator[str]:
    """The names of the methods in filled slots, one per place where a slot is given per place."""
    for filled in slots.values():
        for one in [filled] if "name" in filled else filled.values():
            yield str(one["name"])


def code_of(spec: Mapping[str, Any]) -> str:
    """The fingerprint of a trial's code."""
    return fingerprint(roots(spec))


def data_identity(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Version and checksums of a data source: what a trial's identity holds beside the source's parameters.

    A user's own folder is identified by its content. A folder of a published set stands for that set: its files' names
    and sizes are enough.
    """
    info = registry.entry("data", name).info
    sums = {file: info["sha256"].get(file) or _checksum(file) for file in info["files"]}
    if info["origin"] == "folder" and parameters is not None:
        sums["path"] = identity_of_path(data_root() / str(parameters.get("path")))
    return {"version": info["version"], "sha256": sums}


def require_data(name: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Raise where a file of a data source is missing.

    Raises:
        MissingDataError: naming the source, the path where it is looked for, and the command that gets it.
    """
    info = registry.entry("data", name).info
    if info["origin"] == "folder" and parameters is not None:
        own = data_root() / str(parameters.get("path"))
        if not own.exists():
            raise MissingDataError(f"the layout '{name}' is pointed at {own}, which does not exist")
    for file in info["files"]:
        path = file_of(file)
        if path is None or not path.exists():
            where = path or file
            raise MissingDataError(
                f"the data source '{name}' is missing: {where} does not exist; get it with 'harness data fetch {name}' "
                f"or point HARNESS_DATA at the folder that has it"
            )


def weights_file(name: str) -> Path:
    """Where a source of published weights has its file.

    Raises:
        MissingDataError: it is not there.
    """
    require_data(name)
    path = file_of(registry.entry("data", name).info["files"][0])
    assert path is not None
    return path


def file_of(file: str) -> Path | None:
    """The path of one entry of ``DataInfo.files``; packages are found without being imported."""
    kind, _, rest = file.partition(":")
    if kind == "data":
        return data_root() / rest
    top, *inside = rest.split("." if kind == "module" else "/")
    spec = find_spec(top)
    if spec is None:
        return None
    if kind == "module" and not inside:
        return Path(spec.origin) if spec.origin else None
    for root in spec.submodule_search_locations or ():
        path = Path(root).joinpath(*inside)
        path = path.with_suffix(".py") if kind == "module" else path
        if path.exists():
            return path
    return None


def _checksum(file: str) -> str:
    path = file_of(file)
    return "missing" if path is None else identity_of_path(path, contents=path.is_file())
