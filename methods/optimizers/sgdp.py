"""SGDP: momentum SGD with updates projected on scale-invariant weights."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from methods.metadata import Choice, MethodMetadata, Uniform, defaults_of
from methods.optimizers.batched import Columns
from methods.optimizers.projected import Options, ProjectedOptimizer
from methods.optimizers.projection import OPTIONS, Rows, Views

Buffer = Literal["released", "paper"]
BUFFERS: tuple[Buffer, ...] = ("released", "paper")


class SGDP(ProjectedOptimizer):
    """Momentum SGD without the update's radial part on scale-invariant weights.

    Per tensor: ``buf ← μ·buf + (1-dampening)·g``, starting from zero, so dampening acts from the first step on
    (``torch.optim.SGD`` starts at ``g``). The direction is ``buf``, or ``g + μ·buf`` with ``nesterov``. Where the
    raw gradient is nearly orthogonal to every row of the weight (or to the weight as a whole), the direction
    loses its component along it. The decoupled decay ``lr·weight_decay/(1-momentum)``, the steady shrink of SGD's
    L2 penalty at the same ``weight_decay``, is multiplied by ``wd_ratio`` there. Tensors of one dimension are
    never projected. Heo et al., "AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
    Weights", ICLR 2021, algorithm 1; views, thresholds and decay as in the released code 0.3.0.

    Args:
        params: tensors, named tensors or parameter groups, as any ``torch.optim`` optimizer takes them.
        lr: learning rate, a float or a tensor of one element.
        momentum: μ in [0, 1).
        dampening: of the gradient as it enters the buffer; allowed together with ``nesterov``.
        weight_decay: decoupled decay.
        nesterov: use ``g + μ·buf`` as direction.
        eps: floor of the norms in the cosine, and added to the norm in the projection.
        buffer: without ``nesterov`` the released code projects the momentum buffer itself (``released``); the
            paper projects the update only (``paper``). With ``nesterov`` the two agree.
        capturable: accepted for symmetry; SGDP keeps no step count, so every step can be captured.
        delta, wd_ratio, project, views, rows, record, maximize, foreach, native, differentiable: as of ``AdamP``.

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: ``native=True`` without a compiler; in ``step``, a sparse gradient or a complex parameter.
    """

    states = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        eps: float = 1e-8,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        *,
        buffer: Buffer = "released",
        project: bool = True,
        views: Views = "both",
        rows: Rows = "all",
        record: bool = False,
        maximize: bool = False,
        foreach: bool | None = None,
        native: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must lie in [0, 1), not {momentum}: the decay is divided by 1 - momentum")
        if buffer not in BUFFERS:
            raise ValueError(f"buffer must be one of {', '.join(BUFFERS)}, not {buffer!r}")
        sgd = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        sgd |= {"nesterov": nesterov, "buffer": buffer}
        rule = {"eps": eps, "delta": delta, "wd_ratio": wd_ratio, "project": project, "views": views, "rows": rows}
        forms = {"foreach": foreach, "native": native, "capturable": capturable, "differentiable": differentiable}
        super().__init__(params, {**sgd, **rule, "record": record, "maximize": maximize, **forms})

    def _decay(self, lr: float | Tensor, options: Options) -> float | Tensor:
        return lr * options["weight_decay"] / (1 - options["momentum"])

    def _scalars(
        self, states: Sequence[Tensor], lr: float | Tensor, options: Options
    ) -> tuple[float | Tensor, float | Tensor]:
        return lr, 0.0

    def _direction(self, g: Tensor, states: Sequence[Tensor], options: Options) -> tuple[float | Tensor, Tensor]:
        (p,) = _directions([g], [states[0]], options)
        # the next step changes the buffer in place, and autograd needs its present values
        return options["lr"], p.clone() if options["differentiable"] else p

    def _write_directions(self, columns: Columns, options: Options) -> None:
        p = _directions(columns.grads, columns.states[0], options)
        if options["nesterov"]:
            torch._foreach_copy_(columns.params, p)

    def _unit(self, options: Options) -> float | Tensor:
        lr: float | Tensor = options["lr"]
        return lr

    def _update_flat(self, columns: Columns, options: Options) -> None:
        p = _directions(columns.grads, columns.states[0], options)
        torch._foreach_mul_(columns.params, 1 - self._decay(options["lr"], options))
        torch._foreach_sub_(columns.params, torch._foreach_mul(p, options["lr"]))

    def _in_buffer(self, options: Options) -> bool:
        return not options["nesterov"]

    def _strips_buffer(self, options: Options) -> bool:
        """As in the released code: the projected direction is the buffer itself."""
        return options["buffer"] == "released" and options["project"] and not options["nesterov"]


def _directions(g: Sequence[Tensor], buffers: list[Tensor], options: Options) -> Sequence[Tensor]:
    """Update the buffers in place; return directions (without ``nesterov`` the buffers)."""
    if options["maximize"]:
        g = torch._foreach_neg(g)
    torch._foreach_mul_(buffers, options["momentum"])
    torch._foreach_add_(buffers, g, alpha=1 - options["dampening"])
    return torch._foreach_add(g, buffers, alpha=options["momentum"]) if options["nesterov"] else buffers


METADATA = MethodMetadata(
    of=SGDP,
    name="sgdp",
    title="SGDP",
    slot="optimizer",
    role="method",
    family="sgd",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217",
    summary="momentum SGD with decoupled decay whose updates lose their radial part on scale-invariant weights",
    required=("lr",),
    defaults=defaults_of(SGDP, without=("foreach", "capturable", "differentiable"))
    # a machine's compiler must not affect its results
    | {"native": False},
    options={**OPTIONS, "buffer": BUFFERS},
    search_space={
        "lr": Uniform(1e-4, 1.0, log=True),
        "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
        "momentum": Uniform(0.8, 0.99),
        "delta": Choice((0.0, 0.1, float("inf"))),
        "wd_ratio": Choice((0.1, 1.0)),
    },
    diagnostics=("projected_share", "projected_share.channel", "projected_share.layer"),
)
