"""AdamP's and SGDP's projection: test and effect on update and decay.

A weight that a normalisation layer follows is scale-invariant: its gradient is orthogonal to it, row by row or as
a whole. Momentum nevertheless accumulates a radial part that only grows the norm and so shrinks the effective
step. AdamP and SGDP detect such weights by the angle between raw gradient and weight and remove the radial part
of the update (Heo et al., ICLR 2021, section 3 and algorithms 1 and 2; views and thresholds as in the released
code 0.3.0).

Everything here stays on the device as tensors: the host never reads a decision.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Views = Literal["both", "channel", "layer"]
Rows = Literal["all", "each"]

VIEWS: tuple[Views, ...] = ("both", "channel", "layer")
ROWS: tuple[Rows, ...] = ("all", "each")
OPTIONS: dict[str, tuple[bool | str, ...]] = {
    "nesterov": (False, True),
    "project": (True, False),
    "views": VIEWS,
    "rows": ROWS,
    **dict.fromkeys(("record", "maximize", "native"), (False, True)),
}
"""Options with a closed list of values that both optimizers have."""


class Rule(NamedTuple):
    """Conditions and effects of the projection.

    Attributes:
        delta: fires below the cosine ``delta/√(row length)``; 0 never fires, infinity always.
        wd_ratio: factor of the weight decay where it fires.
        eps: floor of the norms in the cosine, and added to ``‖w‖`` in the projection.
        views: which views are tried, in this order: rows of dimension 0, then the whole tensor.
        rows: ``all`` rows must pass for the tensor to fire (released), or ``each`` decides for itself.
        project: False weakens the weight decay where it fires but leaves the update alone.
    """

    delta: float
    wd_ratio: float
    eps: float
    views: Views
    rows: Rows
    project: bool


class RowStats(NamedTuple):
    """Inner products and norms of a tensor's C rows, each (C,)."""

    gw: Tensor
    g_norm: Tensor
    w_norm: Tensor
    wp: Tensor


class Decision(NamedTuple):
    """Effect of the projection on one tensor.

    Attributes:
        radial: (C,) how much of the row ``w`` the direction ``p`` contains, 0 where it did not fire: the
            projected direction is ``p - radial·w``.
        ratio: (C,) factor of the weight decay.
        view: () the view that fired, in the dtype of the statistics: 0 none, 1 channel, 2 layer.
    """

    radial: Tensor
    ratio: Tensor
    view: Tensor


def rule_of(options: Mapping[str, Any]) -> Rule:
    """Read the rule from a parameter group."""
    return Rule(*(options[name] for name in Rule._fields))


def validate_rule(rule: Rule) -> None:
    """Validate the options of the projection; ValueError lists the valid values."""
    if not rule.delta >= 0.0:
        raise ValueError(f"delta must be at least 0 (0 never projects, infinity always), not {rule.delta}")
    if not rule.wd_ratio >= 0.0:
        raise ValueError(f"wd_ratio must be at least 0, not {rule.wd_ratio}")
    if not rule.eps >= 0.0:
        raise ValueError(f"eps must be at least 0, not {rule.eps}")
    if rule.views not in VIEWS:
        raise ValueError(f"views must be one of {', '.join(VIEWS)}, not {rule.views!r}")
    if rule.rows not in ROWS:
        raise ValueError(f"rows must be one of {', '.join(ROWS)}, not {rule.rows!r}")


def validate_lr(lr: float | Tensor) -> None:
    """Validate a learning rate: ValueError if negative or a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"lr as a tensor must hold one element, not {lr.numel()}")
    if not lr >= 0.0:
        raise ValueError(f"lr must be at least 0, not {lr}")


def refuse_unsupported(optimizer: str, parameter: Tensor, gradient: Tensor) -> None:
    """Reject sparse gradients and complex parameters, for which there is no projection (RuntimeError)."""
    if gradient.layout is not torch.strided:
        raise RuntimeError(
            f"{optimizer} does not support sparse gradients: its test needs every row of the gradient. "
            f"Use a dense gradient (nn.Embedding(sparse=False)) or torch.optim.SparseAdam. "
            f"Parameter of shape {tuple(parameter.shape)}"
        )
    if parameter.is_complex():
        raise RuntimeError(
            f"{optimizer} does not support complex parameters: the cosine that decides on the projection is "
            f"defined for real ones. Optimise torch.view_as_real of it. "
            f"Parameter of shape {tuple(parameter.shape)}"
        )


def is_eligible(parameter: Tensor) -> bool:
    """Return true if a tensor may be projected: several dimensions, not empty."""
    return parameter.ndim > 1 and parameter.numel() > 0


def measure(w: Tensor, g: Tensor, p: Tensor) -> RowStats:
    """Row statistics of a weight, its raw gradient and the direction, (C, …) each, in float32 or wider."""
    if w.dtype in (torch.float16, torch.bfloat16):
        w, g, p = w.float(), g.float(), p.float()
    w, g, p = w.flatten(1), g.flatten(1), p.flatten(1)
    return RowStats(
        gw=(g * w).sum(1),
        g_norm=torch.linalg.vector_norm(g, dim=1),
        w_norm=torch.linalg.vector_norm(w, dim=1),
        wp=(w * p).sum(1),
    )


def decide(stats: RowStats, length: int, rule: Rule) -> Decision:
    """Decide for one tensor from the statistics of its C rows.

    Each row has ``length`` elements.

    A zero gradient or a zero weight has cosine 0 and fires. With ``rows="each"`` the layer view is tried if
    no row fired.
    """
    gw, g_norm, w_norm, wp = stats
    never = torch.zeros((), dtype=torch.bool, device=gw.device)
    channel, layer = never, never
    if rule.views != "layer":
        threshold = rule.delta / math.sqrt(max(1, length))
        channel = below(gw, g_norm, w_norm, threshold, rule.eps)
        if rule.rows == "all":
            channel = channel.all()
    whole_norm = torch.linalg.vector_norm(w_norm)
    if rule.views != "channel":
        threshold = rule.delta / math.sqrt(max(1, length * gw.shape[0]))
        whole = below(gw.sum(), torch.linalg.vector_norm(g_norm), whole_norm, threshold, rule.eps)
        layer = whole & ~channel.any()
    fired = channel | layer
    ratio = torch.where(fired, rule.wd_ratio, 1.0).to(gw.dtype)
    view = channel.any().to(gw.dtype) + 2 * layer.to(gw.dtype)
    if not rule.project:
        return Decision(torch.zeros_like(gw), ratio.expand_as(gw), view)
    of_channel = wp / (w_norm + rule.eps).square()
    of_layer = wp.sum() / (whole_norm + rule.eps).square()
    radial = torch.where(channel, of_channel, torch.where(layer, of_layer, 0.0))
    return Decision(radial, ratio.expand_as(gw), view)


def below(gw: Tensor, g_norm: Tensor, w_norm: Tensor, threshold: float | Tensor, eps: float) -> Tensor:
    """Test ``|cos| < threshold`` without a division by zero norms."""
    return gw.abs() < threshold * g_norm.clamp_min(eps) * w_norm.clamp_min(eps)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Reshape (C,) to (C, 1, …) to multiply the rows of ``like``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


@torch.library.custom_op("methods::stored", mutates_args=())
def _stored(values: Tensor) -> Tensor:
    return values.clone()


@_stored.register_fake
def _(values: Tensor) -> Tensor:
    return torch.empty_like(values)


def stored(values: Tensor) -> Tensor:
    """The same row factors, under ``torch.compile`` computed once per row.

    A reduction does not work here: the CPU backend of torch 2.14 fails to fuse it with the loop over the rows.
    """
    return _stored(values) if torch.compiler.is_compiling() else values
