"""Diagnostics of a step: norms, angles, radial parts, and the projection's test.

They are the quantities behind the AdamP paper's sentence: momentum grows the norms of scale-invariant weights and so
shrinks their effective steps (Heo et al., ICLR 2021, section 2). A :class:`WeightDiagnostic` measures them for any
optimizer, so a baseline reports the same numbers as AdamP. It reads values on the host: call it on logged steps only.
"""

import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from methods.optimizers.projection import Rule, decide, is_eligible, measure

ROLES: tuple[str, ...] = ("conv", "linear", "embedding", "weight_norm")
LAST = ("weight_norm", "weight_norm_growth")
"""Quantities summarised by their last value; all others by their mean over the logged steps."""


def roles_of(model: nn.Module) -> dict[str, str]:
    """Roles of the weights by parameter name: ``conv``, ``linear``, ``embedding`` or ``weight_norm``.

    ``weight_norm`` is the direction v of a weight-normalised layer, which is scale-invariant by construction. Its
    gain, biases and the parameters of normalisation layers have no role.
    """
    roles: dict[str, str] = {}
    for prefix, module in model.named_modules():
        dot = f"{prefix}." if prefix else ""
        role = _role(module)
        for name, _ in module.named_parameters(recurse=False):
            if name == "weight_v":
                roles[dot + name] = "weight_norm"
            elif role is not None and name in ("weight", "in_proj_weight"):
                roles[dot + name] = role
        if parametrize.is_parametrized(module, "weight"):
            original = f"{dot}parametrizations.weight.original"
            if any(type(p).__name__ == "_WeightNorm" for p in module.parametrizations["weight"]):
                roles[f"{original}1"] = "weight_norm"
            elif role is not None:
                roles[original] = role
    return roles


def _role(module: nn.Module) -> str | None:
    if isinstance(module, _ConvNd):
        return "conv"
    if isinstance(module, (nn.Linear, nn.Bilinear, nn.MultiheadAttention)):
        return "linear"
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return "embedding"
    return None


class _Before(NamedTuple):
    """A weight before the step and the view that fires on it."""

    weight: Tensor
    view: Tensor | None


class WeightDiagnostic:
    """Measures the weights of more than one dimension around an optimizer's step.

    Quantities, each overall and with the suffix ``.<role>``, for example ``weight_norm.conv``:

    - ``weight_norm``: mean norm of the tensors.
    - ``weight_norm_growth``: geometric mean of norm / initial norm; without suffix over the convolutions if
      there are any.
    - ``angular_update``: mean angle between a tensor before and after the step, in radians.
    - ``effective_step``: mean ‖ŵ' - ŵ‖ of the normalised tensors, the paper's effective step size; the chord of
      that angle.
    - ``radial_share``: squared part of the update along the weight's rows over the squared update, in [0, 1].
    - ``projected_share``: share of the tensors with a gradient for which the test fires, in [0, 1]; with the suffixes
      ``.channel`` and ``.layer`` by view.
    - ``scale_invariant_share``: elements of those tensors in percent of all parameters; without role.
    - ``fired_share``: the optimizer's own decisions, if it records them (``record=True``); without role.

    Args:
        named_parameters: names and parameters of the model, as ``model.named_parameters()`` gives them.
        roles: role by parameter name, as :func:`roles_of` gives them; None for no roles.
        delta: threshold of the test, applied to the raw gradient for every optimizer.

    Raises:
        ValueError: no parameter has more than one dimension.
    """

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        roles: Mapping[str, str] | None = None,
        delta: float = 0.1,
    ) -> None:
        everything = dict(named_parameters)
        self._weights = {name: p for name, p in everything.items() if is_eligible(p)}
        if not self._weights:
            raise ValueError("a WeightDiagnostic needs at least one parameter of more than one dimension")
        self._elements = sum(p.numel() for p in everything.values())
        self._roles = {name: roles[name] for name in self._weights if roles and name in roles}
        self._rule = Rule(delta, wd_ratio=1.0, eps=1e-8, views="both", rows="all", project=False)
        self._initial = {name: float(p.detach().double().norm()) for name, p in self._weights.items()}
        self._before: dict[str, _Before] = {}
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._effective: dict[str, list[float]] = {}

    @torch.no_grad()
    def before_step(self) -> None:
        """Keep the weights and test their gradients; call before the optimizer's step."""
        self._before = {}
        for name, p in self._weights.items():
            view = None
            if p.grad is not None:
                g = p.grad.to_dense() if p.grad.layout is not torch.strided else p.grad
                view = decide(measure(p, g, g), p[0].numel(), self._rule).view
            self._before[name] = _Before(p.detach().clone(), view)

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Measure the optimizer's step, by quantity; RuntimeError without ``before_step``."""
        if not self._before:
            raise RuntimeError("call before_step() after backward and before the optimizer's step")
        tensors = {name: self._measure(name) for name in self._weights}
        values = self._averages(tensors, list(tensors), "")
        for role in sorted(set(self._roles.values())):
            values.update(self._averages(tensors, [n for n in tensors if self._roles.get(n) == role], f".{role}"))
        if "weight_norm_growth.conv" in values:
            values["weight_norm_growth"] = values["weight_norm_growth.conv"]
        values.update(self._shares(tensors))
        fired: dict[Tensor, Tensor] = getattr(optimizer, "fired_views", dict)()
        if fired:
            views = torch.stack([view.float().cpu() for view in fired.values()])
            values["fired_share"] = float((views > 0).float().mean())
        self._before = {}
        for name, value in values.items():
            keep = name.split(".")[0] in LAST
            self._sums[name] = value if keep else self._sums.get(name, 0.0) + value
            self._counts[name] = 1 if keep else self._counts.get(name, 0) + 1
            if name.split(".")[0] == "effective_step":
                self._effective.setdefault(name, []).append(value)
        return values

    def summary(self) -> dict[str, float]:
        """Summarise the logged steps: final norms and growth, otherwise means.

        Beside these ``effective_step_decay`` (and ``.<role>``): the mean effective step of the first tenth of the
        logged steps over that of the last tenth; a schedule of the learning rate is part of it.
        """
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        for name, steps in self._effective.items():
            tenth = max(1, len(steps) // 10)
            first, last = math.fsum(steps[:tenth]), math.fsum(steps[-tenth:])
            if last > 0:
                means[name.replace("effective_step", "effective_step_decay")] = first / last
        return means

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Initial norms and running averages: plain numbers, for checkpoints."""
        kept: dict[str, dict[str, Any]]
        kept = {"initial": self._initial, "sums": self._sums, "counts": self._counts, "effective": self._effective}
        return deepcopy(kept)

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        self._initial, self._sums = dict(state["initial"]), dict(state["sums"])
        self._counts = {name: int(count) for name, count in state["counts"].items()}
        self._effective = {name: list(steps) for name, steps in state["effective"].items()}

    def _measure(self, name: str) -> dict[str, float]:
        before, after = self._before[name].weight.double().flatten(1), self._weights[name].double().flatten(1)
        update = after - before
        lengths = (before.norm(), after.norm())
        chord = (after / lengths[1].clamp_min(1e-300) - before / lengths[0].clamp_min(1e-300)).norm()
        # the arc sine of half the chord resolves small angles, which the arc cosine does not
        angle = 2 * torch.asin((chord / 2).clamp(max=1.0))
        rows = before / before.norm(dim=1, keepdim=True).clamp_min(1e-300)
        radial = (rows * update).sum(1).square().sum() / update.square().sum().clamp_min(1e-300)
        view = self._before[name].view
        fields = torch.stack([lengths[1], angle, chord, radial]).tolist()
        measured = dict(zip(("norm", "angle", "chord", "radial"), fields, strict=True))
        return measured | ({} if view is None else {"view": float(view)})

    def _averages(self, tensors: Mapping[str, Mapping[str, float]], names: list[str], suffix: str) -> dict[str, float]:
        def mean(key: str) -> float:
            return math.fsum(tensors[name][key] for name in names) / len(names)

        growth = [
            math.log(tensors[name]["norm"] / self._initial[name])
            for name in names
            if tensors[name]["norm"] > 0 and self._initial[name] > 0
        ]
        averages = {
            f"weight_norm{suffix}": mean("norm"),
            f"angular_update{suffix}": mean("angle"),
            f"effective_step{suffix}": mean("chord"),
            f"radial_share{suffix}": mean("radial"),
        }
        if growth:
            averages[f"weight_norm_growth{suffix}"] = math.exp(math.fsum(growth) / len(growth))
        views = [tensors[name]["view"] for name in names if "view" in tensors[name]]
        if views:
            averages[f"projected_share{suffix}"] = sum(view > 0 for view in views) / len(views)
        return averages

    def _shares(self, tensors: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        views = {name: measured["view"] for name, measured in tensors.items() if "view" in measured}
        if not views:
            return {}
        invariant = sum(self._weights[name].numel() for name, view in views.items() if view > 0)
        return {
            "projected_share.channel": sum(view == 1 for view in views.values()) / len(views),
            "projected_share.layer": sum(view == 2 for view in views.values()) / len(views),
            "scale_invariant_share": 100.0 * invariant / self._elements,
        }
