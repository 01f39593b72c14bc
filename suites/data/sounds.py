"""Recordings: types of audio sources, and decoding of files to one rate and length."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.trial.options import option
from suites.data.types import Labels

Waves = npt.NDArray[np.float32]
SUFFIXES = (".wav", ".ogg", ".flac", ".mp3")


@dataclass(frozen=True, slots=True, kw_only=True)
class RateOptions:
    """Options of resampled recordings."""

    rate: int = option(16000, "samples a second, resampled", low=1000)


@dataclass(frozen=True, slots=True)
class SoundFiles:
    """Recordings in files, decoded on reading.

    Attributes:
        paths: one file an item.
        rate: requested samples a second.
    """

    paths: tuple[Path, ...]
    rate: int

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, place: int) -> Waves:
        """Read one recording (T,) at the requested rate, in full."""
        path = self.paths[place]
        return decode(path.read_bytes(), self.rate, str(path))


@dataclass(frozen=True, slots=True)
class SoundSplit:
    """Recordings of one split.

    Attributes:
        waves: (N, T) in −1 to 1, or files.
        targets: (N,) class numbers, or (N, C) zeros and ones for several tags.
        items: (N,) number of each item in the whole source.
    """

    waves: Waves | SoundFiles
    targets: Labels
    items: Labels

    def __post_init__(self) -> None:
        if not len(self.waves) == len(self.targets) == len(self.items):
            raise ValueError(
                f"a split has {len(self.waves)} recordings, {len(self.targets)} targets and {len(self.items)} numbers"
            )

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, slots=True)
class Sounds:
    """Labelled recordings by split: ``train``, ``test``, perhaps ``validation``.

    Attributes:
        splits: by name.
        classes: names of the classes or tags, in the order of the targets.
        rate: samples a second.
    """

    splits: Mapping[str, SoundSplit]
    classes: tuple[str, ...]
    rate: int

    @property
    def tags(self) -> bool:
        """True if several labels may apply at once."""
        return self.splits["train"].targets.ndim == 2


def decode(content: bytes, rate: int, where: str) -> Waves:
    """Decode a recording's samples (T,), averaging channels and resampling to ``rate``.

    Raises:
        HarnessError: libsndfile cannot read the recording, or it is empty.
    """
    try:
        import soundfile  # type: ignore[import-untyped]
    except ImportError as error:
        raise HarnessError(f"{where}: recordings need soundfile: pip install 'paper-harness[paper]'") from error
    try:
        samples, own = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise HarnessError(f"{where} is not a recording that can be decoded: {error}") from error
    if not len(samples):
        raise HarnessError(f"{where} has no samples")
    mono = samples.mean(axis=1)
    if own == rate:
        return mono
    from scipy.signal import resample_poly

    common = gcd(own, rate)
    return resample_poly(mono, rate // common, own // common).astype(np.float32)


def fitted(wave: Waves, length: int) -> Waves:
    """Cut both ends evenly, or pad both with zeros, to ``length`` samples."""
    if len(wave) >= length:
        first = (len(wave) - length) // 2
        return wave[first : first + length]
    before = (length - len(wave)) // 2
    return np.pad(wave, (before, length - len(wave) - before))
