"""SGDP: momentum SGD whose updates are projected onto the tangent space of scale-invariant weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

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
    measure,
    per_row,
    refuse_unsupported,
    rule_of,
    validate_lr,
    validate_rule,
)

Buffer = Literal["released", "paper"]
BUFFERS: tuple[Buffer, ...] = ("released", "paper")


class SGDP(Optimizer):
    """Momentum SGD with the radial part of the update removed where the weight is scale-invariant.

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
        delta: the projection fires below the cosine ``delta/√(row length)``; 0 never, infinity always.
        wd_ratio: factor of the weight decay where it fires.
        buffer: without ``nesterov`` the released code projects the momentum buffer itself (``released``); the
            paper projects the update only (``paper``). With ``nesterov`` the two agree.
        project: False decides and weakens the decay, but leaves the update alone.
        views: views to try: ``both`` (channel, then layer), ``channel`` or ``layer``.
        rows: ``all`` rows of a view must pass, or ``each`` decides for itself.
        record: keep the view that fired (0 none, 1 channel, 2 layer) per tensor; read by :meth:`fired_views`.
        maximize: ascend instead of descend.
        foreach: batched implementation; None takes it wherever it applies and the native one does not.
        native: take the C kernel where ``foreach`` is None, a compiler is there, and the tensors are contiguous
            float32 on a CPU. Its last bits differ from those of the other forms.
        capturable: accepted for symmetry; SGDP keeps no step count, so every step can be captured.
        differentiable: let autograd run through the step.

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: in ``step``, a gradient is sparse or a parameter complex.
    """

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
        native: bool = True,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        validate_lr(lr)
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum must lie in [0, 1), not {momentum}: the decay is divided by 1 - momentum")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
        if buffer not in BUFFERS:
            raise ValueError(f"buffer must be one of {', '.join(BUFFERS)}, not {buffer!r}")
        validate_rule(delta, wd_ratio, eps, views, rows)
        if differentiable and foreach:
            raise ValueError("foreach=True has no autograd: use foreach=False or None with differentiable=True")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "eps": eps,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "buffer": buffer,
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
        buffers: list[Tensor],
        fired: list[Tensor],
    ) -> None:
        for p in group["params"]:
            if p.grad is None:
                continue
            refuse_unsupported("SGDP", p, p.grad)
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            if group["record"] and is_eligible(p) and "fired_view" not in state:
                state["fired_view"] = torch.zeros((), dtype=p.dtype, device=p.device)
            params.append(p)
            grads.append(p.grad)
            buffers.append(state["momentum_buffer"])
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
            buffers: list[Tensor] = []
            columns = Columns([], [], (buffers,), [])
            self._init_group(group, columns.params, columns.grads, buffers, columns.fired)
            if not columns.params:
                continue
            update = _update_native if takes_kernel(group) else _update_batched if _batches(group) else _update
            update(columns, group)
        return loss


def _batches(options: Mapping[str, Any]) -> bool:
    """Whether the batched form applies: autograd and the compiler follow the plain loop."""
    return not (options["foreach"] is False or options["differentiable"] or torch.compiler.is_compiling())


def _rewrites_buffer(options: Mapping[str, Any]) -> bool:
    """Whether the direction is the buffer itself and loses its radial part for good, as in the released code."""
    return options["buffer"] == "released" and options["project"] and not options["nesterov"]


def _decay(options: Mapping[str, Any]) -> float | Tensor:
    return options["lr"] * options["weight_decay"] / (1 - options["momentum"])


def _update_native(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group in the C kernel, and what it does not take in batches."""
    lr = float(options["lr"])
    records = columns.records()
    weights: list[Weight] = []
    rest: list[int] = []
    for i, (w, g, buffer) in enumerate(columns.each()):
        if takes(w, g, buffer):
            weights.append(Weight(w, g, (buffer,), lr, 0.0, records.get(i)))
        else:
            rest.append(i)
    kernel = load()
    assert kernel is not None
    strip = _rewrites_buffer(options)
    run_kernel(kernel, weights, rule_of(options), options, decay=float(_decay(options)), betas=None, strip=strip)
    if rest:
        _update_batched(columns.pick(rest), options)


def _update_batched(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group: weights in batches of row blocks, the rest in lists, odd layouts alone."""
    weights, flat, odd = sort(columns.params, columns.grads, *columns.states)
    if odd:
        _update(columns.pick(odd), options)
    lr, decay = options["lr"], _decay(options)
    for members in flat:
        chosen = columns.pick(members)
        s = _directions(chosen.grads, chosen.states[0], options)
        torch._foreach_mul_(chosen.params, 1 - decay)
        torch._foreach_sub_(chosen.params, torch._foreach_mul(s, lr))

    def direction(pieces: Sequence[Piece], s: list[Tensor]) -> None:
        g = [weights[i].g[rows] for i, rows in pieces]
        p = _directions(g, [weights[i].states[0][rows] for i, rows in pieces], options)
        if options["nesterov"]:
            torch._foreach_copy_(s, p)

    views = descend(
        weights,
        direction,
        rule_of(options),
        decay=decay,
        step=lr,
        # without nesterov the direction is the buffer: it is neither copied nor written twice
        buffers=None if options["nesterov"] else {i: matrices.states[0] for i, matrices in weights.items()},
        strip=_rewrites_buffer(options),
    )
    if options["record"] and views:
        records = columns.records()
        torch._foreach_copy_([records[i] for i in views], list(views.values()))


def _directions(g: list[Tensor], buffers: list[Tensor], options: Mapping[str, Any]) -> Sequence[Tensor]:
    """Update the buffers in place; the directions, which are the buffers themselves without ``nesterov``."""
    if options["maximize"]:
        g = list(torch._foreach_neg(g))
    torch._foreach_mul_(buffers, options["momentum"])
    torch._foreach_add_(buffers, g, alpha=1 - options["dampening"])
    return torch._foreach_add(g, buffers, alpha=options["momentum"]) if options["nesterov"] else buffers


def _update(columns: Columns, options: Mapping[str, Any]) -> None:
    """Update one parameter group tensor by tensor; autograd and torch.compile can follow it."""
    lr, decay = options["lr"], _decay(options)
    rule = rule_of(options)
    records = iter(columns.fired)
    for w, g, buffer in columns.each():
        (p,) = _directions([g], [buffer], options)
        origin = w
        if options["differentiable"]:
            # the next step changes buffer and w in place, and autograd needs them as they are now
            p, origin = p.clone(), w.clone()
        if is_eligible(w):
            decision = decide(measure(origin, g, p), w[0].numel(), rule)
            factor = 1 - decay * decision.ratio + lr * decision.radial
            updated = origin * per_row(factor, w) - lr * p
            if _rewrites_buffer(options):
                buffer.sub_(origin * per_row(decision.radial, w))
            w.copy_(updated)
            if options["record"]:
                next(records).copy_(decision.view)
        else:
            w.copy_(origin * (1 - decay) - lr * p)


CARD = MethodCard(
    name="sgdp",
    title="SGDP",
    slot="optimizer",
    role="method",
    family="sgd",
    paper="Heo, Chun, Oh, Han, Yun, Kim, Uh, Ha: AdamP: Slowing Down the Slowdown for Momentum Optimizers on "
    "Scale-invariant Weights, ICLR 2021, arXiv 2006.08217",
    target="SGDP",
    summary="momentum SGD with decoupled decay whose updates lose their radial part on scale-invariant weights",
    required=("lr",),
    defaults={
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "eps": 1e-8,
        "delta": 0.1,
        "wd_ratio": 0.1,
        "buffer": "released",
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
        "buffer": BUFFERS,
        "project": (True, False),
        "views": VIEWS,
        "rows": ROWS,
        "record": (False, True),
        "maximize": (False, True),
    },
    search_space={
        "lr": Uniform(1e-4, 1.0, log=True),
        "weight_decay": Choice((0.0, 1e-6, 1e-5, 1e-4, 1e-3)),
        "momentum": Uniform(0.8, 0.99),
        "delta": Choice((0.0, 0.1, float("inf"))),
        "wd_ratio": Choice((0.1, 1.0)),
    },
    diagnostics=("projected_share", "projected_share.channel", "projected_share.layer"),
)
