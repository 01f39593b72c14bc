"""A simulated Wi-Fi channel: people and rooms as domains, actions as moving reflectors.

The channel of subcarrier s at time t is a sum over paths (multipath model, Tse, Viswanath 2005, section 2.2):
h(t, s) = Σ_static a·exp(−2πi·f_s·τ) + Σ_moving b·exp(−2πi·(f_s·τ + d(t)/λ)). The received amplitude is |h| with noise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.trial.contracts import DataRequest
from harness.trial.options import option
from suites.data.csi_domains import CsiDomains, CsiWindows, DivisionOptions, divide

SUBCARRIERS = 52
SPACING = 312.5e3  # Hz, IEEE 802.11 at 20 MHz
STATIC_PATHS, MOVING_PATHS, HARMONICS = 8, 3, 3
LONGEST_DELAY = 250e-9  # s, of a meeting room's echoes
SESSIONS = 8
WINDOWS = 2
ACTIONS = ("fall", "jump", "sit", "stand", "walk", "wave", "circle", "push")

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions(DivisionOptions):
    """Options of the simulated channel."""

    people: int = option(8, "people", low=2, high=64)
    actions: int = option(5, "actions", low=2, high=len(ACTIONS))
    recordings: int = option(4, "recordings of each person and action in the source, two windows each", low=1)
    target_recordings: int = option(20, "recordings of each class in the target, two windows each", low=2)
    steps: int = option(25, "time steps a window", low=4, high=1000)
    fingerprint: float = option(0.3, "strength of a session's static paths and gain", low=0)
    signature: float = option(0.5, "strength of the moving paths", low=0)
    shift: float = option(0.5, "distance between people's geometries and manners", low=0, high=1)
    jitter: float = option(0.08, "variation of a person's repetitions of an action", low=0)
    noise: float = option(0.1, "deviation of the receiver's noise", low=0)
    shared_rooms: bool = option(
        False, "record all people in the same sessions, so that static paths do not identify them"
    )
    confounded: bool = option(False, "record each action in a separate session, so that static paths identify it")


def simulate(options: SimulatorOptions, draws: np.random.Generator, target: int) -> CsiWindows:
    """Simulate all windows.

    The domain number ``target`` has ``target_recordings`` a class, the others ``recordings``.
    An action is a displacement of a few reflectors over time. A person has a geometry (delays, directions, strengths
    of the reflectors) and a manner (pace, reach, onset), both ``shift`` apart between people. A session adds static
    paths. Sessions are independent of the actions unless ``confounded``.
    """
    people, actions = options.people, options.actions
    by_person = options.label != "person"
    offsets: Floats = np.asarray((np.arange(SUBCARRIERS) - SUBCARRIERS / 2 + 0.5) * SPACING, dtype=np.float64)
    movements = _movements(draws, actions)
    geometry = _Geometry(draws, people, options.shift, offsets)
    parts: list[Floats] = []
    rows: list[tuple[int, int, int]] = []
    number = 0
    rooms = _static(draws, offsets, options.fingerprint)
    for person in range(people):
        rooms = rooms if options.shared_rooms else _static(draws, offsets, options.fingerprint)
        for action in range(actions):
            inside = (person if by_person else action) == target
            for _ in range(options.target_recordings if inside else options.recordings):
                session = action % SESSIONS if options.confounded else int(draws.integers(SESSIONS))
                for _ in range(WINDOWS):
                    parts.append(_window(options, draws, movements[action], geometry, person, rooms[session]))
                    rows.append((person, action, number))
                number += 1
    table = np.array(rows, dtype=np.int64)
    return CsiWindows(
        np.stack(parts).astype(np.float32),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        tuple(str(person) for person in range(people)),
        ACTIONS[:actions],
    )


def _movements(draws: np.random.Generator, actions: int) -> Floats:
    """Amplitudes and phases (actions, reflectors, harmonics, 2) of the displacements."""
    reach = draws.uniform(0.3, 1.2, (actions, MOVING_PATHS, HARMONICS)) / (1 + np.arange(HARMONICS))
    phase = draws.uniform(0, 2 * np.pi, (actions, MOVING_PATHS, HARMONICS))
    return np.stack([reach, phase], axis=-1)


class _Geometry:
    """Positions of each person's reflectors, and manner of movement."""

    def __init__(self, draws: np.random.Generator, people: int, shift: float, offsets: Floats) -> None:
        shape = (people, MOVING_PATHS)
        common = draws.uniform(0, LONGEST_DELAY, MOVING_PATHS)
        own = draws.uniform(0, LONGEST_DELAY, shape)
        delays = (1 - min(1.0, shift)) * common + min(1.0, shift) * own
        strengths = np.exp(0.4 * shift * draws.standard_normal(shape))
        angles = 2 * np.pi * min(1.0, shift) * draws.uniform(-0.5, 0.5, shape)
        self.steering: Complex = (strengths * np.exp(1j * angles))[..., None] * np.exp(
            -2j * np.pi * delays[..., None] * offsets
        )
        self.directions = 1 + 0.5 * shift * draws.standard_normal(shape)
        self.pace = np.exp(0.25 * shift * draws.standard_normal(people))
        self.onset = 0.25 * shift * draws.standard_normal(people)


def _static(draws: np.random.Generator, offsets: Floats, fingerprint: float) -> Complex:
    """Static channels (sessions, subcarriers): common paths, plus each session's."""
    delays = draws.uniform(0, LONGEST_DELAY, (1 + SESSIONS, STATIC_PATHS))
    gains = draws.standard_normal((2, 1 + SESSIONS, STATIC_PATHS)) / np.sqrt(2 * STATIC_PATHS)
    paths = (gains[0] + 1j * gains[1])[..., None] * np.exp(-2j * np.pi * delays[..., None] * offsets)
    channels: Complex = paths.sum(axis=1)
    return 2.0 + channels[:1] + fingerprint * channels[1:]


def _window(
    options: SimulatorOptions,
    draws: np.random.Generator,
    movement: Floats,
    geometry: _Geometry,
    person: int,
    static: Complex,
) -> Floats:
    """Simulate one second, (steps, subcarriers)."""
    steps, jitter = options.steps, options.jitter
    onset = geometry.onset[person] + jitter * draws.standard_normal()
    pace = geometry.pace[person] * np.exp(0.5 * jitter * draws.standard_normal())
    reach = np.exp(jitter * draws.standard_normal((MOVING_PATHS, 1, 1)))
    time = onset + pace * np.arange(steps) / steps
    harmonics = 2 * np.pi * (1 + np.arange(HARMONICS))[:, None] * time
    waves = reach * movement[..., :1] * np.sin(harmonics + movement[..., 1:])
    distances = geometry.directions[person][:, None] * waves.sum(axis=1)
    moving = np.exp(-2j * np.pi * distances).T @ geometry.steering[person]
    channel = static + options.signature * moving
    noise = draws.standard_normal((2, steps, SUBCARRIERS)) * options.noise
    gain = np.exp(0.1 * options.fingerprint * draws.standard_normal())
    return gain * np.abs(channel + noise[0] + 1j * noise[1])


def load(request: DataRequest[SimulatorOptions]) -> CsiDomains:
    """Draw a world from the stream ``data``, different for every seed."""
    options = request.options
    seed = request.streams.seed
    domains = options.people if options.label != "person" else options.actions
    names = tuple(str(n) for n in range(domains)) if options.label != "person" else ACTIONS[:domains]
    target = seed % domains if options.target_by_seed else names.index(options.target) if options.target in names else 0
    windows = simulate(options, request.streams.numpy("data", "channel"), target)
    return divide(windows, options, seed, "channel-simulator")
