"""The files of a data source: where they are looked for, whether they are there, and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import registry
from harness.data.checksums import identity_of_path
from harness.data.roots import data_root
from harness.errors import MissingDataError


def data_identity(name: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Version and checksums of a data source: what a trial's identity holds beside the source's parameters.

    A user's own folder is identified by its content. A folder of a published set stands for that set: its files' names
    and sizes are enough.
    """
    info = registry.entry("data", name).metadata
    sums = {file: info.sha256.get(file) or _checksum(file) for file in info.files}
    if info.origin == "folder" and parameters is not None:
        sums["path"] = identity_of_path(data_root() / str(parameters.get("path")))
    return {"version": info.version, "sha256": sums}


def require_data(name: str, parameters: Mapping[str, Any] | None = None) -> None:
    """Raise where a file of a data source is missing.

    Raises:
        MissingDataError: naming the source, the path where it is looked for, and the command that gets it.
    """
    info = registry.entry("data", name).metadata
    if info.origin == "folder" and parameters is not None:
        own = data_root() / str(parameters.get("path"))
        if not own.exists():
            raise MissingDataError(f"the layout '{name}' is pointed at {own}, which does not exist")
    for file in info.files:
        path = file_of(file)
        if path is None or not path.exists():
            raise MissingDataError(
                f"the data source '{name}' is missing: {path or file} does not exist; get it with 'harness data fetch "
                f"{name}' or point HARNESS_DATA at the folder that has it"
            )


def model_files(name: str, parameters: Mapping[str, Any]) -> dict[str, Path]:
    """The user's own files that a model starts from, by the option that names them; they need not be there."""
    files = registry.entry("model", name).metadata.files
    return {option: data_root() / str(parameters[option]) for option in files if parameters.get(option)}


def model_identity(name: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """sha256 of each file that a model starts from, as the option that holds it: ``weights_sha256`` of ``weights``.

    One that is given stays as it is: the model refuses a file of another content.
    """
    files = {f"{option}_sha256": path for option, path in model_files(name, parameters).items()}
    return {option: str(parameters.get(option) or identity_of_path(path)) for option, path in files.items()}


def require_model_files(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise where a file that a model starts from is missing.

    Raises:
        MissingDataError: naming the model, the option and the path where the file is looked for.
    """
    for option, path in model_files(name, parameters).items():
        if not path.is_file():
            raise MissingDataError(f"the model '{name}' is pointed at {path} by '{option}', which does not exist")


def is_here(name: str, parameters: Mapping[str, Any] | None = None) -> bool:
    """Whether every file of a data source is there."""
    try:
        require_data(name, parameters)
    except MissingDataError:
        return False
    return True


def weights_file(name: str) -> Path:
    """Where a source of published weights has its file.

    Raises:
        MissingDataError: it is not there.
    """
    require_data(name)
    path = file_of(registry.entry("data", name).metadata.files[0])
    assert path is not None
    return path


def file_of(file: str) -> Path | None:
    """The path of one entry of ``DataMetadata.files``; packages are found without being imported."""
    kind, _, rest = file.partition(":")
    if kind == "data":
        return data_root() / rest
    if kind == "module":
        return source_file(rest)
    top, *inside = rest.split("/")
    spec = find_spec(top)
    roots = (spec.submodule_search_locations if spec is not None else None) or ()
    return next((path for root in roots if (path := Path(root).joinpath(*inside)).exists()), None)


def source_file(module: str) -> Path | None:
    """The source file of a module, found without importing it or running its parents' code."""
    top, *inside = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    if not inside:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    bases = [Path(root).joinpath(*inside) for root in spec.submodule_search_locations or ()]
    files = (file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py"))
    return next((file for file in files if file.is_file()), None)


def _checksum(file: str) -> str:
    path = file_of(file)
    return "missing" if path is None else identity_of_path(path, contents=path.is_file())
