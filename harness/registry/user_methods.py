"""Methods from files of a user, made known to this process."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import registry
from harness.registry.files import load_file
from harness.registry.index import declared_by
from harness.registry.shipped import METHOD_CARDS


def register(method: Mapping[str, Any]) -> None:
    """Make a user's method known to the registry of this process."""
    found = getattr(load_file(Path(method["file"])), method["target"])
    defaults, required = {}, []
    for parameter in list(inspect.signature(found).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            defaults[parameter.name] = parameter.default
    card = importlib.import_module(METHOD_CARDS).MethodCard(
        name=method["name"],
        title=method["target"],
        slot=method["slot"],
        role="method",
        family=method["family"],
        paper="",
        target=method["target"],
        summary=f"{method['target']} from {Path(method['file']).name}",
        defaults=defaults,
        required=tuple(required),
    )
    registry.add(registry.Entry("method", method["name"], method["file"], card, declared_by("method", card)))
