"""The target of an adaptation: a few labelled shots, and the rest whose labels nothing but the final scoring reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.trial.seeds import Streams
from methods.alignment.help_set import Embedding, HelpSet, HelpSetOptions, make_help_set, umap_init
from methods.alignment.knn_baselines import FEATURES, item_features
from methods.alignment.probes import purity
from methods.alignment.support import choose_support
from suites.data.csi_domains import Amplitudes, CsiDomain
from suites.data.types import Labels
from suites.tasks.reduction import embedding

if TYPE_CHECKING:
    from suites.tasks.sensing import SensingOptions

REDUCTIONS = ("umap", "none")


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A target after its shots were drawn.

    Attributes:
        amplitudes: every window, (N, T, S).
        support: places of the shots, (K,).
        support_labels: their classes, (K,).
        rest: places of the windows that are aligned and scored, (R,); none of a shot's recording.
        recordings: their recordings, (R,).
        items: their numbers in the whole source, (R,).
        hidden: their classes, (R,): for scoring, for what is measured in hindsight, and for arms that say they leak.
    """

    amplitudes: Amplitudes
    support: Labels
    support_labels: Labels
    rest: Labels
    recordings: Labels
    items: Labels
    hidden: Labels


def draw_shots(domain: CsiDomain, shots: int, streams: Streams, permute_hidden: bool) -> Target:
    """Draw ``shots`` windows a class, each from a recording of its own, by the stream ``split``.

    ``permute_hidden`` permutes the classes of all other windows: whatever does not read them stays the same. A class
    of too few recordings is refused (HarnessError).
    """
    try:
        split = choose_support(domain.labels, domain.recordings.tolist(), shots, streams.numpy("split", "support"))
    except ValueError as error:
        raise HarnessError(f"sensing: {error}; lower 'shots'") from error
    if not len(split.rest):
        raise HarnessError("sensing: the shots' recordings are all that the target has; nothing is left to score")
    rest, labels = split.rest, domain.labels[split.support]
    hidden = domain.labels[rest]
    if permute_hidden:
        hidden = streams.numpy("split", "permuted").permutation(hidden)
    recordings, items = domain.recordings[rest], domain.items[rest]
    return Target(domain.amplitudes, split.support, labels, rest, recordings, items, hidden)


def halve(recordings: Labels, hidden: Labels, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which windows of the rest train an in-domain network: every second recording of each class."""
    chosen: list[int] = []
    for label in np.unique(hidden):
        own = generator.permutation(np.unique(recordings[hidden == label]))
        chosen += own[::2].tolist()
    return np.isin(recordings, chosen)


def help_set(target: Target, classes: int, options: SensingOptions, streams: Streams) -> HelpSet:
    """The help set as ``options`` ask, HarnessError if it is empty; hidden labels go in only with ``oracle_labels``."""
    flat = target.amplitudes.reshape(len(target.amplitudes), -1)
    space = Embedding(flat, "none", 0)
    if options.reduce == "umap":
        dimensions, state = options.umap_dimensions, streams.number("umap") % 2**32
        space = Embedding(embedding(flat, dimensions, state), umap_init(len(flat), dimensions), state)
    made = _made(target, space, classes, options, options.oracle_labels)
    if not len(made.places):
        raise HarnessError(f"sensing: help_share {options.help_share} of {len(target.rest)} windows is empty")
    return made


def _made(target: Target, space: Embedding, classes: int, options: SensingOptions, oracle: bool = False) -> HelpSet:
    chosen = HelpSetOptions(options.help_share, options.help_mode, options.neighbours, options.confidence, oracle)
    items, shots = space.values[target.rest], space.values[target.support]
    hidden = target.hidden if oracle else None
    return make_help_set(items, shots, target.support_labels, classes, chosen, hidden_labels=hidden)


def purities(target: Target, classes: int, options: SensingOptions) -> dict[str, float]:
    """In hindsight: purity of help sets made from raw, static and motion features, and how far above chance.

    ``skill`` is (purity − 1/C)/(1 − 1/C): 0 at chance, 1 where every label is right.
    """
    found: dict[str, float] = {}
    for kind in FEATURES:
        values = item_features(target.amplitudes, kind).astype(np.float32)
        made = _made(target, Embedding(values, kind, 0), classes, options)
        if len(made.places):
            share = purity(made.labels, target.hidden[made.places])
            found[f"purity.{kind}"] = share
            found[f"skill.{kind}"] = (share - 1 / classes) / (1 - 1 / classes)
    return found
