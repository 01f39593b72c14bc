"""Parts from files of a user, made known to this process: methods, data, models and tasks that no package brings."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import registry
from harness.base.metadata import MethodMetadata, Slot
from harness.errors import HarnessError, choices
from harness.registry.index import load_file
from harness.registry.metadata import declared_by, metadata_class, metadata_in
from harness.vocabulary import Kind


@dataclass(frozen=True, slots=True)
class UserMethod:
    """A class or function of a user's file, as it travels to workers.

    Attributes:
        name: under which it is known.
        slot: of a method, with its family; what has a metadata record of its own has neither.
    """

    name: str
    file: Path
    target: str
    slot: Slot | Literal[""] = ""
    family: str = ""
    kind: Kind = "method"


def register(method: UserMethod) -> None:
    """Make a user's part known to the registry of this process.

    Raises:
        HarnessError: the file does not run, or has no such class.
    """
    if not method.slot:
        metadata = _metadata_record(method.file, method.kind, method.name)
        registry.add(
            registry.Entry(method.kind, method.name, str(method.file), metadata, declared_by(method.kind, metadata))
        )
        return
    target = found_in(method.file, method.target)
    parameters = list(inspect.signature(target).parameters.values())[1 if inspect.isclass(target) else 0 :]
    if method.slot == "norm" and parameters:
        parameters = parameters[1:]  # the width is the network's
    named = {p.name: p.default for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    defaults = {name: default for name, default in named.items() if default is not inspect.Parameter.empty}
    metadata = MethodMetadata(
        name=method.name,
        title=method.target,
        slot=method.slot,
        role="method",
        family=method.family,
        paper="",
        target=method.target,
        summary=f"{method.target} from {method.file.name}",
        defaults=defaults,
        required=tuple(name for name in named if name not in defaults),
    )
    registry.add(registry.Entry("method", method.name, str(method.file), metadata, declared_by("method", metadata)))


def found_in(file: Path, target: str) -> Any:
    """A class or function of a file.

    Raises:
        HarnessError: the file does not run, or has none of that name; the message lists those that it has.
    """
    module = load_file(file)
    result = getattr(module, target, None)
    if result is None:
        parts = {name: item for name, item in vars(module).items() if inspect.isclass(item) or inspect.isfunction(item)}
        own = [name for name, item in parts.items() if item.__module__ == module.__name__]
        raise HarnessError(f"{file} has no '{target}'; {choices(own, target)}")
    return result


def user_method(file: Path, target: str, slot: Slot) -> UserMethod:
    """A class of a file that fills a slot; one with a metadata record is what its metadata says.

    Raises:
        HarnessError: the file or the class is not there, or it is no optimizer where one is needed.
    """
    result = found_in(file, target)
    family = "own"
    if slot == "optimizer":
        import torch

        if not (inspect.isclass(result) and issubclass(result, torch.optim.Optimizer)):
            raise HarnessError(f"{file}: '{target}' is not a torch.optim.Optimizer, which the slot 'optimizer' takes")
        family = "adam" if "betas" in inspect.signature(result).parameters else "sgd"
    return UserMethod(f"{target} ({file.name})", file, target, slot, family)


def user_part(file: Path, kind: Kind) -> UserMethod:
    """The data source, model or task of a file, which has a metadata record.

    Raises:
        HarnessError: it has no metadata of that kind.
    """
    metadata = _metadata_record(file, kind, None)
    return UserMethod(metadata.name, file, metadata.target, kind=kind)


def _metadata_record(file: Path, kind: Kind, name: str | None) -> Any:
    module = load_file(file)
    of_kind = [metadata for metadata in metadata_in(module) if isinstance(metadata, metadata_class(kind))]
    named = [metadata for metadata in of_kind if name is None or metadata.name == name]
    if not named:
        wanted = metadata_class(kind).__name__
        raise HarnessError(
            f"{file} has no metadata: it needs 'METADATA = {wanted}(name=…, target=…, …)' (CONTRIBUTING.md)"
        )
    return named[0]
