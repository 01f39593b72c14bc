"""Methods, data, models and tasks of a user's files."""

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
    """A part of a user's file, as it travels to workers.

    ``slot`` and ``family`` are those of a method; a part with metadata has neither.
    """

    name: str
    file: Path
    target: str
    slot: Slot | Literal[""] = ""
    family: str = ""
    kind: Kind = "method"


def register(method: UserMethod) -> None:
    """Register a user's part in this process."""
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
    """Return a class or function of a file; an error lists the names that it has."""
    module = load_file(file)
    part = getattr(module, target, None)
    if part is None:
        parts = {name: each for name, each in vars(module).items() if inspect.isclass(each) or inspect.isfunction(each)}
        own = [name for name, each in parts.items() if each.__module__ == module.__name__]
        raise HarnessError(f"{file} has no '{target}'; {choices(own, target)}")
    return part


def user_method(file: Path, target: str, slot: Slot) -> UserMethod:
    """Describe a class of a file that fills a slot; an optimizer must be torch's."""
    part = found_in(file, target)
    family = "own"
    if slot == "optimizer":
        import torch

        if not (inspect.isclass(part) and issubclass(part, torch.optim.Optimizer)):
            raise HarnessError(f"{file}: '{target}' is not a torch.optim.Optimizer, which the slot 'optimizer' takes")
        family = "adam" if "betas" in inspect.signature(part).parameters else "sgd"
    return UserMethod(f"{target} ({file.name})", file, target, slot, family)


def user_part(file: Path, kind: Kind) -> UserMethod:
    """Describe a file's data source, model or task by its metadata."""
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
