"""Base of AdamP and SGDP: parameter groups, state, three forms of step.

The C kernel (``kernel``) is the fastest, the batched form (``batched``) works on a device and without a compiler, and
autograd and ``torch.compile`` can follow the plain loop; a group takes one of them. A subclass writes its rule alone:
how the state and the direction of a step come from a gradient, and how strong the decay is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, _use_grad_for_differentiable

from methods.optimizers import kernel
from methods.optimizers.batched import Columns, Piece, descend, sort
from methods.optimizers.projection import (
    decide,
    is_eligible,
    measure,
    per_row,
    refuse_unsupported,
    rule_of,
    stored,
    validate_lr,
    validate_rule,
)

Options = Mapping[str, Any]
"""A parameter group's options."""


class ProjectedOptimizer(Optimizer):
    """An optimizer that removes the radial part of updates of scale-invariant weights.

    Attributes:
        states: names of the state per parameter: tensors of its shape, and last ``step`` if steps are counted.

    Args:
        params: tensors, named tensors or parameter groups.
        defaults: every option of the subclass, among them those of the projection (``projection.Rule``) and of the
            form of a step (``maximize``, ``foreach``, ``native``, ``capturable``, ``differentiable``).

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: ``native=True`` on a machine that cannot build the kernel.
    """

    states: ClassVar[tuple[str, ...]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        validate_lr(defaults["lr"])
        if not defaults["weight_decay"] >= 0.0:
            raise ValueError(f"weight_decay must be at least 0, not {defaults['weight_decay']}")
        validate_rule(rule_of(defaults))
        if defaults["differentiable"] and defaults["foreach"]:
            raise ValueError("foreach=True has no autograd: use foreach=False or None with differentiable=True")
        if defaults["native"] and (defaults["foreach"] is not None or defaults["differentiable"]):
            raise ValueError("native=True is a separate form: leave foreach at None and differentiable at False")
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; RuntimeError for ``native=True`` where the kernel cannot be built."""
        if param_group.get("native", self.defaults["native"]):
            kernel.require()
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def fired_views(self) -> dict[Tensor, Tensor]:
        """View that fired last, per eligible tensor: 0 none, 1 channel, 2 layer; needs ``record=True``."""
        return {p: state["fired_view"] for p, state in self.state.items() if "fired_view" in state}

    # torch.compile recognises a method of this name and keeps its effect on the state out of the graph
    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        fired: list[Tensor],
        *columns: list[Tensor],
    ) -> None:
        for p in group["params"]:
            if p.grad is None:
                continue
            refuse_unsupported(type(self).__name__, p, p.grad)
            state = self.state[p]
            for name, column in zip(self.states, columns, strict=True):
                if name != "step":
                    if name not in state:
                        state[name] = torch.zeros_like(p, memory_format=torch.preserve_format)
                elif name not in state:
                    # on its device, so that neither graphs nor the fused kernel wait for the host
                    state[name] = torch.zeros((), dtype=torch.float32, device=p.device)
                elif state[name].device != p.device:
                    # loaded from a checkpoint of another device; torch moves every state except this one
                    state[name] = state[name].to(p.device)
                column.append(state[name])
            params.append(p)
            grads.append(p.grad)
            if group["record"] and is_eligible(p):
                if "fired_view" not in state:
                    state["fired_view"] = torch.zeros((), dtype=p.dtype, device=p.device)
                fired.append(state["fired_view"])

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; return the loss of ``closure``, which reevaluates the model, or None.

        Raises:
            RuntimeError: a gradient is sparse or a parameter complex.
        """
        self._accelerator_graph_capture_health_check()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            columns = Columns([], [], tuple([] for _ in self.states), [])
            self._init_group(group, columns.params, columns.grads, columns.fired, *columns.states)
            if not columns.params:
                continue
            if self.states[-1] == "step":
                torch._foreach_add_(columns.states[-1], 1)
            if kernel.takes_group(group):
                self._update_native(columns, group)
            elif group["foreach"] is False or group["differentiable"] or torch.compiler.is_compiling():
                self._update_each(columns, group)
            else:
                self._update_batched(columns, group)
        return loss

    def _decay(self, lr: float | Tensor, options: Options) -> float | Tensor:
        """Weight decay where the projection does not fire, learning rate included."""
        raise NotImplementedError

    def _scalars(
        self, states: Sequence[Tensor], lr: float | Tensor, options: Options
    ) -> tuple[float | Tensor, float | Tensor]:
        """A parameter's step size, and eps as the kernel adds it."""
        raise NotImplementedError

    def _direction(self, g: Tensor, states: Sequence[Tensor], options: Options) -> tuple[float | Tensor, Tensor]:
        """Update a parameter's state in place; return step size and direction."""
        raise NotImplementedError

    def _write_directions(self, columns: Columns, options: Options) -> None:
        """Update states in place and write directions to ``params``, here scratch memory."""
        raise NotImplementedError

    def _unit(self, options: Options) -> float | Tensor:
        """Step size in units of the directions that ``_write_directions`` writes."""
        raise NotImplementedError

    def _update_flat(self, columns: Columns, options: Options) -> None:
        """Update parameters of one device and type that are never projected."""
        raise NotImplementedError

    def _in_buffer(self, options: Options) -> bool:
        """True if the directions are the first state itself."""
        return False

    def _strips_buffer(self, options: Options) -> bool:
        """True if that state loses its radial part permanently."""
        return False

    def _update_native(self, columns: Columns, options: Options) -> None:
        """Update a parameter group in the C kernel, unsupported tensors in batches."""
        lr, shaped = float(options["lr"]), sum(name != "step" for name in self.states)
        records = columns.records()
        weights: list[kernel.Weight] = []
        rest: list[int] = []
        for i, (w, g, *states) in enumerate(columns.each()):
            if not kernel.takes(w, g, *states[:shaped]):
                rest.append(i)
                continue
            step, eps = self._scalars(states, lr, options)
            weights.append(kernel.Weight(w, g, tuple(states[:shaped]), float(step), float(eps), records.get(i)))
        decay, strip = float(self._decay(lr, options)), self._strips_buffer(options)
        kernel.step(weights, rule_of(options), options, decay=decay, strip=strip)
        if rest:
            self._update_batched(columns.pick(rest), options)

    def _update_batched(self, columns: Columns, options: Options) -> None:
        """Update a parameter group in row blocks and lists, odd layouts alone."""
        shaped = [column for name, column in zip(self.states, columns.states, strict=True) if name != "step"]
        weights, flat, odd = sort(columns.params, columns.grads, *shaped)
        if odd:
            self._update_each(columns.pick(odd), options)
        for members in flat:
            self._update_flat(columns.pick(members), options)

        def direction(pieces: Sequence[Piece], s: list[Tensor]) -> None:
            g = [weights[i].g[rows] for i, rows in pieces]
            states = [[weights[i].states[k][rows] for i, rows in pieces] for k in range(len(shaped))]
            counts = [[column[i] for i, _ in pieces] for column in columns.states[len(shaped) :]]
            self._write_directions(Columns(s, g, (*states, *counts), []), options)

        views = descend(
            weights,
            direction,
            rule_of(options),
            decay=self._decay(options["lr"], options),
            step=self._unit(options),
            buffers={i: matrices.states[0] for i, matrices in weights.items()} if self._in_buffer(options) else None,
            strip=self._strips_buffer(options),
        )
        if options["record"] and views:
            records = columns.records()
            torch._foreach_copy_([records[i] for i in views], list(views.values()))

    def _update_each(self, columns: Columns, options: Options) -> None:
        """Update a parameter group tensor by tensor, traceable by autograd and torch.compile."""
        decay = self._decay(options["lr"], options)
        rule, strips = rule_of(options), self._strips_buffer(options)
        records = iter(columns.fired)
        for w, g, *states in columns.each():
            step, p = self._direction(g, states, options)
            # copy_ below changes w, and autograd needs its present values
            origin = w.clone() if options["differentiable"] else w
            if not is_eligible(w):
                w.copy_(origin * (1 - decay) - step * p)
                continue
            decision = decide(measure(origin, g, p), w[0].numel(), rule)
            factor = 1 - decay * decision.ratio + step * decision.radial
            updated = origin * per_row(stored(factor), w) - step * p
            if strips:
                states[0].sub_(origin * per_row(decision.radial, w))
            w.copy_(updated)
            if options["record"]:
                next(records).copy_(decision.view)
