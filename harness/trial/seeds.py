"""Named random streams: every random number of a trial is a function of (stream, seed, place).

A stream is derived by name, never from the arm's name: two arms at one seed see the same split, initial weights,
order and augmentation, and an arm that draws more numbers from one stream does not shift another
(Bouthillier et al. 2021, arXiv 2103.03098). Streams are counted by step or epoch instead of carrying state, so a
resumed trial needs no generator states to continue bit-equal.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

ROOT = "paper-harness/1"
STREAMS = ("split", "init", "order", "augment", "noise", "attack", "data", "evaluation", "umap")


def derive(stream: str, seed: int, *place: int | str, root: str = ROOT) -> int:
    """A 63-bit seed for one place of one stream: sha256(root, stream, seed, place)."""
    text = "/".join([root, stream, str(seed), *map(str, place)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one trial."""

    seed: int
    root: str = ROOT

    def number(self, stream: str, *place: int | str) -> int:
        """The 63-bit seed of a place in a stream."""
        _must_be_known(stream)
        return derive(stream, self.seed, *place, root=self.root)

    def by_step(self, stream: str, *after: int | str) -> Callable[[int], int]:
        """``number(stream, step, *after)`` as a function of the step; the common part is hashed once."""
        _must_be_known(stream)
        shared = hashlib.sha256("/".join([self.root, stream, str(self.seed), ""]).encode())
        suffix = "".join(f"/{part}" for part in after)

        def number(step: int) -> int:
            own = shared.copy()
            own.update(f"{step}{suffix}".encode())
            return int.from_bytes(own.digest()[:8], "big") >> 1

        return number

    def torch(self, stream: str, *place: int | str) -> torch.Generator:
        import torch

        return torch.Generator().manual_seed(self.number(stream, *place))

    def numpy(self, stream: str, *place: int | str) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng(self.number(stream, *place))


def _must_be_known(stream: str) -> None:
    if stream not in STREAMS:
        raise ValueError(f"no random stream '{stream}'; valid: {', '.join(STREAMS)}")


def seed_torch(number: int) -> None:
    """``torch.manual_seed`` for the devices that exist.

    For absent accelerators it keeps a stack trace of every call: a tenth of a small network's step, and memory.
    """
    import torch

    if _accelerated():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


@functools.cache
def _accelerated() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
