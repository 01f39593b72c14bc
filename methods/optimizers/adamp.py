"""AdamP: Adam whose updates are projected onto the tangent space of scale-invariant weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, _use_grad_for_differentiable

from methods.cards import Choice, MethodCard, Uniform
from methods.optimizers.batched import Columns, Piece, descend, sort
from methods.optimizers.kernel import Weight, load, takes, takes_kernel
from methods.optimizers.kernel import step as run_kernel
from methods.optimizers.projection import (
    ROWS,
    VIEWS,
    Rows,
    Views,
    decide,
    is_eligible,
    materialized,
    measure,
    per_row,
    refuse_unsupported,
    rule_of,
    stored,
    validate_lr,
    validate_rule,
)


class AdamP(Optimizer):
    """Adam with the radial part of the update removed where the weight is scale-invariant.

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
        record: keep the view that fired (0 none, 1 channel, 2 layer) per tensor; read by :meth:`fired_views`.
        maximize: ascend instead of descend.
        foreach: batched implementation; None takes it wherever it applies and the native one does not.
        native: take the C kernel where ``foreach`` is None, a compiler is there, and the tensors are contiguous
            float32 on a CPU. Its last bits differ from those of the other forms.
        capturable: keep the step count on the parameter's device, for CUDA graphs.
        differentiable: let autograd run through the step.

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: in ``step``, a gradient is sparse or a parameter complex.
    """

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
        native: bool = True,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        validate_lr(lr)
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"betas[{index}] must lie in [0, 1), not {beta}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
        validate_rule(delta, wd_ratio, eps, views, rows)
        if differentiable and foreach:
            raise ValueError("foreach=True has no autograd: use foreach=False or None with differentiable=True")
        defaults = {
            "lr": lr,
            "betas": (betas[0], betas[1]),
            "eps": eps,
            "weight_decay": weight_decay,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "nesterov": nesterov,
            "project": project,
            "views": views,
            "rows": rows,
            "record": record,
            "maximize": maximize,
            "foreach": foreach,
            "native": native,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def fired_views(self) -> dict[Tensor, Tensor]:
        """The view that fired in the last step, per eligible tensor, as tensors of shape () on its device.

        Values: 0 none, 1 channel, 2 layer. Empty without ``record=True``.
        """
        return {p: state["fired_view"] for p, state in self.state.items() if "fired_view" in state}

    # torch.compile recognises a method of this name and keeps its effect on the state out of the graph.
    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        exp_avgs: list[Tensor],
        exp_avg_sqs: list[Tensor],
        steps: list[Tensor],
        fired: list[Tensor],
    ) -> None:
        for p in group["params"]:
            if p.grad is None:
                continue
            refuse_unsupported("AdamP", p, p.grad)
            state = self.state[p]
            if "step" not in state:
                # on its device, so that neither graphs nor the fused kernel ever ask the host for it
                state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
                state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            elif state["step"].device != p.device:
                # loaded from a checkpoint of another device; torch moves every state but this one
                state["step"] = state["step"].to(p.device)
            if group["record"] and is_eligible(p) and "fired_view" not in state:
                state["fired_view"] = torch.zeros((), dtype=p.dtype, device=p.device)
            params.append(p)
            grads.append(p.grad)
            exp_avgs.append(state["exp_avg"])
            exp_avg_sqs.append(state["exp_avg_sq"])
            steps.append(state["step"])
            if group["record"] and is_eligible(p):
                fired.append(state["fired_view"])

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step.

        Args:
            closure: reevaluates the model and returns the loss.

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: a gradient is sparse or a parameter complex.
        """
        self._accelerator_graph_capture_health_check()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            exp_avgs: list[Tensor] = []
            exp_avg_sqs: list[Tensor] = []
            steps: list[Tensor] = []
            columns = Columns([], [], (exp_avgs, exp_avg_sqs, steps), [])
            self._init_group(group, columns.params, columns.grads, exp_avgs, exp_avg_sqs, steps, columns.fired)
            if not columns.params:
                continue
            torch._foreach_add_(steps, 1)
            update = _update_native if takes_kernel(group) else _update_batched if _batches(group) else _update
            update(columns, group)
        return loss


def _batches(options: Mapping[str, Any]) -> bool:
    """Whether the batched form applies: autograd and the compiler follow the plain loop."""
    return not (options["foreach"] is False or options["differentiable"] or torch.compiler.is_compiling())


def _update_native(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group in the C kernel, and what it does not take in batches."""
    lr, betas = float(options["lr"]), options["betas"]
    records = columns.records()
    weights: list[Weight] = []
    rest: list[int] = []
    for i, (w, g, m, v, count) in enumerate(columns.each()):
        if not takes(w, g, m, v):
            rest.append(i)
            continue
        step, eps = _scalars(count, lr, options)
        weights.append(Weight(w, g, (m, v), float(step), float(eps), records.get(i)))
    kernel = load()
    assert kernel is not None
    run_kernel(kernel, weights, rule_of(options), options, decay=lr * options["weight_decay"], betas=betas)
    if rest:
        _update_batched(columns.pick(rest), options)


def _update_batched(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group: weights in batches of row blocks, the rest in one call, odd layouts alone."""
    steps = columns.states[2]
    weights, flat, odd = sort(columns.params, columns.grads, *columns.states[:2])
    if options["nesterov"]:
        odd, flat = odd + [i for members in flat for i in members], []
    if odd:
        _update(columns.pick(odd), options)
    for members in flat:
        chosen = columns.pick(members)
        m, v, counts = chosen.states
        _fused_adam(chosen.params, chosen.grads, m, v, counts, weight_decay=options["weight_decay"], options=options)

    def direction(pieces: Sequence[Piece], s: list[Tensor]) -> None:
        g = [weights[i].g[rows] for i, rows in pieces]
        m = [weights[i].states[0][rows] for i, rows in pieces]
        v = [weights[i].states[1][rows] for i, rows in pieces]
        counts = [steps[i] for i, _ in pieces]
        if options["nesterov"]:
            for out, gi, mi, vi, count in zip(s, g, m, v, counts, strict=True):
                step, p = _direction(gi, mi, vi, count, options)
                torch.mul(p, -step, out=out)
            return
        # on a parameter of zero and without decay, Adam's update is -step·p itself
        torch._foreach_zero_(s)
        _fused_adam(s, g, m, v, counts, weight_decay=0.0, options=options)

    views = descend(weights, direction, rule_of(options), decay=options["lr"] * options["weight_decay"], step=-1.0)
    if options["record"] and views:
        records = columns.records()
        torch._foreach_copy_([records[i] for i in views], list(views.values()))


def _fused_adam(
    w: list[Tensor],
    g: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    counts: list[Tensor],
    *,
    weight_decay: float,
    options: Mapping[str, Any],
) -> None:
    lr = options["lr"]
    if isinstance(lr, Tensor):
        # the kernel takes a tensor on the device of its parameters only
        lr = lr.to(w[0].device, non_blocking=True).squeeze()
    torch._fused_adamw_(
        w,
        g,
        m,
        v,
        [],
        counts,
        lr=lr,
        beta1=options["betas"][0],
        beta2=options["betas"][1],
        weight_decay=weight_decay,
        eps=options["eps"],
        amsgrad=False,
        maximize=options["maximize"],
    )


def _direction(
    g: Tensor, m: Tensor, v: Tensor, count: Tensor, options: Mapping[str, Any]
) -> tuple[float | Tensor, Tensor]:
    """Update both moments in place; step size and direction of Adam, or of Adam with Nesterov's numerator.

    The direction is that of Adam up to a scalar that the step size takes back.
    """
    beta1, beta2 = options["betas"]
    if options["maximize"]:
        g = -g
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    numerator = m.lerp(g, 1 - beta1) if options["nesterov"] else m
    if options["differentiable"]:
        # the next step changes m in place, and autograd needs it as it is now
        numerator = numerator.clone()
    step, eps = _scalars(count, options["lr"], options)
    return materialized(step), numerator / (v.sqrt() + materialized(eps))


def _scalars(count: Tensor, lr: float | Tensor, options: Mapping[str, Any]) -> tuple[float | Tensor, float | Tensor]:
    """Step size and eps with the bias corrections in them: lr·m̂/(√v̂ + eps) without dividing every element by them."""
    beta1, beta2 = options["betas"]
    root = bias_correction(beta2, count) ** 0.5
    return lr * root / bias_correction(beta1, count), options["eps"] * root


def bias_correction(beta: float, count: Tensor) -> float | Tensor:
    """``1 - βᵗ`` without the cancellation that float32 suffers at small t.

    A count on the host gives a float, so that no kernel has to wait for it; one on a device, or under
    ``torch.compile``, stays a tensor.
    """
    if count.is_cpu and not torch.compiler.is_compiling():
        return 1 - beta ** float(count)
    if beta == 0.0:
        return 1.0
    return -torch.expm1(count * math.log(beta))


def _update(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group tensor by tensor; autograd and torch.compile can follow it."""
    decay = options["lr"] * options["weight_decay"]
    rule = rule_of(options)
    records = iter(columns.fired)
    for w, g, m, v, count in columns.each():
        step, p = _direction(g, m, v, count, options)
        # copy_ below changes w, and autograd needs it as it is now
        origin = w.clone() if options["differentiable"] else w
        if is_eligible(w):
            decision = decide(measure(origin, g, p), w[0].numel(), rule)
            factor = 1 - decay * decision.ratio + step * decision.radial
            w.copy_(origin * per_row(stored(factor), w) - step * p)
            if options["record"]:
                next(records).copy_(decision.view)
        else:
            w.copy_(origin * (1 - decay) - step * p)


CARD = MethodCard(
    name="adamp",
    title="AdamP",
    slot="optimizer",
    role="method",
    family="adam",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217",
    target="AdamP",
    summary="Adam with decoupled decay whose updates lose their radial part on scale-invariant weights",
    defaults={
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "delta": 0.1,
        "wd_ratio": 0.1,
        "nesterov": False,
        "project": True,
        "views": "both",
        "rows": "all",
        "record": False,
        "maximize": False,
        # whether a compiler is on a machine must not be part of its results
        "native": False,
    },
    options={
        "nesterov": (False, True),
        "project": (True, False),
        "views": VIEWS,
        "rows": ROWS,
        "record": (False, True),
        "maximize": (False, True),
    },
    search_space={
        "lr": Uniform(1e-5, 1e-1, log=True),
        "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)),
        "delta": Choice((0.0, 0.1, float("inf"))),
        "wd_ratio": Choice((0.1, 1.0)),
    },
    diagnostics=("projected_share", "projected_share.channel", "projected_share.layer"),
)
