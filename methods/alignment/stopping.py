"""KNN-MMD's stopping rule: the held-out shots decide when to stop."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from methods.checks import check_choice

FORMS: tuple[str, ...] = ("released", "paper")


@dataclass(frozen=True, slots=True)
class StoppingOptions:
    """Constants of the stopping rule; the defaults are the released ones.

    Attributes:
        earliest: no stop up to this epoch; there the counters restart and the best values relax.
        latest: the last epoch but one: the next one always stops.
        patience: epochs without improvement that end the training.
        relax_accuracy: factor on the best accuracy at ``earliest``.
        relax_loss: factor on the best loss at ``earliest``.
        triggers: ``released`` also stops when the accuracy has *equalled* its best for ``patience`` epochs, which
            decides with one shot a class, where it takes C + 1 values; ``paper`` stops only when neither accuracy nor
            loss improves.
    """

    earliest: int = 200
    latest: int = 350
    patience: int = 30
    relax_accuracy: float = 0.8
    relax_loss: float = 1.2
    triggers: str = "released"

    def __post_init__(self) -> None:
        check_choice("stopping rule", "triggers", self.triggers, FORMS)
        if not 0 <= self.earliest <= self.latest or self.patience < 1:
            raise ValueError(
                "stopping rule: the constants must satisfy 0 ≤ earliest ≤ latest and patience ≥ 1, "
                f"got {self.earliest}, {self.latest}, {self.patience}"
            )


@dataclass(slots=True)
class _State:
    epoch: int = 0
    best_accuracy: float = 0.0
    best_loss: float = 1000.0
    without_accuracy: int = 0
    without_loss: int = 0
    equal: int = 0
    best_epoch: int = 0
    stopped: bool = False


class StoppingRule:
    """Stopping decision from the shots' accuracy and loss after every epoch.

    Relayed and released rule (papers' Table IV; train.py): at ``earliest`` the counters reset, the best accuracy
    × 0.8, the best loss × 1.2, so that a training lasts 230 to 351 epochs.
    """

    def __init__(self, options: StoppingOptions | None = None) -> None:
        self.options = StoppingOptions() if options is None else options
        self._state = _State()

    @property
    def epoch(self) -> int:
        return self._state.epoch

    @property
    def best_epoch(self) -> int:
        """Last epoch with accuracy or loss no worse than before; 0: none."""
        return self._state.best_epoch

    @property
    def stopped(self) -> bool:
        """True after the rule has stopped the training."""
        return self._state.stopped

    def update(self, accuracy: float, loss: float) -> bool:
        """Count one epoch; return True to stop now.

        ``accuracy`` on the shots is in [0, 1] or percent, one unit throughout; a ``loss`` of NaN counts as no
        improvement.

        Raises:
            RuntimeError: the rule has already stopped.
        """
        state, options = self._state, self.options
        if state.stopped:
            raise RuntimeError(f"the stopping rule stopped at epoch {state.epoch}; no epoch may follow")
        state.epoch += 1
        if accuracy >= state.best_accuracy or loss <= state.best_loss:
            state.best_epoch = state.epoch
        state.equal = state.equal + 1 if accuracy == state.best_accuracy else 0
        state.without_accuracy = 0 if accuracy >= state.best_accuracy else state.without_accuracy + 1
        state.without_loss = 0 if loss < state.best_loss else state.without_loss + 1
        state.best_accuracy, state.best_loss = max(state.best_accuracy, accuracy), min(state.best_loss, loss)
        stale = min(state.without_accuracy, state.without_loss) >= options.patience
        level = options.triggers == "released" and state.equal >= options.patience
        state.stopped = (state.epoch > options.earliest and (stale or level)) or state.epoch > options.latest
        if state.epoch == options.earliest:
            state.without_accuracy = state.without_loss = state.equal = 0
            state.best_accuracy *= options.relax_accuracy
            state.best_loss *= options.relax_loss
        return state.stopped

    def state_dict(self) -> dict[str, float]:
        return asdict(self._state)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Continue from ``state_dict`` (TypeError for unknown or missing keys)."""
        missing = set(asdict(_State())) - set(state)
        if missing:
            raise TypeError(f"stopping rule: the state lacks {', '.join(sorted(missing))}")
        self._state = _State(**state)  # type: ignore[arg-type]
