"""Running statistics with one update a step, for repeated calls too.

A *step* is one forward and backward of the model. A normalization layer can be called more often than that, by
gradient checkpointing, which repeats the forward during the backward, and as a module shared by several places of
a model. Every call of a step sees the statistics from before the step; the calls' batch statistics are
pooled, weighted by their tokens, and enter the running statistics once. A forward repeated by checkpointing
is recognised because a backward is under way, and changes nothing.

All decisions are tensors, so that no step waits for the device.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from methods.norms.sequence import SequenceNorm


class Step(NamedTuple):
    """State of a forward's step.

    Attributes:
        before: running statistics from before the step, (S, C).
        number: k, counted from 1 (integer tensor without dimensions, as all that follow).
        turn: the step's number since the module was built; never part of ``state_dict``.
        opens: true if this forward opens the step.
        counts: true if this forward may change anything.
    """

    before: Tensor
    number: Tensor
    turn: Tensor
    opens: Tensor
    counts: Tensor


def _find_step(
    running: Tensor, before: Tensor, iteration: Tensor, opened: Tensor, finished: Tensor, detached: Tensor
) -> Step:
    repeating = torch._C._current_graph_task_id() != -1  # autograd runs a backward in this thread
    counts = torch.full_like(detached, not repeating)
    opens = counts & (detached | (finished >= opened))
    return Step(torch.where(opens, running, before), iteration + opens, opened + opens, opens, counts)


# An operator for compiled code, for two reasons: a Python condition would keep the result of the first call, and the
# compiler must keep these results for the backward instead of deriving them again from buffers changed since.
@torch.library.custom_op("paper_methods::find_step", mutates_args=())
def _find_step_operator(
    running: Tensor, before: Tensor, iteration: Tensor, opened: Tensor, finished: Tensor, detached: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return tuple(_find_step(running, before, iteration, opened, finished, detached))


@_find_step_operator.register_fake
def _(
    running: Tensor, before: Tensor, iteration: Tensor, opened: Tensor, finished: Tensor, detached: Tensor
) -> tuple[Tensor, ...]:
    flag = torch.empty_like(detached)
    return (
        torch.empty(running.shape, dtype=running.dtype, device=running.device),
        torch.empty_like(iteration),
        torch.empty_like(opened),
        flag,
        torch.empty_like(flag),
    )


def backward_under_way(like: Tensor) -> Tensor:
    """Return a boolean tensor on ``like``'s device: true during a backward, in a checkpoint's repetition."""
    return _backward_under_way(like)


@torch.library.custom_op("paper_methods::backward_under_way", mutates_args=())
def _backward_under_way(like: Tensor) -> Tensor:
    return torch.full((), torch._C._current_graph_task_id() != -1, dtype=torch.bool, device=like.device)


@_backward_under_way.register_fake
def _(like: Tensor) -> Tensor:
    return like.new_empty((), dtype=torch.bool)


def merge_means(first: Tensor, first_tokens: Tensor, second: Tensor, second_tokens: Tensor) -> Tensor:
    """Token-weighted mean of two statistics (S, C); the first without tokens."""
    share = second_tokens / (first_tokens + second_tokens).clamp(min=1)
    return torch.where(share == 1, second, first + (second - first) * share)


def merge_moments(first: Tensor, first_tokens: Tensor, second: Tensor, second_tokens: Tensor) -> Tensor:
    """Pool mean and variance of two token sets (Chan et al. 1983)."""
    share = second_tokens / (first_tokens + second_tokens).clamp(min=1)
    between = (share * (1 - share)) * (second[0] - first[0]).square()
    merged = first + (second - first) * share
    merged = torch.stack((merged[0], merged[1] + between))
    return torch.where(share == 1, second, merged)


def note_backward(finished: Tensor | None, turn: Tensor) -> None:
    """Record the beginning of the backward of step ``turn`` for later forwards."""
    if finished is not None:
        finished.copy_(turn)


class StepStatistics(SequenceNorm):
    """Gain, bias and running statistics (S, C) with one update a step.

    Subclasses name their statistics; each becomes a persistent buffer (C,) beside ``iteration``, the number of
    training steps seen. The state of a step under way is not part of ``state_dict``: save between steps.

    Under DistributedDataParallel every rank keeps its own statistics, as in the released code: pass
    ``broadcast_buffers=False``, or rank 0's are copied to the others before each forward.

    Args:
        channels: C.
        initial: initial value of each statistic by the name of its buffer.

    Attributes:
        update_statistics: False leaves no trace of a forward.
    """

    iteration: Tensor
    _opened: Tensor
    _finished: Tensor
    _detached: Tensor
    _before: Tensor
    _pooled: Tensor
    _pooled_tokens: Tensor

    def __init__(self, channels: int, initial: dict[str, float]) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self._statistics = tuple(initial)
        for name, value in initial.items():
            self.register_buffer(name, torch.full((channels,), value))
        self.register_buffer("iteration", torch.zeros((), dtype=torch.long))
        for name in ("_before", "_pooled"):
            self.register_buffer(name, torch.zeros(len(initial), channels), persistent=False)
        # Integers: a module in half precision cannot count to 100,000 in its own type.
        self.register_buffer("_pooled_tokens", torch.zeros((), dtype=torch.long), persistent=False)
        # The last step that a forward opened and the last whose backward began. Compiled code needs them apart:
        # each is changed by one of the two passes alone.
        for name in ("_opened", "_finished"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long), persistent=False)
        # True if the last step recorded no graph, so that no backward finishes it.
        self.register_buffer("_detached", torch.zeros((), dtype=torch.bool), persistent=False)
        self.update_statistics = True

    def running(self) -> Tensor:
        """The running statistics, (S, C)."""
        return torch.stack([getattr(self, name) for name in self._statistics])

    @torch.no_grad()
    def open_step(self) -> Step:
        """Return the statistics and number of this forward's step; changes nothing."""
        running = self.running()
        if not self.update_statistics:
            never = torch.zeros_like(self._detached)
            return Step(running, self.iteration + 1, self._opened, never, never)
        state = (running, self._before, self.iteration, self._opened, self._finished, self._detached)
        if torch.compiler.is_compiling():
            return Step(*_find_step_operator(*state))
        return _find_step(*state)

    def finishing(self) -> Tensor | None:
        """Buffer for the backward's step number; None while nothing may change."""
        return self._finished if self.update_statistics else None

    @torch.no_grad()
    def close_forward(
        self,
        step: Step,
        batch: Tensor,
        tokens: Tensor,
        merge: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        update: Callable[[Tensor, Tensor, Tensor], Tensor],
        records_graph: bool,
    ) -> None:
        """Add a forward's batch statistics to the running ones.

        Args:
            step: the result of ``open_step`` for this forward.
            batch: its batch statistics, (S, C).
            tokens: number of tokens behind them (tensor without dimensions); with 0 only the counter changes.
            merge: pools two statistics by their tokens.
            update: the new running statistics from (those before the step, the pooled ones, the tokens).
            records_graph: true if a backward may follow.
        """
        if not self.update_statistics:
            return
        earlier_tokens = torch.where(step.opens, torch.zeros_like(self._pooled_tokens), self._pooled_tokens)
        tokens = tokens.to(earlier_tokens.dtype)
        pooled = merge(torch.where(step.opens, step.before, self._pooled), earlier_tokens, batch, tokens)
        total = earlier_tokens + tokens
        updated = update(step.before, pooled, total)
        # An overflowed batch (a loss scaler above its limit) must not spoil the statistics.
        sound = step.counts & torch.isfinite(updated).all()
        usable = sound & (total > 0)
        for row, name in enumerate(self._statistics):
            buffer: Tensor = getattr(self, name)
            buffer.copy_(torch.where(usable, updated[row], buffer))
        self.iteration.copy_(step.number)
        self._before.copy_(step.before)
        self._pooled.copy_(torch.where(sound, pooled, torch.where(step.opens, step.before, self._pooled)))
        self._pooled_tokens.copy_(torch.where(sound, total, earlier_tokens))
        self._opened.copy_(step.turn)
        self._detached.copy_(torch.where(step.opens, not records_graph, self._detached))
