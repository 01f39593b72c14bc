"""AdamP: Adam with updates projected onto the tangent space of scale-invariant weights."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from methods.compiled import settle
from methods.metadata import Choice, MethodMetadata, Uniform, defaults_of
from methods.optimizers.batched import Columns
from methods.optimizers.projected import Options, ProjectedOptimizer
from methods.optimizers.projection import OPTIONS, Rows, Views


class AdamP(ProjectedOptimizer):
    """Adam without the update's radial part on scale-invariant weights.

    Per tensor, with ``p`` Adam's bias-corrected direction: where the raw gradient is nearly orthogonal to every
    row of the weight (or to the weight as a whole), ``p`` loses its component along it and the decoupled weight
    decay is multiplied by ``wd_ratio``. Tensors of one dimension are never projected. Heo et al., "AdamP: Slowing
    Down the Slowdown for Momentum Optimizers on Scale-invariant Weights", ICLR 2021, algorithm 2; views,
    thresholds and decay as in the released code 0.3.0.

    Args:
        params: tensors, named tensors or parameter groups, as any ``torch.optim`` optimizer takes them.
        lr: learning rate, a float or a tensor of one element.
        betas: decay rates of the first and second moment, each in [0, 1).
        eps: added to the root of the second moment, and to the norms of the projection.
        weight_decay: decoupled decay, as in AdamW; here 0 by default as in the released code (AdamW: 0.01).
        delta: the projection fires below the cosine ``delta/√(row length)``; 0 never, infinity always.
        wd_ratio: factor of the weight decay where it fires.
        nesterov: use ``β₁·m + (1-β₁)·g`` as numerator.
        project: False decides and weakens the decay, but leaves the update alone.
        views: views to try: ``both`` (channel, then layer), ``channel`` or ``layer``.
        rows: ``all`` rows of a view must pass, or ``each`` decides for itself.
        record: keep the view that fired (0 none, 1 channel, 2 layer) per tensor for :meth:`fired_views`.
        maximize: ascend instead of descend.
        foreach: batched implementation; None takes it if it applies and the native one does not.
        native: the C kernel for contiguous float32 tensors on a CPU; its last bits differ from those of the
            other forms. None takes it if a compiler is available, True requires it, False never takes it.
        capturable: keep the step count on the parameter's device, for CUDA graphs.
        differentiable: let autograd run through the step.

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: ``native=True`` without a compiler; in ``step``, a sparse gradient or a complex parameter.
    """

    states = ("exp_avg", "exp_avg_sq", "step")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        nesterov: bool = False,
        *,
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
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"betas[{index}] must lie in [0, 1), not {beta}")
        adam = {"lr": lr, "betas": (betas[0], betas[1]), "eps": eps, "weight_decay": weight_decay, "nesterov": nesterov}
        rule = {"delta": delta, "wd_ratio": wd_ratio, "project": project, "views": views, "rows": rows}
        forms = {"foreach": foreach, "native": native, "capturable": capturable, "differentiable": differentiable}
        super().__init__(params, {**adam, **rule, "record": record, "maximize": maximize, **forms})

    def _decay(self, lr: float | Tensor, options: Options) -> float | Tensor:
        return lr * options["weight_decay"]

    def _scalars(
        self, states: Sequence[Tensor], lr: float | Tensor, options: Options
    ) -> tuple[float | Tensor, float | Tensor]:
        """Step size and eps with the bias corrections folded in: lr·m̂/(√v̂ + eps)."""
        beta1, beta2 = options["betas"]
        count = states[-1]
        root = bias_correction(beta2, count) ** 0.5
        return lr * root / bias_correction(beta1, count), options["eps"] * root

    def _direction(self, g: Tensor, states: Sequence[Tensor], options: Options) -> tuple[float | Tensor, Tensor]:
        """Adam's direction (or Nesterov's form of it) up to a scalar factor."""
        m, v, _ = states
        beta1, beta2 = options["betas"]
        if options["maximize"]:
            g = -g
        m.lerp_(g, 1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        numerator = m.lerp(g, 1 - beta1) if options["nesterov"] else m
        if options["differentiable"]:
            # the next step changes m in place, and autograd needs its present values
            numerator = numerator.clone()
        step, eps = self._scalars(states, options["lr"], options)
        return settle(step), numerator / (v.sqrt() + settle(eps))

    def _write_directions(self, columns: Columns, options: Options) -> None:
        if options["nesterov"]:
            for out, g, *states in columns.each():
                step, p = self._direction(g, states, options)
                torch.mul(p, -step, out=out)
            return
        # on a parameter of zero and without decay, Adam's update is -step·p itself
        torch._foreach_zero_(columns.params)
        _fused_adam(columns, options, weight_decay=0.0)

    def _unit(self, options: Options) -> float | Tensor:
        return -1.0

    def _update_flat(self, columns: Columns, options: Options) -> None:
        if options["nesterov"]:
            self._update_each(columns, options)
        else:
            _fused_adam(columns, options, weight_decay=options["weight_decay"])


def _fused_adam(columns: Columns, options: Options, *, weight_decay: float) -> None:
    """Call torch's fused AdamW."""
    lr = options["lr"]
    if isinstance(lr, Tensor):
        # the kernel accepts a tensor only on the device of its parameters
        lr = lr.to(columns.params[0].device, non_blocking=True).squeeze()
    m, v, counts = columns.states
    beta1, beta2 = options["betas"]
    rates = {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": weight_decay, "eps": options["eps"]}
    torch._fused_adamw_(
        columns.params, columns.grads, m, v, [], counts, **rates, amsgrad=False, maximize=options["maximize"]
    )


def bias_correction(beta: float, count: Tensor) -> float | Tensor:
    """``1 - βᵗ`` without the cancellation of float32 at small t; a float if ``t`` is on the host."""
    if count.is_cpu and not torch.compiler.is_compiling():
        return 1 - beta ** float(count)
    if beta == 0.0:
        return 1.0
    return -torch.expm1(count * math.log(beta))


METADATA = MethodMetadata(
    of=AdamP,
    name="adamp",
    title="AdamP",
    slot="optimizer",
    role="method",
    family="adam",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217",
    summary="Adam with decoupled decay whose updates lose their radial part on scale-invariant weights",
    defaults=defaults_of(AdamP, without=("foreach", "capturable", "differentiable"))
    # a machine's compiler must not affect its results
    | {"native": False},
    options=OPTIONS,
    search_space={
        "lr": Uniform(1e-5, 1e-1, log=True),
        "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
        "delta": Choice((0.0, 0.1, float("inf"))),
        "wd_ratio": Choice((0.1, 1.0)),
    },
    diagnostics=("projected_share", "projected_share.channel", "projected_share.layer"),
)
