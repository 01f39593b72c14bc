"""MK-MMD and the adaptation losses: vectors, plain formulas, gradients, extremes, contract."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_batches import DOMAIN_CLASSES as CLASSES
from loss_batches import WIDTH
from loss_batches import adaptation_batch as a_batch
from torch import Tensor

from methods.alignment.baselines import DANN, FineTune, GlobalMMD, coral_loss, reverse_gradient
from methods.alignment.diagnostics import class_alignment, fluctuation, misaligned_share, purity
from methods.alignment.inputs import AdaptationBatch
from methods.alignment.knn_mmd import KNNMMD
from methods.alignment.mk_mmd import class_mk_mmd, mk_mmd_loss


def sample(seed: int, rows: int, width: int = WIDTH, spread: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return spread * torch.randn(rows, width, generator=g, dtype=torch.float64)


def plain_mmd(x: Tensor, y: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    def mean_kernel(a: Tensor, b: Tensor, sigma: float) -> Tensor:
        total = torch.zeros((), dtype=a.dtype)
        for i in a:
            for j in b:
                total = total + torch.exp(-((i - j) ** 2).sum() / (2 * sigma**2))
        return total / (len(a) * len(b))

    values = []
    for sigma in sigmas:
        squared = mean_kernel(x, x, sigma) + mean_kernel(y, y, sigma) - 2 * mean_kernel(x, y, sigma)
        values.append(squared.clamp_min(0).sqrt())
    return torch.stack(values).mean()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5))
def test_mk_mmd_is_the_plain_formula(seed: int, rows: int, others: int, width: int) -> None:
    sigmas = (0.5, 1.0, 3.0)
    x, y = sample(seed, rows, width).requires_grad_(), (sample(seed + 1, others, width) + 0.5).requires_grad_()
    ours, plain = mk_mmd_loss(x, y, sigmas), plain_mmd(x, y, sigmas)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)
    for got, expected in zip(torch.autograd.grad(ours, (x, y)), torch.autograd.grad(plain, (x, y)), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(mk_mmd_loss(x.float(), y.float(), sigmas).double(), plain, rtol=1e-5, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9))
def test_class_discrepancies_are_mk_mmd_of_each_class(seed: int, rows: int, others: int) -> None:
    g = torch.Generator().manual_seed(seed)
    x, y = sample(seed, rows).requires_grad_(), sample(seed + 1, others).requires_grad_()
    x_labels = torch.randint(CLASSES, (rows,), generator=g)
    y_labels = torch.randint(CLASSES, (others,), generator=g)
    values, present = class_mk_mmd(x, x_labels, y, y_labels, CLASSES)
    plain = []
    for label in range(CLASSES):
        a, b = x[x_labels == label], y[y_labels == label]
        assert bool(present[label]) is (len(a) > 0 and len(b) > 0)
        plain.append(mk_mmd_loss(a, b) if len(a) and len(b) else (x * 0).sum())
    torch.testing.assert_close(values, torch.stack(plain))
    ours = torch.autograd.grad(values.sum(), (x, y))
    theirs = torch.autograd.grad(torch.stack(plain).sum(), (x, y), allow_unused=True)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, torch.zeros_like(got) if expected is None else expected)


def test_gradchecks() -> None:
    x, y = sample(1, 5).requires_grad_(), sample(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: mk_mmd_loss(a, b, (0.5, 1.0, 2.0)), (x, y))
    assert torch.autograd.gradcheck(coral_loss, (x, y))
    labels = torch.tensor([0, 1, 0, 2, 2])
    assert torch.autograd.gradcheck(lambda a, b: class_mk_mmd(a, labels, b, labels[:4], CLASSES).values, (x, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 2, 17])
def test_equal_samples_give_zero_and_no_nan(rows: int, dtype: torch.dtype) -> None:
    x = sample(3, rows).to(dtype)
    for spread in (1e-4, 1.0, 100.0):
        leaf, other = (spread * x).clone().requires_grad_(), (spread * x)[torch.randperm(rows)].requires_grad_()
        loss = mk_mmd_loss(leaf, other)
        assert float(loss.detach()) < 1e-3
        for gradient in torch.autograd.grad(loss, (leaf, other)):
            assert bool(gradient.isfinite().all())
        labels = torch.zeros(rows, dtype=torch.long)
        local = class_mk_mmd(leaf, labels, other, labels, CLASSES).values.sum()
        assert bool(torch.autograd.grad(local, leaf)[0].isfinite().all())


def test_autocast_does_not_round_the_kernels() -> None:
    x, y = sample(5, 30).float(), sample(6, 30).float() + 0.3
    labels = torch.arange(30) % CLASSES
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, local, coral = mk_mmd_loss(x, y), class_mk_mmd(x, labels, y, labels, CLASSES).values, coral_loss(x, y)
    torch.testing.assert_close(whole, mk_mmd_loss(x, y))
    torch.testing.assert_close(local, class_mk_mmd(x, labels, y, labels, CLASSES).values)
    torch.testing.assert_close(coral, coral_loss(x, y))


def test_what_mk_mmd_refuses() -> None:
    x = sample(7, 3)
    for bad, message in (
        (lambda: mk_mmd_loss(x, sample(8, 3, 5)), "one width"),
        (lambda: mk_mmd_loss(x, x[:0]), "empty"),
        (lambda: mk_mmd_loss(x, x, ()), "sigmas"),
        (lambda: mk_mmd_loss(x, x, root="none"), "root must be one of guarded, released"),
        (lambda: class_mk_mmd(x, torch.zeros(2), x, torch.zeros(3), 2), "labels of"),
    ):
        with pytest.raises(ValueError, match=message):
            bad()


# Modules


def test_knn_mmd_terms() -> None:
    batch = a_batch(3)
    terms = KNNMMD(local_weight=3.0, global_weight=0.5)(batch).terms
    local = sum(
        mk_mmd_loss(batch.source_features[batch.source_labels == c], batch.help_features[batch.help_labels == c])
        for c in range(CLASSES)
    )
    torch.testing.assert_close(terms["local"], (3.0 * local / CLASSES).detach())
    torch.testing.assert_close(
        terms["global"], 0.5 * mk_mmd_loss(batch.source_features, batch.target_features).detach()
    )
    paper = KNNMMD(global_target="paper")(batch).terms["global"]
    torch.testing.assert_close(paper, 2 * mk_mmd_loss(batch.source_features, batch.help_features).detach())
    assert set(KNNMMD(local_weight=0)(batch).terms) == {"cross_entropy", "global"}
    assert set(KNNMMD(global_weight=0)(batch).terms) == {"cross_entropy", "local"}
    same = GlobalMMD(weight=2.0)(batch).total
    torch.testing.assert_close(KNNMMD(local_weight=0)(batch).total, same)


def test_the_shots_enter_training_only_as_released() -> None:
    batch = a_batch(4)
    for form, used in (("paper", False), ("released", True)):
        (gradient,) = torch.autograd.grad(KNNMMD(support=form)(batch).total, batch.support_features, allow_unused=True)
        assert (gradient is not None and float(gradient.abs().sum()) > 0) is used


def test_a_class_that_the_help_set_lacks_is_left_out() -> None:
    batch = a_batch(5)
    lacking = AdaptationBatch(
        batch.source_features,
        batch.source_logits,
        batch.source_labels,
        batch.target_features,
        batch.help_features,
        torch.zeros_like(batch.help_labels),
    )
    module = KNNMMD(global_weight=0)
    assert float(module.diagnostics(lacking)["aligned_class_share"]) == pytest.approx(1 / CLASSES)
    (gradient,) = torch.autograd.grad(module(lacking).terms["local"] + module(lacking).total, batch.source_features)
    assert float(gradient[batch.source_labels != 0].abs().max()) == 0


def test_gradient_reversal() -> None:
    x = sample(9, 3).requires_grad_()
    torch.testing.assert_close(reverse_gradient(x, 0.3), x)
    (gradient,) = torch.autograd.grad(reverse_gradient(x, 0.3).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(x, -0.3))
    module = DANN(WIDTH)
    assert module.reversal(0.0) == 0
    assert module.reversal(1.0) == pytest.approx(1, abs=1e-4)


def dann() -> DANN:
    torch.manual_seed(0)
    return DANN(WIDTH)


def test_dann_pulls_features_the_other_way_and_its_classifier_the_right_way() -> None:
    module, batch = dann(), a_batch(6)
    before = float(module(batch).terms["domain"])
    module(batch).total.backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.01 * parameter.grad
        assert float(module(batch).terms["domain"]) < before
    fresh = dann()
    moved = AdaptationBatch(
        batch.source_features,
        batch.source_logits,
        batch.source_labels,
        batch.target_features - 0.1 * batch.target_features.grad,
        progress=0.5,
    )
    assert float(fresh(moved).terms["domain"]) > before


def test_coral_is_the_covariance_distance() -> None:
    x, y = sample(10, 20), sample(11, 15)
    expected = np.square(np.cov(x.numpy().T) - np.cov(y.numpy().T)).sum() / (4 * WIDTH**2)
    assert float(coral_loss(x, y)) == pytest.approx(expected)
    assert float(coral_loss(x, x)) == 0
    assert bool(coral_loss(x[:1], y).isfinite())


def test_fine_tuning_changes_sides() -> None:
    batch = a_batch(7)
    early = FineTune(start=0.6)(batch).terms
    late = FineTune(start=0.4)(batch).terms
    assert float(early["support"]) == 0
    assert float(late["cross_entropy"]) == 0
    assert float(late["support"]) > 0


# Diagnostics


def test_purity_and_fluctuation_of_the_last_epochs() -> None:
    assert purity(np.array([0, 1, 1]), np.array([0, 1, 2])) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="non-empty"):
        purity(np.array([]), np.array([]))
    values = [0.0] * 10 + [1.0, 3.0]
    assert fluctuation(values, last=2) == pytest.approx(np.sqrt(2))
    assert np.isnan(fluctuation([1.0]))


def test_class_alignment_has_a_floor_and_sees_a_shift() -> None:
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(120) % CLASSES
    source = torch.randn(120, WIDTH, generator=g) / 2
    alike = torch.randn(120, WIDTH, generator=g) / 2
    near = class_alignment(source, labels, alike, labels, CLASSES)
    far = class_alignment(source, labels, alike + 1.5, labels, CLASSES)
    assert torch.equal(near.floor, far.floor)
    assert bool((near.mmd < 1.5 * near.floor).all())
    assert bool((far.mmd > 2 * far.floor).all())
    lone = class_alignment(source[:1], labels[:1], alike, labels, CLASSES)
    assert bool(lone.floor.isnan().all())
    assert lone.mmd.isnan().tolist() == [False, True, True]


def test_misaligned_share_counts_swapped_classes() -> None:
    centres = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    labels = torch.arange(40) % 4
    source = centres[labels] + 0.1 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    assert misaligned_share(source, labels, source + 0.3, labels, 4) == 0
    swapped = torch.tensor([1, 0, 2, 3])[labels]
    assert misaligned_share(source, labels, source, swapped, 4) == 0.5
    assert np.isnan(misaligned_share(source[:1], labels[:1], source[1:2], labels[1:2], 4))


def test_the_kernels_are_as_wide_as_published() -> None:
    x, y = sample(0, 5), sample(1, 6)
    torch.testing.assert_close(mk_mmd_loss(x, y), plain_mmd(x, y, (0.5, 1.0)))
