"""Files of data sources and models: paths, presence and identity."""

from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from harness import registry
from harness.data.checksums import identity_of_path
from harness.data.roots import data_root
from harness.errors import MissingDataError
from harness.trial.spec import Part


class DataIdentity(TypedDict):
    """A data source in a trial's content: version, and sha256 by file."""

    version: str
    sha256: dict[str, str]


def data_identity(part: Part) -> DataIdentity:
    """Version and checksums of a data source.

    A user's folder is identified by its content, a folder of a published set by its files' names and sizes.
    """
    info = registry.entry("data", part.name).metadata
    sums = {file: info.sha256.get(file) or _checksum(file) for file in info.files}
    if info.origin == "folder" and "path" in part.values:
        sums["path"] = identity_of_path(data_root() / str(part.values["path"]))
    return {"version": info.version, "sha256": sums}


def require_data(part: Part) -> None:
    """Raise MissingDataError where a file of a data source is missing.

    It names the source, the expected path, and the command that gets the file.
    """
    info = registry.entry("data", part.name).metadata
    if info.origin == "folder" and "path" in part.values:
        own = data_root() / str(part.values["path"])
        if not own.exists():
            raise MissingDataError(f"the layout '{part.name}' is pointed at {own}, which does not exist")
    for file in info.files:
        path = file_of(file)
        if path is None or not path.exists():
            raise MissingDataError(
                f"the data source '{part.name}' is missing: {path or file} does not exist; get it with 'harness data "
                f"fetch {part.name}' or point HARNESS_DATA at the folder that has it"
            )


def _model_files(part: Part) -> dict[str, Path]:
    """The user's files that a model starts from, by option; they may be missing."""
    files = registry.entry("model", part.name).metadata.files
    return {option: data_root() / str(part.values[option]) for option in files if part.values.get(option)}


def model_identity(part: Part) -> dict[str, str]:
    """sha256 of each file that a model starts from: ``weights_sha256`` of ``weights``.

    An existing value stays: the model refuses a file of another content.
    """
    files = {f"{option}_sha256": path for option, path in _model_files(part).items()}
    return {option: str(part.values.get(option) or identity_of_path(path)) for option, path in files.items()}


def require_model_files(part: Part) -> None:
    """Raise MissingDataError where a file that a model starts from is missing."""
    for option, path in _model_files(part).items():
        if not path.is_file():
            raise MissingDataError(f"the model '{part.name}' is pointed at {path} by '{option}', which does not exist")


def is_here(part: Part) -> bool:
    """True where no file of a data source is missing."""
    try:
        require_data(part)
    except MissingDataError:
        return False
    return True


def weights_file(name: str) -> Path:
    """The file of a source of published weights. Raises MissingDataError where it is missing."""
    require_data(Part(name))
    path = file_of(registry.entry("data", name).metadata.files[0])
    assert path is not None
    return path


def file_of(file: str) -> Path | None:
    """The path of an entry of ``DataMetadata.files``; no package is imported."""
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
    """The source file of a module, without importing it or its parents."""
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
