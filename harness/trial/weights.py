"""Products of prerequisites: the weights that a trial leaves for others to start from (a teacher, a backbone)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MissingDataError
from harness.trial.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

FILE = "product.safetensors"


def has_product(folder: Path) -> bool:
    """Whether a trial's product is there."""
    return (folder / FILE).is_file()


def save_product(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write a product; the file appears whole or not at all."""
    from safetensors.torch import save_file

    with replacing(folder / FILE, durable=True) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, str(part))
    return folder / FILE


def load_product(source: Path) -> dict[str, Tensor]:
    """The tensors of a product: a trial's folder, or a ``.safetensors`` or ``.pt`` file of published weights.

    Raises:
        MissingDataError: there is no such file.
    """
    import torch
    from safetensors.torch import load_file

    path = source / FILE if source.is_dir() else source
    if not path.is_file():
        raise MissingDataError(f"no weights at {path}")
    if path.suffix == ".safetensors":
        return load_file(str(path))
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    inner = next((loaded[key] for key in ("state_dict", "model") if isinstance(loaded.get(key), dict)), loaded)
    found: dict[str, Tensor] = inner
    return found
