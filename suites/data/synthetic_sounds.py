"""Synthesised recordings: instruments by overtones, words of two vowels, textures of noise.

Each kind needs the same skill of a network as its real counterpart: which timbres sound together at unknown pitches
(``tones``), which formants follow each other in unknown voices (``words``), which noises of a colour and a rhythm
occur in a mixture (``textures``).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.sounds import Sounds, SoundSplit, Waves
from suites.data.types import Labels

# amplitudes of the overtones 1–6 of each instrument
INSTRUMENTS = np.array(
    [
        (1, 0, 0, 0, 0, 0),
        (1, 0, 1, 0, 1, 0),
        (1, 1, 0.2, 0, 0, 0),
        (0.3, 1, 0.3, 1, 0.3, 1),
        (0.2, 0.3, 1, 1, 0.3, 0.2),
        (1, 0.7, 0.5, 0.4, 0.3, 0.25),
    ]
)
FRAMES = 48
# first and second formant in Hz of five vowels (Peterson & Barney 1952, table II, men, rounded)
VOWELS = {"i": (270, 2290), "e": (530, 1840), "a": (730, 1090), "o": (570, 840), "u": (300, 870)}
WORDS = ("ia", "ai", "ua", "au", "eo", "oe", "iu", "ui", "ae", "ou")
# centre in Hz, bandwidth in Hz, beats a second (0: steady) of each texture
NOISES = np.array(
    [(300, 200, 0), (300, 200, 8), (900, 300, 0), (900, 300, 8), (1800, 500, 4), (2800, 700, 0), (2800, 700, 12)]
)


def _tones(targets: Labels, time: Waves, draws: np.random.Generator) -> Waves:
    """Mixtures (N, T) of the active instruments, each with its pitch and loudness."""
    waves = np.zeros((len(targets), time.shape[-1]), dtype=np.float32)
    for instrument, overtones in enumerate(INSTRUMENTS):
        on = targets[:, instrument].nonzero()[0]
        pitch = 110 * 4 ** draws.random(len(on))
        loud = draws.uniform(0.4, 1.0, len(on)) / np.linalg.norm(overtones)
        turns = (2 * np.pi * pitch[:, None] * time).astype(np.float32)
        for number, amplitude in enumerate(overtones, start=1):
            phase = draws.uniform(0, 2 * np.pi, len(on)).astype(np.float32)
            waves[on] += (amplitude * loud)[:, None].astype(np.float32) * np.sin(number * turns + phase[:, None])
    return waves


def _words(targets: Labels, time: Waves, draws: np.random.Generator) -> Waves:
    """Words (N, T): overtones of a voice under two gliding formants.

    The voice is 90–250 Hz. Vocal tract length (formants ±15 %), speed and place in the clip vary from item to item.
    """
    count, length = len(targets), time.shape[-1]
    formants = np.array([[VOWELS[vowel] for vowel in WORDS[word]] for word in targets], dtype=float)
    formants *= draws.uniform(0.85, 1.15, (count, 1, 1))
    pitch = draws.uniform(90, 250, count)
    start, lasts = draws.uniform(0.05, 0.2, count)[:, None], draws.uniform(0.5, 0.75, count)[:, None]
    along = (np.linspace(0, 1, length)[None] - start) / lasts
    loud = ((along > 0) & (along < 1)) * np.sin(np.pi * along.clip(0, 1)) ** 0.5
    # formants move slowly: their gains are computed at a few times and interpolated linearly
    places = np.linspace(0, length - 1, FRAMES)
    lines = np.maximum(0, 1 - np.abs(np.arange(length) - places[:, None]) * (FRAMES - 1) / (length - 1))
    glide = 1 / (1 + np.exp(-12 * ((places / (length - 1) - start) / lasts - 0.5)))
    centres = formants[:, 0, :, None] * (1 - glide[:, None]) + formants[:, 1, :, None] * glide[:, None]
    waves = np.zeros((count, length), dtype=np.float32)
    turns = (2 * np.pi * pitch[:, None] * time).astype(np.float32)
    for number in range(1, 20):
        hertz = (number * pitch)[:, None, None]
        gains = np.exp(-0.5 * ((hertz - centres) / 120) ** 2) * (hertz < 0.45 / (time[1] - time[0]))
        gain = (gains[:, 0] + 0.6 * gains[:, 1]).astype(np.float32) @ lines.astype(np.float32)
        phase = draws.uniform(0, 2 * np.pi, count)[:, None].astype(np.float32)
        waves += gain * np.sin(number * turns + phase)
    return (0.3 * loud * waves).astype(np.float32)


def _textures(targets: Labels, time: Waves, draws: np.random.Generator) -> Waves:
    """Mixtures (N, T) of the active noises, shaped in frequency and beaten."""
    count, length = len(targets), time.shape[-1]
    hertz = np.fft.rfftfreq(length, float(time[1] - time[0]))
    waves = np.zeros((count, length))
    for noise, (centre, width, beat) in enumerate(NOISES):
        on = targets[:, noise].nonzero()[0]
        shape = np.exp(-0.5 * ((hertz[None] - centre * draws.uniform(0.9, 1.1, (len(on), 1))) / width) ** 2)
        sound = np.fft.irfft(np.fft.rfft(draws.standard_normal((len(on), length))) * shape, n=length)
        sound *= draws.uniform(0.4, 1.0, (len(on), 1)) / sound.std(axis=1, keepdims=True).clip(1e-9)
        phase = draws.uniform(0, 2 * np.pi, (len(on), 1))
        waves[on] += 0.3 * sound * (1 + np.sign(np.sin(2 * np.pi * beat * time + phase)) * (beat > 0))
    return waves.astype(np.float32)


Maker = Callable[[Labels, Waves, np.random.Generator], Waves]
KINDS: dict[str, tuple[Maker, tuple[str, ...], bool]] = {
    "tones": (_tones, ("sine", "odd", "octave", "even", "nasal", "string"), True),
    "words": (_words, WORDS, False),
    "textures": (_textures, ("rumble", "beaten-rumble", "hum", "beaten-hum", "rattle", "hiss", "beaten-hiss"), True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSoundsOptions:
    """Options of the data source ``synthetic-sounds``."""

    kind: str = option("tones", "kind of sound", choices=tuple(KINDS))
    train: int = option(400, "training recordings", low=8)
    validation: int = option(100, "validation recordings", low=0)
    test: int = option(400, "test recordings", low=1)
    rate: int = option(8000, "samples a second", low=1000)
    samples: int = option(4096, "samples in a recording", low=256)
    density: float = option(0.25, "probability of each tag", low=0, high=1)
    noise: float = option(0.3, "deviation of the added noise", low=0)


def load(request: DataRequest[SyntheticSoundsOptions]) -> Sounds:
    """Generate recordings (N, samples) with noise from the stream ``data``, each tag with probability ``density``."""
    options = request.options
    make, names, tags = KINDS[options.kind]
    rate, length = options.rate, options.samples
    time = (np.arange(length) / rate).astype(np.float32)
    splits, first = {}, 0
    counts = {"train": options.train, "validation": options.validation, "test": options.test}
    for split, count in counts.items():
        draws = request.streams.numpy("data", "synthetic-sounds", split)
        if tags:
            targets = (draws.random((count, len(names))) < options.density).astype(np.int64)
            targets[np.arange(count), draws.integers(0, len(names), count)] = 1
        else:
            targets = draws.permutation(np.arange(count) % len(names)).astype(np.int64)
        waves = make(targets, time, draws)
        waves = waves + np.float32(options.noise) * draws.standard_normal(waves.shape, dtype=np.float32)
        if count:
            splits[split] = SoundSplit(waves, targets, np.arange(first, first + count, dtype=np.int64))
        first += count
    return Sounds(splits, names, rate)
