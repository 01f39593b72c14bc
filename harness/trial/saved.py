"""Files of a trial's networks: checkpoints to continue from, and trained weights for dependants.

Files appear whole or not at all, and are read without unpickling objects.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MissingDataError
from harness.trial.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "checkpoint.pt"
PRODUCT = "product.safetensors"
State = dict[str, Any]
"""A checkpoint: tensors and plain data by name."""
_CHECKSUM = "checksum"
_hash = partial(hashlib.blake2b, digest_size=32)


_SEAL = b"harness1"
_DIGEST = 32


def save_checkpoint(folder: Path, state: State) -> None:
    """Write a checkpoint of tensors and plain data, followed by a checksum."""
    import torch

    with replacing(folder / CHECKPOINT, durable=True) as part:
        torch.save(dict(state), part)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, _hash).digest()
        with part.open("ab") as file:
            file.write(_SEAL + digest)


def load_checkpoint(folder: Path) -> State | None:
    """Return the last checkpoint; None where there is none, or only a damaged one."""
    import torch

    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        content = memoryview(path.read_bytes())
        end = len(content) - len(_SEAL) - _DIGEST
        body, seal, digest = content[: max(0, end)], content[max(0, end) : -_DIGEST], content[-_DIGEST:]
        if seal != _SEAL or _hash(body).digest() != digest:
            raise ValueError("its checksum does not fit")
        state: State = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes its reader say
        path.rename(path.with_suffix(".damaged"))
        print(f"{path} cannot be read ({error}); the trial begins again", flush=True)
        return None
    return state


def drop_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a trial that has ended."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def has_trained_weights(folder: Path) -> bool:
    """True if a trial's trained weights are in its folder."""
    return (folder / PRODUCT).is_file()


def save_trained_weights(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write trained weights with their checksum."""
    from safetensors.torch import save_file

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(folder / PRODUCT, durable=True) as part:
        save_file(kept, str(part), metadata={_CHECKSUM: _checksum(kept)})
    return folder / PRODUCT


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    import torch

    digest = _hash()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_trained_weights(source: Path) -> dict[str, Tensor]:
    """Return the tensors of a trial's folder, or of published weights.

    Raises:
        MissingDataError: the file is missing, or a trial's weights are damaged.
    """
    import torch
    from safetensors.torch import load_file

    path = source / PRODUCT if source.is_dir() else source
    if not path.is_file():
        raise MissingDataError(f"no weights at {path}")
    if source.is_dir():
        return _verified(path)
    if path.suffix == ".safetensors":
        return load_file(str(path))
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    inner = next((loaded[key] for key in ("state_dict", "model") if isinstance(loaded.get(key), dict)), loaded)
    weights: dict[str, Tensor] = inner
    return weights


def _verified(path: Path) -> dict[str, Tensor]:
    """Read a trial's weights; a damaged file is set aside, so that the next run writes another."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), "pt") as file:
            noted = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        # Weights of earlier versions have no checksum.
        if noted and noted.get(_CHECKSUM) != _checksum(tensors):
            raise ValueError("its checksum does not fit")
    except (SafetensorError, ValueError, OSError) as error:
        aside = path.with_suffix(".damaged")
        path.rename(aside)
        message = f"{path} is damaged ({error}); it is kept as {aside.name}: run again to train it again"
        raise MissingDataError(message) from error
    return tensors
