"""Identities of KNN-MMD."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch

from harness.trial.contracts import ModelRequest
from methods.alignment.diagnostics import purity
from methods.alignment.help_set import HelpSetOptions, make_help_set, umap_init
from methods.alignment.mk_mmd import SIGMAS, mk_mmd_loss
from methods.alignment.stopping import StoppingOptions, StoppingRule
from suites.checks.result import Check

PARAMETERS = 11_211_784
RELAYED_TARGET = 60  # samples of the target, relayed by third parties from the paper


def mode1_leaks_labels(leak: bool = True) -> Check:
    """Mode 1 is always right with true labels, rarely with KNN labels."""
    items, truth, shots, shot_labels = _overlapping()
    released, hidden = HelpSetOptions(mode=1, oracle_labels=leak), truth if leak else None
    leaked = make_help_set(items, shots, shot_labels, 6, released, hidden_labels=hidden)
    pseudo = make_help_set(items, shots, shot_labels, 6, HelpSetOptions(mode=0))
    right, guessed = (purity(chosen.labels, truth[chosen.places]) for chosen in (leaked, pseudo))
    knn = purity(pseudo.votes, truth)
    detail = f"right help labels: mode 1 as released {right:.3f}, mode 0 {guessed:.3f}, the KNN on all items {knn:.3f}"
    return Check(ours=right, theirs=guessed, tolerance=0.3, unit="ratio", detail=detail, relation="above")


def _overlapping() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    draws = np.random.default_rng(0)
    labels = np.tile(np.arange(6), 51)
    items = 0.8 * draws.standard_normal((6, 8))[labels] + draws.standard_normal((len(labels), 8))
    return items[6:], labels[6:], items[:6], labels[:6]


def help_set_stays_in_test_set(share: float = 0.5) -> Check:
    """Half of the scored windows stay in the help set (p 0.5)."""
    from harness.trial.seeds import Streams
    from suites.data.csi_domains import CsiDomain
    from suites.tasks.sensing_scores import SensingOptions
    from suites.tasks.target_domain import draw_shots, help_set

    draws = np.random.default_rng(1)
    labels = np.tile(np.arange(5), 40)
    windows = draws.standard_normal((200, 5, 4)).astype(np.float32)
    numbers = np.arange(200)
    target = draw_shots(CsiDomain(windows, labels, numbers, numbers), 1, Streams(0), permute_hidden=False)
    chosen = help_set(target, 5, SensingOptions(reduce="none", help_share=share, help_mode=1, neighbours=1), Streams(0))
    inside = 100 * len(np.intersect1d(target.rest[chosen.places], target.rest)) / len(target.rest)
    detail = f"{len(chosen.places)} of {len(target.rest)} scored windows are in the help set at p = {share}"
    return Check(ours=inside, theirs=50.0, tolerance=1.0, unit="percent", detail=detail)


def mmd_nan_gradient(root: str = "released") -> Check:
    """Identical batches give a loss of 0 and NaN gradients (released root)."""
    batch = torch.randn(16, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = {}
    for kind in (root, "guarded"):
        x = batch.clone().requires_grad_()
        loss = mk_mmd_loss(x, batch, root=kind)
        (gradient,) = torch.autograd.grad(loss, x)
        results[kind] = (float(loss.detach()), int(bool(gradient.isnan().any())))
    detail = f"loss {results[root][0]:.1e}; gradient NaN: {root} {results[root][1]}, guarded {results['guarded'][1]}"
    holds = results[root][1] and not results["guarded"][1]
    return Check.exact(float(holds), 1.0, "boolean", detail)


def mmd_vanishing_gradient(sigmas: Sequence[float] = SIGMAS) -> Check:
    """Batches of N(0, 9) in 64 dimensions give no gradient."""
    generator = torch.Generator().manual_seed(0)
    x, y = (3 * torch.randn(34, 64, generator=generator) for _ in range(2))
    x.requires_grad_()
    loss = mk_mmd_loss(x, y, sigmas)
    (gradient,) = torch.autograd.grad(loss, x)
    norm = float(gradient.norm())
    detail = f"34 items a side: loss {float(loss.detach()):.2f}, gradient norm {norm:.1e} at σ {tuple(sigmas)}"
    return Check.zero(norm, 1e-9, detail)


def epoch_range(patience: int = 30) -> Check:
    """The earliest possible stop is epoch 230 and the latest 351."""
    earliest = _stop(StoppingOptions(patience=patience), last_good=200)
    latest = _stop(StoppingOptions(patience=patience), last_good=1000)
    detail = f"shots that get no better after epoch 200 stop at {earliest}, shots that always improve at {latest}"
    ours = earliest if latest == 351 else float("nan")
    return Check.exact(ours, 230, "epochs", detail)


def _stop(options: StoppingOptions, last_good: int) -> int:
    rule = StoppingRule(options)
    while not rule.stopped:
        epoch = rule.epoch + 1
        rule.update(*((0.1 * epoch, 1 / epoch) if epoch <= last_good else (0.0, 10.0)))
    return rule.epoch


def bn_sees_target(batch_norm: str = "all") -> Check:
    """A target batch in training mode moves BatchNorm's running statistics."""
    from suites.models.csi_resnet import CsiResNetOptions, build
    from suites.tasks.common import batch_norm_momentum

    torch.manual_seed(0)
    network = build(ModelRequest(CsiResNetOptions(width=4, dimension=8), {"classes": 3})).train()
    windows = torch.randn(8, 1, 16, 20).cumsum(dim=2)
    moves = {}
    for kind in (batch_norm, "source"):
        means = [value for name, value in network.named_buffers() if name.endswith("running_mean")]
        before = [value.clone() for value in means]
        with batch_norm_momentum(network, 0.0) if kind == "source" else nullcontext():
            network(windows)
        moves[kind] = max(float((now - then).abs().max()) for now, then in zip(means, before, strict=True))
    detail = f"largest move of a running mean: {batch_norm} {moves[batch_norm]:.3g}, source {moves['source']:.3g}"
    seen = moves[batch_norm] > 1e-4 and moves["source"] == 0
    return Check.exact(float(seen), 1.0, "boolean", detail)


def umap_d128_needs_samples(dimensions: int = 128) -> Check:
    """UMAP's spectral start at d 128 needs more items than available.

    The relayed target has 60, public person 0 has 64; ``ours`` is the smallest number that starts spectrally.
    """
    smallest = next(items for items in range(3, 1000) if umap_init(items, dimensions) == "spectral")
    detail = f"d = {dimensions}: {smallest} items or more start spectrally; with 60 or 64 the start is "
    detail += f"{umap_init(RELAYED_TARGET, dimensions)}"
    return Check(ours=smallest, theirs=RELAYED_TARGET, tolerance=4, unit="samples", detail=detail, relation="above")


def parameter_count(classes: int = 6) -> Check:
    """The network of six classes has 11,211,784 parameters."""
    from suites.models.csi_resnet import CsiResNetOptions, build

    with torch.device("meta"):
        network = build(ModelRequest(CsiResNetOptions(), {"classes": classes}))
    count = sum(parameter.numel() for parameter in network.parameters())
    return Check.exact(count, PARAMETERS, "count", f"{classes} classes, width 64, one-channel stem")
