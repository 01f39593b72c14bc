"""The eager projected step: batches of weights in cache-sized row blocks.

The step costs passes over memory. Beside Adam's or SGD's own update only four row
reductions are needed (⟨g,w⟩, ‖g‖, ‖w‖, ⟨w,p⟩), and decay and projection together are one row factor of ``w``:
``w ← w + change·w - step·p``. A whole batch is decided at once, as tensors on its device, without a branch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from methods.optimizers.projection import RowStats, Rule, below, is_eligible

BLOCK = 1 << 19
"""Elements of a row block: few enough that four arrays of it stay in a few MB of cache, enough that the
calls on it do not count."""

BATCH = 1 << 20
"""Elements decided together on a CPU; an accelerator decides all at once, since launches cost more than the cache."""

FUSED_DEVICES = ("cpu", "cuda")
"""Devices with torch's fused updates, on which the batched form builds; elsewhere the plain loop runs."""


class Columns(NamedTuple):
    """Tensors of a parameter group by kind, one entry a parameter; ``fired`` is empty if nothing is recorded."""

    params: list[Tensor]
    grads: list[Tensor]
    states: tuple[list[Tensor], ...]
    fired: list[Tensor]

    def each(self) -> Iterator[tuple[Tensor, ...]]:
        """Iterate over parameter, gradient and states, parameter by parameter."""
        return zip(self.params, self.grads, *self.states, strict=True)

    def records(self) -> dict[int, Tensor]:
        """``fired`` by the parameter's index."""
        return dict(zip((i for i, w in enumerate(self.params) if is_eligible(w)), self.fired, strict=False))

    def pick(self, chosen: Sequence[int]) -> Columns:
        """The entries of some parameters."""
        records = self.records()
        params, grads, *states = ([column[i] for i in chosen] for column in (self.params, self.grads, *self.states))
        return Columns(params, grads, tuple(states), [records[i] for i in chosen if i in records])


class Piece(NamedTuple):
    """Some rows of one tensor, by its index."""

    tensor: int
    rows: slice


Direction = Callable[[Sequence[Piece], list[Tensor]], None]
"""``(pieces, s)``: update the optimizer's state for those rows and write the direction to ``s``, one per piece."""


class Matrices(NamedTuple):
    """Parameter, gradient and states as contiguous matrices, one row per output channel."""

    w: Tensor
    g: Tensor
    states: tuple[Tensor, ...]


class Sorted(NamedTuple):
    """Indices of parameters by form of update: eligible, never projected, and those of the plain loop."""

    weights: dict[int, Matrices]
    flat: list[list[int]]
    odd: list[int]


class Layout(NamedTuple):
    """Row positions of a concatenated batch, and the thresholds."""

    starts: tuple[int, ...]
    counts: Tensor
    owner: Tensor
    row_threshold: Tensor
    layer_threshold: Tensor


def sort(params: Sequence[Tensor], grads: Sequence[Tensor], *states: Sequence[Tensor]) -> Sorted:
    """Sort the parameters of a group by form of update."""
    weights: dict[int, Matrices] = {}
    flat: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    odd: list[int] = []
    for index, tensors in enumerate(zip(params, grads, *states, strict=True)):
        w = tensors[0]
        matrices = _as_matrices(*tensors)
        if matrices is None:
            odd.append(index)
        elif is_eligible(w):
            weights[index] = matrices
        else:
            flat.setdefault((w.device, w.dtype), []).append(index)
    return Sorted(weights, list(flat.values()), odd)


def _as_matrices(w: Tensor, g: Tensor, *states: Tensor) -> Matrices | None:
    """View parameter, gradient and states as (C, row length), in memory order, if possible."""
    tensors = (w, g, *states)
    if w.device.type not in FUSED_DEVICES or w.numel() == 0:
        return None
    if any(t.dtype != w.dtype or t.device != w.device for t in tensors):
        return None
    if all(t.is_contiguous() for t in tensors):
        views = [t.view(t.shape[0] if t.ndim else 1, -1) for t in tensors]
    elif w.ndim == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in tensors):
        views = [t.permute(0, 2, 3, 1).view(t.shape[0], -1) for t in tensors]
    else:
        return None
    return Matrices(views[0], views[1], tuple(views[2:]))


def descend(
    weights: Mapping[int, Matrices],
    direction: Direction,
    rule: Rule,
    *,
    decay: float | Tensor,
    step: float | Tensor,
    buffers: Mapping[int, Tensor] | None = None,
    strip: bool = False,
) -> dict[int, Tensor]:
    """Update all weights in place.

    Computes ``w ← w·(1 - decay·ratio) - step·(s - radial·w)``.

    Args:
        weights: matrices of shape (C, row length), of any devices and dtypes.
        direction: updates the state of some rows and writes their direction ``s``.
        rule: the options of the projection.
        decay: weight decay of this step where the projection does not fire, learning rate included.
        step: step size in units of ``s``.
        buffers: memory of ``s``, per tensor; scratch memory if None.
        strip: remove the radial part of ``s`` itself, which matters for persistent ``buffers``.

    Returns:
        Per tensor the view that fired, of shape ().
    """
    views: dict[int, Tensor] = {}
    memory: dict[tuple[torch.device, torch.dtype], Tensor] = {}
    for members in _batches(weights):
        if buffers is not None:
            s = {i: buffers[i] for i in members}
        else:
            s = _scratch([weights[i].w for i in members], members, memory)
        radial, ratio, fired = _decide_batch(weights, members, s, direction, rule)
        first = 0
        for i in members:
            w = weights[i].w
            rows = slice(first, first := first + w.shape[0])
            stripped = radial[rows, None].to(w.dtype)
            if strip:
                s[i].addcmul_(w, stripped, value=-1.0)
                change = -decay * ratio[rows, None]
            else:
                change = step * radial[rows, None] - decay * ratio[rows, None]
            w.addcmul_(w, change.to(w.dtype))
            if isinstance(step, Tensor):
                w.sub_(step * s[i])
            else:
                w.sub_(s[i], alpha=step)
        views.update(zip(members, fired.unbind(), strict=True))
    return views


def _scratch(
    ws: Sequence[Tensor], members: Sequence[int], memory: dict[tuple[torch.device, torch.dtype], Tensor]
) -> dict[int, Tensor]:
    """Scratch matrices shaped like the weights, with memory shared between batches."""
    sizes = [w.numel() for w in ws]
    key = (ws[0].device, ws[0].dtype)
    if key not in memory or memory[key].numel() < sum(sizes):
        memory[key] = torch.empty(sum(sizes), dtype=key[1], device=key[0])
    pieces = memory[key][: sum(sizes)].split(sizes)
    return {i: piece.view(w.shape) for i, piece, w in zip(members, pieces, ws, strict=True)}


def _batches(weights: Mapping[int, Matrices]) -> Iterator[list[int]]:
    """Batches of weights of one device and dtype that fit the cache."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, (w, _, _) in weights.items():
        groups.setdefault((w.device, w.dtype), []).append(index)
    for (device, _), members in groups.items():
        if device.type != "cpu":
            yield members
            continue
        batch: list[int] = []
        size = 0
        for index in members:
            if batch and size + weights[index].w.numel() > BATCH:
                yield batch
                batch, size = [], 0
            batch.append(index)
            size += weights[index].w.numel()
        yield batch


def _decide_batch(
    weights: Mapping[int, Matrices],
    members: Sequence[int],
    scratch: Mapping[int, Tensor],
    direction: Direction,
    rule: Rule,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute directions; return radial parts, decay factors and the views."""
    ws = [weights[i].w for i in members]
    dtype = torch.float64 if ws[0].dtype == torch.float64 else torch.float32
    layout = _layout(tuple((w.shape[0], w.shape[1]) for w in ws), rule.delta, dtype, ws[0].device)
    starts = dict(zip(members, layout.starts, strict=True))
    stats = RowStats(*torch.empty(4, layout.owner.numel(), dtype=dtype, device=ws[0].device).unbind())
    for block in _blocks(weights, members):
        direction(block, [scratch[i][rows] for i, rows in block])
        for i, rows in block:
            _measure(weights[i].w[rows], weights[i].g[rows], scratch[i][rows], stats, starts[i] + rows.start)
    return _decide(stats, layout, rule)


def _blocks(weights: Mapping[int, Matrices], members: Sequence[int]) -> Iterator[list[Piece]]:
    """Rows of a batch in cache-sized blocks; one block on an accelerator."""
    limit = BLOCK if weights[members[0]].w.device.type == "cpu" else math.inf
    block: list[Piece] = []
    room: float = limit
    for i in members:
        rows, length = weights[i].w.shape
        first = 0
        while first < rows:
            if block and room < length:
                yield block
                block, room = [], limit
            last = int(min(rows, first + max(1, room // length)))
            block.append(Piece(i, slice(first, last)))
            room -= (last - first) * length
            first = last
    if block:
        yield block


def _measure(w: Tensor, g: Tensor, p: Tensor, stats: RowStats, start: int) -> None:
    """Fill in the statistics of some rows."""
    if w.dtype != stats.gw.dtype:
        w, g, p = (x.to(stats.gw.dtype) for x in (w, g, p))
    into = slice(start, start + w.shape[0])
    product = g * w
    torch.sum(product, 1, out=stats.gw[into])
    torch.sum(torch.mul(p, w, out=product), 1, out=stats.wp[into])
    torch.linalg.vector_norm(g, dim=1, out=stats.g_norm[into])
    torch.linalg.vector_norm(w, dim=1, out=stats.w_norm[into])


@lru_cache(maxsize=256)
def _layout(shapes: tuple[tuple[int, int], ...], delta: float, dtype: torch.dtype, device: torch.device) -> Layout:
    starts, total = [], 0
    for rows, _ in shapes:
        starts.append(total)
        total += rows
    counts = torch.tensor([rows for rows, _ in shapes], device=device)
    owner = torch.arange(len(shapes), device=device).repeat_interleave(counts, output_size=total)
    by_row = torch.tensor([delta / math.sqrt(k) for _, k in shapes], dtype=dtype, device=device)
    by_layer = torch.tensor([delta / math.sqrt(c * k) for c, k in shapes], dtype=dtype, device=device)
    return Layout(tuple(starts), counts, owner, by_row[owner], by_layer)


def _decide(stats: RowStats, layout: Layout, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """Decide for all tensors of a batch, like :func:`projection.decide` for one."""
    channel = below(stats.gw, stats.g_norm, stats.w_norm, layout.row_threshold, rule.eps)
    if rule.views == "layer":
        channel = torch.zeros_like(channel)
    some = _reduce(channel.to(stats.gw.dtype), layout, "min" if rule.rows == "all" else "max") > 0
    if rule.rows == "all":
        channel = some[layout.owner]
    g_norm = _reduce(stats.g_norm.square(), layout, "sum").sqrt()
    w_norm = _reduce(stats.w_norm.square(), layout, "sum").sqrt()
    layer = below(_reduce(stats.gw, layout, "sum"), g_norm, w_norm, layout.layer_threshold, rule.eps) & ~some
    if rule.views == "channel":
        layer = torch.zeros_like(layer)
    view = some.to(stats.gw.dtype) + 2 * layer.to(stats.gw.dtype)
    ratio = torch.where(channel | layer[layout.owner], rule.wd_ratio, 1.0).to(stats.gw.dtype)
    if not rule.project:
        return torch.zeros_like(stats.gw), ratio, view
    of_channel = stats.wp / (stats.w_norm + rule.eps).square()
    of_layer = _reduce(stats.wp, layout, "sum") / (w_norm + rule.eps).square()
    of_layer = torch.where(layer, of_layer, 0.0)[layout.owner]
    return torch.where(channel, of_channel, of_layer), ratio, view


def _reduce(values: Tensor, layout: Layout, how: str) -> Tensor:
    """Reduce the rows of each tensor deterministically, (rows,) to (tensors,)."""
    return torch.segment_reduce(values, how, lengths=layout.counts, unsafe=True)
