"""Methods from files of a user, made known to this process."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

from harness import registry
from harness.registry.index import declared_by, load_file
from harness.registry.shipped import METHOD_CARDS


@dataclass(frozen=True, slots=True)
class UserMethod:
    """A class of a user's file that fills a slot (``--arm mine=./my.py:MyAdam``), as it travels to workers."""

    name: str
    file: Path
    target: str
    slot: str
    family: str


def register(method: UserMethod) -> None:
    """Make a user's method known to the registry of this process."""
    target = getattr(load_file(method.file), method.target)
    parameters = list(inspect.signature(target).parameters.values())[1:]
    named = {p.name: p.default for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    defaults = {name: default for name, default in named.items() if default is not inspect.Parameter.empty}
    card = importlib.import_module(METHOD_CARDS).MethodCard(
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
    registry.add(registry.Entry("method", method.name, str(method.file), card, declared_by("method", card)))
