"""Cache of decoded arrays in the user's cache folder: files that are mapped into memory."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from harness.data import checksums
from harness.data.roots import cache_root
from harness.errors import HarnessError
from suites.data.types import Array


def checksum(path: Path) -> str:
    """sha256 of a file; of a folder, of its files' paths and states (sizes, times, inodes)."""
    if path.is_dir():
        listed = sorted(file for file in path.rglob("*") if file.is_file())
        lines = [f"{file.relative_to(path)} {checksums.state_of(file)}" for file in listed]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return checksums.checksum(path)


def cached(parts: tuple[str, ...], names: tuple[str, ...], make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
    """Return the arrays of ``make``, memory-mapped from the cache.

    Args:
        parts: all dependencies of the arrays: checksums, the reader and its version, parameters.
        names: names of the arrays.
        make: computes the arrays by name, if the cache lacks them.

    Raises:
        HarnessError: the cache folder cannot be written.
    """
    digest = hashlib.sha256("\n".join((*parts, *names)).encode()).hexdigest()[:32]
    folder = cache_root() / "decoded" / digest
    stored = _read(folder, names)
    if stored is not None:
        return stored
    arrays = make()
    try:
        _write(folder, arrays, names)
    except OSError as error:
        raise HarnessError(
            f"the cache {folder.parent} cannot be written: {error}; free space there or set HARNESS_CACHE to a folder"
        ) from error
    return _read(folder, names) or dict(arrays)


def _read(folder: Path, names: tuple[str, ...]) -> dict[str, Array] | None:
    """Read the arrays of a folder; None if any is missing or damaged."""
    try:
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError, EOFError):
        return None


def _write(folder: Path, arrays: Mapping[str, Array], names: tuple[str, ...]) -> None:
    """Write to a temporary folder, then rename: readers see all arrays or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        for name in names:
            np.save(part / f"{name}.npy", arrays[name], allow_pickle=False)
        if _read(folder, names) is None:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            part.rename(folder)
        except OSError:
            if _read(folder, names) is None:  # else another process has written the same arrays
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
