"""PN-V, the PowerNorm paper's ablation (ICML 2020, arXiv 2003.07845)."""

import torch
from torch import Tensor

from methods.metadata import MethodMetadata, Uniform
from methods.norms.moments import QuadraticMeanNorm, TokenPass
from methods.norms.sequence import check_groups, group_scale, narrow, valid_tokens
from methods.norms.steps import StepStatistics, merge_means
from methods.precision import widen


class PowerNormVanilla(StepStatistics):
    """PN-V (ICML 2020) for (T, B, C): batch statistics forward, exact backward.

    Only the paper's text defines it: the released code lacks it.

    Training divides by √(ψ+eps), ψ the batch's per-channel mean square over the tokens that are not padding,
    with the exact gradient through ψ. The running value, a moving average of ψ, is used in evaluation only and
    moves once a step (see ``StepStatistics``).

    Args:
        alpha_fwd: decay of the running value.
        eps: inside every square root.
        groups: channel groups of the scaling.
        group_scaling: scale groups first, as in the released PowerNorm; the paper's text does not scale.
    """

    name = "power-vanilla"
    shown = ("groups", "alpha_fwd", "eps")

    running_phi: Tensor

    def __init__(
        self, channels: int, *, alpha_fwd: float = 0.9, eps: float = 1e-5, groups: int = 1, group_scaling: bool = True
    ) -> None:
        super().__init__(channels, {"running_phi": 1.0})
        check_groups(self.name, channels, groups)
        self.alpha_fwd, self.eps = alpha_fwd, eps
        self.groups, self.group_scaling = groups, group_scaling

    def _normalise(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        wide = widen(x)
        scaled = group_scale(wide, self.groups, self.eps) if self.group_scaling else wide
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        if not self.training:
            norm = (self.running_phi.to(wide.dtype) + self.eps).rsqrt()
            return narrow(scaled * (norm * weight) + bias, x)
        step = self.open_step()
        valid = valid_tokens(padding_mask, wide.dtype)
        token_pass = TokenPass(valid, self.eps, step.turn, self.finishing())
        y, batch, tokens = QuadraticMeanNorm.apply(scaled, weight, bias, token_pass)
        self.close_forward(step, batch, tokens, merge_means, self._updated, y.requires_grad)
        return narrow(y, x)

    def _updated(self, before: Tensor, batch: Tensor, _: Tensor) -> Tensor:
        return torch.lerp(before, batch.to(before.dtype), 1 - self.alpha_fwd)


METADATA = MethodMetadata(
    of=PowerNormVanilla,
    title="PN-V",
    role="method",
    paper="Shen, Yao, Gholami, Mahoney, Keutzer: PowerNorm: Rethinking Batch Normalization in Transformers, "
    "ICML 2020, arXiv 2003.07845",
    summary="PowerNorm's ablation: the batch's quadratic mean forward, its exact gradient backward.",
    search_space={"alpha_fwd": Uniform(0.8, 0.99)},
)
