"""Checkpoints of a running trial: written whole or not at all, read back without unpickling objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.trial.files import replacing

FILE = "checkpoint.pt"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: tensors and plain data only."""
    import torch

    with replacing(folder / FILE, durable=True) as part:
        torch.save(dict(state), part)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint, or None where there is none that can be read (a damaged one is as good as none)."""
    import torch

    path = folder / FILE
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        path.rename(path.with_suffix(".damaged"))
        print(f"{path} cannot be read ({error}); the trial begins again", flush=True)
        return None
    return state


def drop_checkpoint(folder: Path) -> None:
    """The trial has ended: what it would go on from is of no use."""
    (folder / FILE).unlink(missing_ok=True)
