"""Diagnostics of a sequence model's norms: statistics, divisors, gradients.

The quantities are those of the explanation in Shen et al., "PowerNorm", ICML 2020, arXiv 2003.07845: distances of a
batch's statistics from the running ones, changes of the divisor between consecutive steps, sizes of gradients.
"""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.trial.recipe import evenly
from harness.trial.seeds import Streams
from methods.norms.sequence import group_scale, valid_tokens
from suites.data.digits import CLASSES, read_digits
from suites.models.cnn import ConvNet
from suites.tasks.common import changed, evaluating

STATISTICS = ("mean", "variance", "mean_square")
WINDOWS, WIDTH = 20, 4  # stretches of consecutive steps in which statistics are recorded
SETTLED = 0.1  # share of the first steps that is skipped, while statistics settle
DECAY = 0.9  # of the averages for norms without their own
EVERY, LAST = 3, 5  # losses are compared at each third recorded step; their difference is that of the last five
# the image network of ``image_deviation``
STEPS, BATCH, RATE, MOMENTUM = 300, 64, 0.1, 0.9
WIDTHS, STRIDES = (16, 32, 32), (1, 2, 1)


class NormDiagnostic:
    """Diagnostics of a training model's norms, of inputs without padding.

    Final quantities (without the prefix ``mechanism.``):

    - ``batch_mean_deviation``, ``batch_variance_deviation``, ``batch_mean_square_deviation``: distance of the batch's
      value from the running one, the mean's in standard deviations, the others relative; median over channels, then
      over norms and recorded steps. The reference is the norm's own running value, else an average of recorded
      batches.
    - ``batch_stat_deviation``: mean over channels of the first two, averaged; median over norms and recorded steps;
      ``batch_stat_deviation_p99`` its 99th percentile.
    - ``normaliser_deviation``: relative change of the divisor of a norm with shared statistics between consecutive
      steps, mean over channels; median over norms and recorded steps.
    - ``gradient_norm_p99``: 99th percentile over steps of the gradient's norm at the first norm's input, as a ratio to
      the median.
    - ``train_minus_eval_loss``: loss of a training batch with the norms in training mode minus the same in evaluation
      mode, dropout off in both, statistics left alone.
    - ``nu_median``, ``nu_p99``, ``after_warmup_share`` of norms that report them.

    Args:
        model: its norms have ``diagnostics``.
        total: steps of the run.
        loss: recomputes the mean loss of the last training batch.
    """

    def __init__(self, model: nn.Module, total: int, loss: Callable[[], Tensor]) -> None:
        self.model, self.loss = model, loss
        self.norms = [part for part in model.modules() if hasattr(part, "diagnostics")]
        self.first = min(round(SETTLED * total), total - 1)
        ends = evenly(total, min(total, WINDOWS))
        self.recorded = {step for end in ends for step in range(end - WIDTH + 1, end + 1) if step >= self.first}
        self.step = self.calls = 0
        self.records: dict[str, list[float]] = {}
        self.averages: dict[int, Tensor] = {}
        self.divisors: dict[int, tuple[int, Tensor]] = {}
        for number, norm in enumerate(self.norms):
            norm.register_forward_pre_hook(self._hook(number), with_kwargs=True)

    def begin(self, step: int) -> None:
        """Note the step before its forward pass."""
        self.step = step

    def before_step(self) -> None:
        """Compare losses in both modes at every third call (two forward passes)."""
        self.calls += 1
        if self.calls % EVERY != 1:
            return
        with evaluating(self.model):
            evaluated = float(self.loss())
            parts = [part for norm in self.norms for part in norm.modules()]
            keeping = [norm for norm in self.norms if hasattr(norm, "update_statistics")]
            with changed(parts, "training", True), changed(keeping, "update_statistics", False):
                trained = float(self.loss())
        self._keep("train_minus_eval_loss", trained - evaluated)

    def after_step(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        return {name: values[-1] for name, values in self.records.items()}

    def summary(self) -> dict[str, float]:
        """Quantities of the whole training, if observed."""
        report = {name: median(values) for name, values in self.records.items()}
        for name in ("batch_stat_deviation", "gradient_norm"):
            if name in self.records:
                report[f"{name}_p99"] = float(np.quantile(self.records[name], 0.99))
        if "gradient_norm" in report:
            report["gradient_norm_p99"] /= max(report["gradient_norm"], 1e-30)
        if "train_minus_eval_loss" in report:
            report["train_minus_eval_loss"] = median(self.records["train_minus_eval_loss"][-LAST:])
        reports = [norm.diagnostics() for norm in self.norms]
        for name, pooled in (("nu_median", median), ("nu_p99", max), ("after_warmup_share", min)):
            values = [float(diagnostics[name]) for diagnostics in reports if name in diagnostics]
            if values:
                report[name] = float(pooled(values))
        return report

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.calls, "records": self.records, "averages": self.averages, "divisors": self.divisors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.records = {name: list(values) for name, values in state["records"].items()}
        self.calls = int(state["asked"])
        self.averages = dict(state["averages"])
        self.divisors = {number: (step, value) for number, (step, value) in state["divisors"].items()}

    def _keep(self, name: str, value: float) -> None:
        self.records.setdefault(name, []).append(value)

    def _hook(self, number: int) -> Callable[..., None]:
        def look(norm: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not (norm.training and torch.is_grad_enabled()) or self.step < self.first:
                return
            x = args[0]
            mask = args[1] if len(args) > 1 else kwargs.get("padding_mask")
            if number == 0 and x.requires_grad:
                x.register_hook(lambda gradient: self._keep("gradient_norm", float(gradient.norm())))
            if self.step in self.recorded:
                with torch.no_grad():
                    self._observe(number, norm, x.detach().float(), mask)

        return look

    def _observe(self, number: int, norm: nn.Module, x: Tensor, mask: Tensor | None) -> None:
        seen = _normalised_input(norm, x).flatten(0, -2)
        valid = valid_tokens(mask, torch.float32)
        if valid is not None:
            seen = seen[valid.flatten() > 0]
        if len(seen) < 2:
            return
        variance, mean = torch.var_mean(seen, 0, correction=0)
        batch = torch.stack([mean, variance, variance + mean.square()])
        own = _running(norm)
        average = self.averages.get(number)
        self.averages[number] = batch if average is None else torch.lerp(average, batch, 1 - DECAY)
        if average is not None or "mean" in own:
            reference = (batch if average is None else average).clone()
            for row, name in enumerate(STATISTICS):
                if name in own:
                    reference[row] = own[name]
            away = distance(batch, reference)
            self._keep("batch_stat_deviation", float(away[:2].mean()))
            for name, value in zip(STATISTICS, away.median(1).values.tolist(), strict=True):
                self._keep(f"batch_{name}_deviation", value)
        self._follow(number, _divisor(norm, own, batch))

    def _follow(self, number: int, divisor: Tensor | None) -> None:
        """Record the divisor's relative change since the preceding step."""
        if divisor is None:
            return
        step, before = self.divisors.get(number, (-2, divisor))
        if step == self.step - 1:
            self._keep("normaliser_deviation", float(((divisor - before).abs() / before.clamp(min=1e-12)).mean()))
        self.divisors[number] = (self.step, divisor)


def distance(batch: Tensor, reference: Tensor) -> Tensor:
    """Distance of statistics (2 or 3, C) from references: mean in deviations, variance, mean square relative."""
    scale = torch.stack([reference[1].sqrt(), *reference[1:]]).clamp(min=1e-12)
    return (batch - reference).abs() / scale


def _normalised_input(norm: nn.Module, x: Tensor) -> Tensor:
    """Input of the shared statistics: after the norm's scaling by token."""
    eps: float = getattr(norm, "eps", 1e-5)
    if getattr(norm, "group_scaling", False):
        return group_scale(x, norm.groups, eps)
    return group_scale(x, 1, eps) if getattr(norm, "scaling", False) else x


def _running(norm: nn.Module) -> dict[str, Tensor]:
    if hasattr(norm, "running_var"):
        mean, variance = norm.running_mean.float(), norm.running_var.float()
        return {"mean": mean, "variance": variance, "mean_square": variance + mean.square()}
    return {"mean_square": norm.running_phi.float()} if hasattr(norm, "running_phi") else {}


def _divisor(norm: nn.Module, own: Mapping[str, Tensor], batch: Tensor) -> Tensor | None:
    """Divisor of the norm; None if tokens have their own."""
    if "variance" in own:
        return batch[1].sqrt()
    if "mean_square" not in own:
        return None
    if not hasattr(norm, "warmup_steps"):
        return batch[2].sqrt()
    return torch.where(norm.iteration < norm.warmup_steps, batch[2], own["mean_square"]).sqrt()


def image_deviation(streams: Streams) -> float:
    """Median distance of an image network's batch statistics from the running ones.

    Shen et al. compare a Transformer with a ResNet20 on CIFAR-10, both with BatchNorm. The network here is small and
    trains on scikit-learn's digits for two seconds: distances of mean and variance as in ``NormDiagnostic``, over norms
    and the last nine tenths of 300 steps of 64 images, SGD with a cosine schedule, on the CPU.
    """
    pixels, digits = read_digits()
    images, labels = torch.tensor(pixels)[:, None], torch.tensor(digits)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(streams.number("init", "image-reference") % 2**63)
        network = ConvNet(1, CLASSES, WIDTHS, STRIDES)
    away: list[float] = []
    recording = False

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if recording:
            rows = inputs[0].detach().movedim(1, -1).flatten(0, -2)
            variance, mean = torch.var_mean(rows, 0, correction=0)
            running = torch.stack([norm.running_mean, norm.running_var])
            away.append(float(distance(torch.stack([mean, variance]), running).mean()))

    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_pre_hook(look)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    draws = streams.torch("order", "image-reference")
    for step in range(STEPS):
        recording = step >= SETTLED * STEPS
        chosen = torch.randint(len(images), (BATCH,), generator=draws)
        optimizer.zero_grad()
        F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        schedule.step()
    return median(away)
