"""Identities and toy problems of AdamP and SGDP."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods.optimizers.adamp import AdamP
from methods.optimizers.baselines import adamw
from methods.optimizers.diagnostics import WeightDiagnostic
from methods.optimizers.sgdp import SGDP
from suites.checks.result import Check

# Final norms of the two-dimensional toy at momentum 0.9 and 0.99, as printed on the project page, which gives neither
# the starting angle nor the learning rate: at a fixed angle one norm calibrates the rate and the other tests it.
NORM_09, NORM_099 = 2.93, 27.87
ANGLE, STEPS = 65.0, 2000

Buffer = Literal["released", "paper"]
Optimizers = Callable[[Tensor], torch.optim.Optimizer]


def update_orthogonal(project: bool = True) -> Check:
    """AdamP's update before BatchNorm is orthogonal to every filter.

    ``ours`` is the larger of the largest |cos| between a filter and its update, and, since a linear head is not
    projected, the relative distance of the head's update from AdamW's at the same state.
    """
    generator = torch.Generator().manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5))
    convolution, head = body[0].weight, body[4].weight
    for weight in (convolution, head):
        nn.init.normal_(weight, std=0.1, generator=generator)
    optimizer = AdamP(body.parameters(), lr=1e-2, project=project)
    cosine = departure = head_cosine = 0.0
    for step in range(8):
        images = torch.randn(16, 3, 8, 8, generator=generator)
        labels = torch.randint(0, 5, (16,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(body(images), labels).backward()
        filters, rows = convolution.detach().clone(), head.detach().clone()
        expected = _adamw_update(head, optimizer, step)
        optimizer.step()
        cosine = max(cosine, _largest_cosine(convolution.detach() - filters, filters))
        moved = head.detach() - rows
        departure = max(departure, float((moved - expected).norm() / expected.norm()))
        head_cosine = max(head_cosine, _largest_cosine(moved, rows))
    detail = f"max |cos(update, filter)| {cosine:.1e}; head: distance from AdamW's update {departure:.1e}, "
    detail += f"max |cos| {head_cosine:.2f}"
    return Check.zero(max(cosine, departure), 1e-5, detail)


def _adamw_update(parameter: Tensor, optimizer: AdamP, step: int) -> Tensor:
    twin = nn.Parameter(parameter.detach().clone())
    assert parameter.grad is not None
    twin.grad = parameter.grad.clone()
    other = adamw([twin], lr=optimizer.defaults["lr"])
    if step:
        state = optimizer.state[parameter]
        other.state[twin] = {name: state[name].clone() for name in ("step", "exp_avg", "exp_avg_sq")}
    before = twin.detach().clone()
    other.step()
    return twin.detach() - before


def _largest_cosine(update: Tensor, weight: Tensor) -> float:
    cosines = nn.functional.cosine_similarity(update.flatten(1).double(), weight.flatten(1).double(), dim=1)
    return float(cosines.abs().max())


def sgdp_weight_decay(projected: bool = False) -> Check:
    """SGDP's decoupled shrink equals that of SGD's L2 penalty.

    To first order in lr, in the steady state, per step and unit of learning rate; if ``projected``, ``wd_ratio`` makes
    it a tenth.
    """
    rate, momentum, decay = 0.1, 0.9, 1e-5
    weight = torch.ones(1, 4, dtype=torch.float64)
    # A zero gradient counts as orthogonal and fires; delta 0 prevents the projection.
    options: dict[str, Any] = {"lr": rate, "momentum": momentum, "weight_decay": decay}
    ours = _shrink(weight, lambda w: SGDP([w], **options, delta=0.1 if projected else 0.0), rate, steps=1)
    theirs = _shrink(weight, lambda w: torch.optim.SGD([w], **options), rate, steps=400)
    detail = f"lr {rate}, momentum {momentum}, weight decay {decay}: SGDP {ours:.4e}, SGD {theirs:.4e} of lr"
    return Check(ours=ours, theirs=theirs, tolerance=1e-3 * theirs, unit="fraction of lr", detail=detail)


def _shrink(weight: Tensor, make: Optimizers, rate: float, steps: int) -> float:
    w = nn.Parameter(weight.clone())
    optimizer = make(w)
    before = w.detach().clone()
    for _ in range(steps):
        before = w.detach().clone()
        w.grad = torch.zeros_like(w)
        optimizer.step()
    return float((1 - w.detach() / before).mean()) / rate


def sgdp_buffer_projected(buffer: Buffer = "released") -> Check:
    """Without Nesterov the projection rewrites SGDP's momentum buffer, with it not.

    ``ours`` is the larger of the buffer's radial share without, and its relative distance from the plain average with
    Nesterov.
    """
    radial, _ = _buffer(nesterov=False, buffer=buffer)
    nesterov_radial, departure = _buffer(nesterov=True, buffer=buffer)
    detail = f"radial share of the buffer: {radial:.1e} without, {nesterov_radial:.2f} with Nesterov, "
    detail += f"there {departure:.1e} from the plain average"
    return Check.zero(max(radial, departure), 1e-6, detail)


def _buffer(nesterov: bool, buffer: Buffer) -> tuple[float, float]:
    generator = torch.Generator().manual_seed(1)
    w = nn.Parameter(torch.randn(4, 16, generator=generator, dtype=torch.float64))
    optimizer = SGDP([w], lr=0.1, momentum=0.9, nesterov=nesterov, buffer=buffer)
    average = torch.zeros_like(w)
    radial = 0.0
    for _ in range(6):
        at = w.detach().clone()
        w.grad = _tangent(torch.randn(4, 16, generator=generator, dtype=torch.float64), at)
        average = 0.9 * average + w.grad
        optimizer.step()
        stored = optimizer.state[w]["momentum_buffer"]
        radial = _largest_cosine(stored, at)
    return radial, float((stored - average).norm() / average.norm())


def _tangent(vectors: Tensor, weight: Tensor) -> Tensor:
    radial = (vectors * weight).sum(1, keepdim=True) / weight.square().sum(1, keepdim=True)
    return vectors - radial * weight


def one_dimensional_never_projected(as_matrix: bool = False) -> Check:
    """Tensors of one dimension are never projected and always decay in full.

    ``ours`` is the largest relative distance of the moves from unprojected ones, though the gradients are orthogonal to
    the weight; ``as_matrix`` gives the same numbers the shape (1, n).
    """
    adam: dict[str, Any] = {"lr": 1e-2, "weight_decay": 0.1}
    sgd = {**adam, "momentum": 0.9}
    shape = (1, 12) if as_matrix else (12,)
    parts = {
        "AdamP": _distance(shape, lambda w: AdamP([w], **adam), lambda w: adamw([w], **adam)),
        "SGDP": _distance(shape, lambda w: SGDP([w], **sgd), lambda w: SGDP([w], **sgd, delta=0.0)),
    }
    detail = "distance from the unprojected move: " + ", ".join(f"{name} {value:.1e}" for name, value in parts.items())
    return Check.zero(max(parts.values()), 1e-9, detail)


def _distance(shape: Sequence[int], make: Optimizers, make_other: Optimizers) -> float:
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(12, generator=generator, dtype=torch.float64)
    w, other = (nn.Parameter(start.clone().reshape(shape)) for _ in range(2))
    optimizers = make(w), make_other(other)
    for _ in range(4):
        at = w.detach().reshape(1, -1)
        gradient = _tangent(torch.randn(1, 12, generator=generator, dtype=torch.float64), at).reshape(shape)
        w.grad, other.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (w.detach() - other.detach()).norm()
    return float(moved / (other.detach().flatten() - start).norm())


def all_rows_must_pass(rows: Literal["all", "each"] = "all") -> Check:
    """One row above the threshold disables the channel view; ``ours`` counts the two rules that hold."""
    detail = []
    kept = 0
    for name, make in (
        ("AdamP", lambda w: AdamP([w], 1e-2, rows=rows, record=True)),
        ("SGDP", lambda w: SGDP([w], 1e-2, momentum=0.9, rows=rows, record=True)),
    ):
        single_bad = _fired(make, bad_rows=1)
        none_bad = _fired(make, bad_rows=0)
        kept += (single_bad == 0) + (none_bad == 1)
        detail.append(f"{name}: one row above the threshold → view {single_bad}, all below in both views → {none_bad}")
    text = "; ".join(detail) + " (0 none, 1 channel, 2 layer)"
    return Check.exact(kept, 4, "rules that hold", text)


def _fired(make: Callable[[Tensor], AdamP | SGDP], bad_rows: int) -> int:
    generator = torch.Generator().manual_seed(3)
    w = nn.Parameter(torch.randn(8, 16, generator=generator, dtype=torch.float64))
    gradient = _tangent(torch.randn(8, 16, generator=generator, dtype=torch.float64), w.detach())
    # A row along its weight is far above the threshold, and lifts the whole tensor above its own.
    gradient[:bad_rows] = w.detach()[:bad_rows]
    w.grad = gradient
    optimizer = make(w)
    optimizer.step()
    return int(optimizer.fired_views()[w])


def scale_invariant_share(training: bool = True) -> Check:
    """AdamP's test fires on 90 % of a ResNet's weights.

    ``ours`` is the smaller share of ResNet-18 and ResNet-50, of all parameters in percent; with BatchNorm frozen (not
    ``training``) almost none.
    """
    from torchvision import models

    shares = {name: _invariant_share(getattr(models, name), training) for name in ("resnet18", "resnet50")}
    detail = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items())
    ours = min(shares.values())
    return Check(ours=ours, theirs=90.0, tolerance=0.0, unit="percent", detail=detail, relation="above")


def _invariant_share(build: Callable[..., nn.Module], training: bool) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = build(weights=None)
        first, images, labels = torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32), torch.randint(0, 1000, (8,))
    network.train()
    with torch.no_grad():
        network(first)  # running statistics of other images than the batch below
    network.train(training)
    probe = WeightDiagnostic(network.named_parameters())
    nn.functional.cross_entropy(network(images), labels).backward()
    probe.before_step()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    optimizer.step()
    return probe.after_step(optimizer)["scale_invariant_share"]


def toy2d_norm_momentum09(momentum: float = 0.9) -> Check:
    """The rate of 27.87 at momentum 0.99 gives 2.93 at 0.9."""
    return _printed_norm(momentum, NORM_09, 0.05, reference=(0.99, NORM_099))


def toy2d_norm_momentum099(momentum: float = 0.99) -> Check:
    """The rate of 2.93 at momentum 0.9 gives 27.87 at 0.99."""
    return _printed_norm(momentum, NORM_099, 0.5, reference=(0.9, NORM_09))


def _printed_norm(momentum: float, printed: float, tolerance: float, reference: tuple[float, float]) -> Check:
    rate = _calibrate(*reference)
    norm = _descend(rate, momentum).norm
    detail = f"start at {ANGLE:g} degrees, lr {rate:.4f} from momentum {reference[0]} → {reference[1]}; "
    detail += f"momentum {momentum}"
    return Check(ours=norm, theirs=printed, tolerance=tolerance, unit="ratio to initial norm", detail=detail)


def toy2d_order(buffer: Buffer = "paper", gap: float = 1e-4) -> Check:
    """SGDP settles before momentum descent and before plain descent.

    Momentum is ahead of plain descent at first. Steps until ``1 − cos`` stays below ``gap`` at momentum 0.9. With the
    released code's buffer, which the projection rewrites, SGDP is slower.
    """
    rate = _calibrate(0.9, NORM_09)
    plain, momentum = _descend(rate, 0.0), _descend(rate, 0.9)
    projected = _descend(rate, 0.9, projected=True, buffer=buffer)
    fast_start = momentum.gaps[10] < plain.gaps[10]
    others = min(plain.settled(gap), momentum.settled(gap)) if fast_start else 0
    detail = (
        f"lr {rate:.4f}: SGDP {projected.settled(gap)} steps to norm {projected.norm:.2f}, momentum "
        f"{momentum.settled(gap)} to {momentum.norm:.2f}, plain {plain.settled(gap)} to {plain.norm:.2f}; after ten "
        f"steps 1 − cos is {momentum.gaps[10]:.3f} with momentum, {plain.gaps[10]:.3f} without"
    )
    return Check(ours=projected.settled(gap), theirs=others, tolerance=0, unit="steps", detail=detail, relation="below")


def toy2d_projection_bounds_norm(project: bool = True, angle: float = 20.0, rate: float = 0.579) -> Check:
    """At momentum 0.99 the projection keeps the norm below 1.3."""
    grown = _descend(rate, 0.99, angle=angle).norm
    bounded = _descend(rate, 0.99, angle=angle, projected=project).norm
    released = _descend(rate, 0.99, angle=angle, projected=project, buffer="released").norm
    detail = f"start at {angle:g} degrees, lr {rate}: momentum 0.99 → {grown:.2f}, projected → {bounded:.2f} "
    detail += f"(with the released code's buffer {released:.2f})"
    unit = "ratio to initial norm"
    return Check(ours=bounded, theirs=grown, tolerance=20 - 1.3, unit=unit, detail=detail, relation="below")


@dataclass(frozen=True, slots=True)
class _Path:
    """A descent: relative final norm and every ``1 − cos(w, w*)``."""

    norm: float
    gaps: tuple[float, ...]

    def settled(self, gap: float) -> int:
        """Steps after which ``1 − cos`` stays below ``gap``, else all."""
        over = [step for step, value in enumerate(self.gaps) if value >= gap]
        return over[-1] + 1 if over else 0


def _descend(
    rate: float, momentum: float, *, projected: bool = False, buffer: Buffer = "paper", angle: float = ANGLE
) -> _Path:
    """Descend −cos(w, w*) by SGD or SGDP from ``angle`` degrees."""
    start = math.radians(angle)
    w = nn.Parameter(torch.tensor([[math.cos(start), math.sin(start)]], dtype=torch.float64))
    optimizer: torch.optim.Optimizer = torch.optim.SGD([w], lr=rate, momentum=momentum, foreach=False)
    if projected:
        optimizer = SGDP([w], lr=rate, momentum=momentum, buffer=buffer, eps=0.0)
    gaps = []
    for _ in range(STEPS):
        x, y = w.detach()[0].tolist()
        norm = math.hypot(x, y)
        gaps.append(1 - x / norm)
        # d(−x/‖w‖)/dw for w* = (1, 0)
        w.grad = torch.tensor([[-(y * y) / norm**3, x * y / norm**3]], dtype=torch.float64)
        optimizer.step()
    x, y = w.detach()[0].tolist()
    return _Path(math.hypot(x, y), (*gaps, 1 - x / math.hypot(x, y)))


def _final_norm(rate: float, momentum: float, angle: float = ANGLE) -> float:
    """``_descend(...).norm`` without projection in plain floats, for calibrations."""
    start = math.radians(angle)
    x, y, bx, by = math.cos(start), math.sin(start), 0.0, 0.0
    for _ in range(STEPS):
        cube = math.hypot(x, y) ** 3
        bx = momentum * bx - y * y / cube
        by = momentum * by + x * y / cube
        x, y = x - rate * bx, y - rate * by
    return math.hypot(x, y)


def _calibrate(momentum: float, norm: float, angle: float = ANGLE) -> float:
    """Find the rate of momentum descent to ``norm`` in [1e-3, 1] (ValueError)."""
    low, high = 1e-3, 1.0
    if not _final_norm(low, momentum, angle) < norm < _final_norm(high, momentum, angle):
        raise ValueError(f"no rate in [{low}, {high}] ends at the norm {norm} with momentum {momentum}")
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _final_norm(middle, momentum, angle) < norm else (low, middle)
    return math.sqrt(low * high)
