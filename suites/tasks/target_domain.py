"""The target of an adaptation: labelled shots, and windows with hidden labels that only scores may read."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.trial.seeds import Streams
from methods.alignment.diagnostics import purity
from methods.alignment.help_set import HelpSet, HelpSetOptions, choose_support, make_help_set
from methods.alignment.knn_baselines import FEATURES, item_features
from suites.data.csi_domains import Amplitudes, CsiDomain
from suites.data.types import Labels
from suites.tasks.reduction import embedding
from suites.tasks.sensing_scores import SensingOptions


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A target of windows (N, T, S) after its shots were drawn.

    Attributes:
        support, support_labels: places of the shots, (K,), and their classes.
        rest: places of the windows that are aligned and scored, (R,); none of a shot's recording.
        hidden: their classes, (R,): for scoring, for measurements in hindsight, and for arms that declare the leak.
    """

    amplitudes: Amplitudes
    support: Labels
    support_labels: Labels
    rest: Labels
    recordings: Labels
    items: Labels
    hidden: Labels


def draw_shots(domain: CsiDomain, shots: int, streams: Streams, permute_hidden: bool) -> Target:
    """Draw ``shots`` windows a class, each from a separate recording (else HarnessError)."""
    try:
        split = choose_support(domain.labels, domain.recordings.tolist(), shots, streams.numpy("split", "support"))
    except ValueError as error:
        raise HarnessError(f"sensing: {error}; lower 'shots'") from error
    if not len(split.rest):
        raise HarnessError(
            "sensing: the target has no recordings beside those of the shots, so nothing is left to score"
        )
    rest, labels = split.rest, domain.labels[split.support]
    hidden = domain.labels[rest]
    if permute_hidden:
        hidden = streams.numpy("split", "permuted").permutation(hidden)
    recordings, items = domain.recordings[rest], domain.items[rest]
    return Target(domain.amplitudes, split.support, labels, rest, recordings, items, hidden)


def halve(recordings: Labels, hidden: Labels, generator: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Windows that train an in-domain network: every second recording of each class."""
    chosen: list[int] = []
    for label in np.unique(hidden):
        of_class = generator.permutation(np.unique(recordings[hidden == label]))
        chosen += of_class[::2].tolist()
    return np.isin(recordings, chosen)


def help_set(target: Target, classes: int, options: SensingOptions, streams: Streams) -> HelpSet:
    """Choose the help set (HarnessError if empty); ``oracle_labels`` alone reads hidden labels."""
    flat = target.amplitudes.reshape(len(target.amplitudes), -1)
    if options.reduce == "umap":
        flat = embedding(flat, options.umap_dimensions, streams.number("umap") % 2**32)
    chosen = _choose(target, flat, classes, options, options.oracle_labels)
    if not len(chosen.places):
        raise HarnessError(f"sensing: help_share {options.help_share} of {len(target.rest)} windows is empty")
    return chosen


def _choose(target: Target, space: Amplitudes, classes: int, options: SensingOptions, oracle: bool = False) -> HelpSet:
    selection = HelpSetOptions(options.help_share, options.help_mode, options.neighbours, options.confidence, oracle)
    items, shots = space[target.rest], space[target.support]
    hidden = target.hidden if oracle else None
    return make_help_set(items, shots, target.support_labels, classes, selection, hidden_labels=hidden)


def purities(target: Target, classes: int, options: SensingOptions) -> dict[str, float]:
    """Purity of help sets by three features, in hindsight; ``skill`` is (purity − 1/C)/(1 − 1/C)."""
    report: dict[str, float] = {}
    for kind in FEATURES:
        values = item_features(target.amplitudes, kind).astype(np.float32)
        chosen = _choose(target, values, classes, options)
        if len(chosen.places):
            share = purity(chosen.labels, target.hidden[chosen.places])
            report[f"purity.{kind}"] = share
            report[f"skill.{kind}"] = (share - 1 / classes) / (1 - 1 / classes)
    return report
