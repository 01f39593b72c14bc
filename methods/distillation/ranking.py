"""Zipf labels: masses 1/r for non-target classes in ranked order."""

import numpy as np
import torch
from torch import Tensor

from methods.distillation.logits import pick
from methods.precision import widen

SOURCES: tuple[str, ...] = ("released", "paper", "unnormalised", "weak", "student", "teacher", "random", "uniform")
GUARD = 1e-6
"""Added to 1 − (sum over the targets), as in the released code."""


def rank_scores(
    student: Tensor, weak: Tensor, targets: Tensor, source: str, *, teacher: Tensor | None, noise: Tensor | None
) -> Tensor:
    """Scores that rank the classes, highest first, (N, C), without gradient.

    ``student``, ``weak`` (the weak head) and ``teacher`` are logits, ``targets`` (N, C) is true at the target classes.
    ``source`` is ``paper``: normalised weak + normalised student probabilities (arXiv 2303.13005, section 3.2);
    ``released``: the student's part is a log-probability, over one minus the target's; ``unnormalised``: the sum of
    plain probabilities; ``weak``, ``student`` or ``teacher``: one of them; ``random``: the ``noise`` (N, C).
    """
    if source == "teacher":
        assert teacher is not None
        return widen(teacher.detach())
    if source == "random":
        assert noise is not None
        return noise
    student, weak = widen(student.detach()), widen(weak.detach())
    if source == "student":
        return student
    if source == "weak":
        return weak
    weak_part = weak.softmax(dim=1)
    student_part = student.log_softmax(dim=1) if source == "released" else student.softmax(dim=1)
    if source == "unnormalised":
        return weak_part + student_part
    return _over_rest(weak_part, targets) + _over_rest(student_part, targets)


def _over_rest(part: Tensor, targets: Tensor) -> Tensor:
    rest = 1 - part.masked_fill(~targets, 0.0).sum(dim=1, keepdim=True)
    return part / (rest + GUARD)


def descending_order(scores: Tensor) -> Tensor:
    """Class indices by descending score, (N, C); ties by ascending index; no NaN.

    On the CPU several times faster than ``argsort``, which compares floats one by one: a float32's bits, reordered
    like integers, and the index below them in one int64 are unique keys that numpy sorts with vector instructions.
    """
    if scores.device.type == "cpu" and scores.dtype == torch.float32:
        order: Tensor = _packed_order(scores)
        return order
    return scores.argsort(dim=1, descending=True, stable=True)


@torch.library.custom_op("paper_harness::packed_order", mutates_args=(), device_types="cpu")
def _packed_order(scores: Tensor) -> Tensor:
    # Adding 0 turns −0 into 0, which has other bits.
    bits = (scores.detach() + 0.0).contiguous().numpy().view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    keys = ((~ascending).astype(np.int64) << 32) | np.arange(scores.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF
    return torch.from_numpy(keys)


@_packed_order.register_fake
def _(scores: Tensor) -> Tensor:
    return torch.empty_like(scores, dtype=torch.int64, memory_format=torch.contiguous_format)


def zipf_masses(scores: Tensor, dropped: Tensor, *, over: str) -> Tensor:
    """Labels over the classes that stay, each row of sum one; the highest score has rank 1.

    ``over`` ``all``: ranks count every class, then some are dropped (the released code and the paper's formula), so the
    rest is not 1/1 … 1/(C−1); ``others``: the kept classes are ranked among themselves.
    """
    if over == "others":
        scores = scores.masked_fill(dropped, -torch.inf)
    classes = scores.shape[1]
    order = descending_order(scores)
    law = 1 / torch.arange(1, classes + 1, device=scores.device, dtype=scores.dtype)
    masses = torch.zeros_like(scores).scatter(1, order, law.expand_as(scores)).masked_fill(dropped, 0.0)
    return masses / masses.sum(dim=1, keepdim=True)


def uniform_masses(dropped: Tensor, dtype: torch.dtype) -> Tensor:
    """Equal masses on the classes that stay, (N, C)."""
    kept = (~dropped).to(dtype)
    return kept / kept.sum(dim=1, keepdim=True)


def two_heaviest(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The two heaviest classes of masses (N, C), (N, 2), and their masses; ties by index."""
    first = labels.argmax(dim=1)
    second = labels.scatter(1, first[:, None], -1.0).argmax(dim=1)
    return torch.stack([first, second], dim=1), torch.stack([pick(labels, first), pick(labels, second)], dim=1)
