"""KNN-MMD's stopping rule against a plain transcription."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.alignment.stopping import StoppingOptions, StoppingRule


def length(accuracy: list[float], loss: list[float], options: StoppingOptions | None = None) -> int:
    rule = StoppingRule(options)
    for values in zip(accuracy, loss, strict=True):
        if rule.update(*values):
            return rule.epoch
    return 0


def plain(accuracy: list[float], loss: list[float], e_min: int, e_max: int, patience: int) -> int:
    """The released loop as the fact sheet describes it."""
    best_acc, best_loss = 0.0, 1000.0
    acc_epoch = loss_epoch = same = 0
    for j, (a, value) in enumerate(zip(accuracy, loss, strict=True), start=1):
        same = same + 1 if a == best_acc else 0
        acc_epoch = 0 if a >= best_acc else acc_epoch + 1
        best_acc = max(best_acc, a)
        loss_epoch = 0 if value < best_loss else loss_epoch + 1
        best_loss = min(best_loss, value)
        if (j > e_min and ((acc_epoch >= patience and loss_epoch >= patience) or same >= patience)) or j > e_max:
            return j
        if j == e_min:
            acc_epoch = loss_epoch = same = 0
            best_acc, best_loss = best_acc * 0.8, best_loss * 1.2
    return 0


def test_equal_accuracy_decides_with_one_shot() -> None:
    # Accuracy saturates at once, the loss falls forever: at 201 it exceeds the relaxed best, then equals it 30 times.
    saturated, falling = [1.0] * 400, [1000.0 - e for e in range(400)]
    assert length(saturated, falling) == 231
    assert length(saturated, falling, StoppingOptions(triggers="paper")) == 351


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=60, max_size=60))
def test_the_rule_is_the_plain_loop(epochs: list[tuple[int, int]]) -> None:
    accuracy, loss = [a / 4 for a, _ in epochs], [float(b) for _, b in epochs]
    options = StoppingOptions(earliest=20, latest=50, patience=4)
    assert length(accuracy, loss, options) == plain(accuracy, loss, 20, 50, 4)


def test_state_goes_on_alike() -> None:
    options = StoppingOptions(earliest=6, latest=20, patience=3)
    accuracy = [0.2, 0.4, 0.4, 0.6, 0.6, 0.5, 0.3, 0.3, 0.2, 0.1, 0.1]
    first, second = StoppingRule(options), StoppingRule(options)
    for a in accuracy[:5]:
        first.update(a, 1 - a)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for a in accuracy[5:]:
        assert first.update(a, 1 - a) == second.update(a, 1 - a)
        assert first.best_epoch == second.best_epoch
        if first.stopped:
            break
    assert first.stopped
    with pytest.raises(RuntimeError, match="no epoch may follow"):
        first.update(1.0, 0.0)
    with pytest.raises(TypeError, match="lacks"):
        second.load_state_dict({"epoch": 3})


def test_best_epoch_and_nan() -> None:
    rule = StoppingRule(StoppingOptions(earliest=1, latest=50, patience=3))
    rule.update(0.5, 1.0)
    rule.update(0.7, 0.9)
    assert rule.best_epoch == 2
    rule.update(float("nan"), float("nan"))
    assert rule.best_epoch == 2
    assert not rule.update(0.1, float("nan"))
    assert rule.update(0.1, float("nan"))


def test_invalid_options() -> None:
    with pytest.raises(ValueError, match="released, paper"):
        StoppingOptions(triggers="none")
    with pytest.raises(ValueError, match="earliest"):
        StoppingOptions(earliest=10, latest=5)
