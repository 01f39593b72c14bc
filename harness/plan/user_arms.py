"""An arm from a user's file: ``--arm mine=./my.py:MyAdam``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, choices
from harness.registry.index import load_file
from harness.registry.user_methods import UserMethod, register
from harness.suite.models import Arm


def user_arm(text: str) -> tuple[str, Arm, UserMethod]:
    """Parse ``NAME=FILE.py:CLASS``: the arm's name, the arm, and the method as workers register it again.

    Raises:
        HarnessError: the file, the class or its slot cannot be found.
    """
    name, equals, where = text.partition("=")
    file, colon, target = where.rpartition(":")
    if not (name and equals and colon and file and target):
        raise HarnessError(f"--arm '{text}': NAME or NAME=FILE.py:CLASS is expected, as in mine=./my.py:MyAdam")
    path = Path(file).resolve()
    if not path.is_file():
        raise HarnessError(f"--arm '{text}': no file {path}")
    found = getattr(load_file(path), target, None)
    if found is None:
        names = [n for n, v in vars(load_file(path)).items() if inspect.isclass(v)]
        raise HarnessError(f"--arm '{text}': {path} has no '{target}'; {choices(names, target)}")
    slot, family = _slot(found)
    method = UserMethod(f"{name} ({target})", path, target, slot, family)
    register(method)
    arm = Arm.model_validate({"role": "method", "about": f"{target} of {path.name}", slot: method.name})
    return name, arm, method


def _slot(found: Any) -> tuple[str, str]:
    """The slot and family by base class: an optimizer with ``betas`` shares Adam's hyper-parameters."""
    import torch

    if inspect.isclass(found) and issubclass(found, torch.optim.Optimizer):
        takes = inspect.signature(found).parameters
        return "optimizer", "adam" if "betas" in takes else "sgd"
    raise HarnessError(f"'{getattr(found, '__name__', found)}' is not a torch.optim.Optimizer; register other kinds of "
                       f"methods by an entry point (CONTRIBUTING.md)")  # fmt: skip
