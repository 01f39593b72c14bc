"""Channel state information by domain: windows divided into source and target.

Windows are one second of amplitudes. A domain is a person when actions are recognised, an action when people are
identified.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError, choices
from harness.trial.options import option
from suites.data.types import Labels

Amplitudes = npt.NDArray[np.float32]
LABELS = ("action", "person", "fall")


@dataclass(frozen=True, slots=True)
class CsiWindows:
    """Windows of all recordings.

    Attributes:
        amplitudes: (N, T, S): time, subcarrier.
        people: (N,) places in ``people_names``.
        actions: (N,) places in ``action_names``.
        recordings: (N,) number of the recording, or of the segment of a long one, of each window.
        people_names: in sorted order.
        action_names: in sorted order.
    """

    amplitudes: Amplitudes
    people: Labels
    actions: Labels
    recordings: Labels
    people_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.amplitudes), len(self.people), len(self.actions), len(self.recordings)}
        if len(sizes) != 1:
            raise ValueError(f"windows, people, actions and recordings differ in number: {sorted(sizes)}")


@dataclass(frozen=True, slots=True)
class CsiDomain:
    """Labelled windows of one side.

    Attributes:
        amplitudes: (N, T, S).
        labels: (N,) class numbers.
        recordings: (N,) numbers of recordings, by which support sets are split.
        items: (N,) number of each window in the whole source.
    """

    amplitudes: Amplitudes
    labels: Labels
    recordings: Labels
    items: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class CsiDomains:
    """A labelled source and a target with a few labelled shots.

    Attributes:
        source: windows of all domains but the target.
        target: windows of the target.
        classes: names; labels count from 0 in this order.
        target_name: name of the target domain.
    """

    source: CsiDomain
    target: CsiDomain
    classes: tuple[str, ...]
    target_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DivisionOptions:
    """Choice of the target domain and of the labels."""

    label: str = option("action", "recognised label; domains are people, with label person actions", choices=LABELS)
    target: str = option("0", "name of the target domain")
    target_by_seed: bool = option(False, "use the domain number seed modulo the number of domains")


def divide(windows: CsiWindows, options: DivisionOptions, seed: int, source: str) -> CsiDomains:
    """Divide windows into source and target; classes that the target lacks stay classes."""
    by_person = options.label != "person"
    domains, names = (windows.people, windows.people_names) if by_person else (windows.actions, windows.action_names)
    place = _target(names, options, seed, source)
    labels, classes = _labels(windows, options.label, source)
    inside = domains == place
    if inside.all() or not inside.any():
        raise HarnessError(f"{source}: the target '{names[place]}' has {int(inside.sum())} of {len(inside)} windows")

    def side(chosen: npt.NDArray[np.bool_]) -> CsiDomain:
        items = np.flatnonzero(chosen).astype(np.int64)
        return CsiDomain(
            np.ascontiguousarray(windows.amplitudes[items]), labels[items], windows.recordings[items], items
        )

    return CsiDomains(side(~inside), side(inside), classes, names[place])


def _target(names: tuple[str, ...], options: DivisionOptions, seed: int, source: str) -> int:
    if options.target_by_seed:
        return seed % len(names)
    wanted = options.target
    if wanted not in names:
        raise HarnessError(f"{source}: unknown domain '{wanted}' for label {options.label}; {choices(names, wanted)}")
    return names.index(wanted)


def _labels(windows: CsiWindows, label: str, source: str) -> tuple[Labels, tuple[str, ...]]:
    if label == "person":
        labels, classes = windows.people, windows.people_names
    elif label == "action":
        labels, classes = windows.actions, windows.action_names
    else:
        fall = [place for place, name in enumerate(windows.action_names) if name.lower() == "fall"]
        if not fall:
            raise HarnessError(f"{source}: label fall needs an action 'fall'; {choices(windows.action_names, 'fall')}")
        labels, classes = (windows.actions == fall[0]).astype(np.int64), ("no fall", "fall")
    if len(classes) < 2:
        raise HarnessError(f"{source}: label {label} has one class only: {classes[0] if classes else 'none'}")
    return labels.astype(np.int64), classes
