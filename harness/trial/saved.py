"""What a trial saves of its networks: checkpoints to go on from, and its product for others (a teacher, a backbone).

Files appear whole or not at all, and are read back without unpickling objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDataError
from harness.trial.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "checkpoint.pt"
PRODUCT = "product.safetensors"


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: tensors and plain data only."""
    import torch

    with replacing(folder / CHECKPOINT, durable=True) as part:
        torch.save(dict(state), part)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint, or None where there is none that can be read (a damaged one is as good as none)."""
    import torch

    path = folder / CHECKPOINT
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
    (folder / CHECKPOINT).unlink(missing_ok=True)


def has_product(folder: Path) -> bool:
    """Whether a trial's product is there."""
    return (folder / PRODUCT).is_file()


def save_product(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write a product; the file appears whole or not at all."""
    from safetensors.torch import save_file

    with replacing(folder / PRODUCT, durable=True) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(part))
    return folder / PRODUCT


def load_product(source: Path) -> dict[str, Tensor]:
    """The tensors of a product: a trial's folder, or a ``.safetensors`` or ``.pt`` file of published weights.

    Raises:
        MissingDataError: there is no such file.
    """
    import torch
    from safetensors.torch import load_file

    path = source / PRODUCT if source.is_dir() else source
    if not path.is_file():
        raise MissingDataError(f"no weights at {path}")
    if path.suffix == ".safetensors":
        return load_file(str(path))
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    inner = next((loaded[key] for key in ("state_dict", "model") if isinstance(loaded.get(key), dict)), loaded)
    found: dict[str, Tensor] = inner
    return found
