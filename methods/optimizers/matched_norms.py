"""AdamW with AdamP's weight norms, a test of the paper's explanation."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from methods.metadata import Choice, MethodMetadata, Uniform
from methods.optimizers.baselines import has_kernel
from methods.optimizers.projection import Rule, decide, is_eligible, measure, per_row, refuse_unsupported, validate_rule


class AdamWMatchedNorms(torch.optim.AdamW):
    """AdamW with weights rescaled to the norms of AdamP's step.

    Per tensor of more than one dimension and from one state: AdamW takes its step, and where AdamP's test fires
    on the raw gradient, each row (in the layer view the whole tensor) is rescaled to the norm that AdamP's step
    with the same moments would have reached: without the step's radial part, with ``wd_ratio`` of the decay. Where the
    test does not fire both steps are equal and nothing is rescaled. Nothing is projected: the direction of a weight is
    AdamW's. On a scale-invariant weight only later steps depend on the norm, by their effective size, so if AdamP
    gains by norms this gains as much (Heo et al., ICLR 2021, section 2.3, as an intervention).

    Args:
        params: tensors, named tensors or parameter groups.
        lr: learning rate.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay.
        delta: AdamP's threshold.
        wd_ratio: AdamP's factor of the decay where its projection fires.

    Raises:
        ValueError: an option is outside its range.
        RuntimeError: in ``step``, a sparse gradient or a complex parameter.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
    ) -> None:
        entries = list(params)
        super().__init__(entries, lr, (betas[0], betas[1]), eps, weight_decay, fused=has_kernel(entries) or None)
        own = {"delta": delta, "wd_ratio": wd_ratio}
        self.defaults.update(own)
        for group in self.param_groups:
            for name, value in own.items():
                group.setdefault(name, value)
            validate_rule(_rule_of(group))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take AdamW's step, then rescale; return the closure's result."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        before = {
            p: (p.detach().clone(), group)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None and is_eligible(p)
        }
        for p in before:
            refuse_unsupported(type(self).__name__, p, p.grad)
        super().step()
        for p, (old, group) in before.items():
            _rescale(p, old, p.grad, group["lr"] * group["weight_decay"], _rule_of(group))
        return loss


def _rule_of(group: Mapping[str, Any]) -> Rule:
    return Rule(group["delta"], group["wd_ratio"], group["eps"], views="both", rows="all", project=True)


def _rescale(p: Tensor, old: Tensor, gradient: Tensor, decay: float, rule: Rule) -> None:
    """Rescale a parameter in place to the norms of AdamP's step."""
    step = p - (1 - decay) * old
    decision = decide(measure(old, gradient, step), old[0].numel(), rule)
    view = int(decision.view)
    if not view:
        return
    projected = (1 - decay * per_row(decision.ratio, old) - per_row(decision.radial, old)) * old + step
    if view == 1:
        factor = _row_norms(projected) / _row_norms(p).clamp_min(rule.eps)
        p.mul_(per_row(factor, p))
    else:
        p.mul_(projected.norm() / p.norm().clamp_min(rule.eps))


def _row_norms(weight: Tensor) -> Tensor:
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)


METADATA = MethodMetadata(
    of=AdamWMatchedNorms,
    name="adamw-matched-norms",
    title="AdamW with AdamP's norms",
    slot="optimizer",
    family="adam",
    paper="none: an intervention on Heo et al., AdamP, ICLR 2021, arXiv 2006.08217",
    summary="AdamW whose scale-invariant weights are rescaled after each step to the norms of AdamP's step",
    search_space={"lr": Uniform(1e-5, 1e-1, log=True), "weight_decay": Choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1))},
)
