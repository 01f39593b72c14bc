"""The bare losses: reference vectors, plain float64 formulas, gradients, extremes, the facts of the fact sheet."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from methods.distillation import uskd
from methods.distillation.inputs import DistillationBatch
from methods.distillation.kd import dkd_loss, kd_loss, wsld_loss, wsld_weights
from methods.distillation.nkd import MatchedKD, matching_scale, nkd_loss, nkd_non_target_loss, nkd_target_loss
from methods.distillation.ranking import descending_order, two_heaviest, zipf_masses
from methods.distillation.self_distillation import cs_kd_loss, partners, tf_kd_loss

Logits = tuple[Tensor, Tensor, Tensor]


def draw(seed: int, items: int = 7, classes: int = 9, spread: float = 2.0, mixed: bool = False) -> Logits:
    g = torch.Generator().manual_seed(seed)
    student = torch.randn(items, classes, generator=g, dtype=torch.float64) * spread
    teacher = torch.randn(items, classes, generator=g, dtype=torch.float64) * spread
    first, second = torch.randint(classes, (2, items), generator=g)
    if not mixed:
        return student, teacher, first
    weight = torch.rand(items, 1, generator=g, dtype=torch.float64)
    label = weight * F.one_hot(first, classes) + (1 - weight) * F.one_hot(second, classes)
    return student, teacher, label


def gradient(loss: Callable[[Tensor], Tensor], student: Tensor) -> Tensor:
    leaf = student.detach().clone().requires_grad_()
    (result,) = torch.autograd.grad(loss(leaf), leaf)
    return result


def plain_softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum()


def plain_target(label: Tensor) -> int:
    return int(label) if label.ndim == 0 else int(label.argmax())


def plain_nkd(student: Tensor, teacher: Tensor, label: Tensor, t: float, gamma: float) -> Tensor:
    total = torch.zeros((), dtype=student.dtype)
    for z_s, z_t, y in zip(student, teacher, label, strict=True):
        target = plain_target(y)
        others = [i for i in range(len(z_s)) if i != target]
        total = total - plain_softmax(z_t)[target] * plain_softmax(z_s)[target].log()
        soft_t, soft_s = plain_softmax(z_t[others] / t), plain_softmax(z_s[others] / t)
        total = total - gamma * t * t * (soft_t * soft_s.log()).sum()
    return total / len(student)


def plain_kd(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    rows = [
        -(plain_softmax(z_t / t) * plain_softmax(z_s / t).log()).sum()
        for z_s, z_t in zip(student, teacher, strict=True)
    ]
    return t * t * sum(rows) / len(rows)


def plain_dkd(student: Tensor, teacher: Tensor, label: Tensor, t: float, alpha: float, beta: float) -> Tensor:
    total = torch.zeros((), dtype=student.dtype)
    for z_s, z_t, y in zip(student, teacher, label, strict=True):
        target = plain_target(y)
        others = [i for i in range(len(z_s)) if i != target]
        p, q = plain_softmax(z_s / t)[target], plain_softmax(z_t / t)[target]
        binary = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
        soft_t, soft_s = plain_softmax(z_t[others] / t), plain_softmax(z_s[others] / t)
        total = total + t * t * (alpha * binary + beta * (soft_t * (soft_t / soft_s).log()).sum())
    return total / len(student)


def plain_wsld(student: Tensor, teacher: Tensor, label: Tensor, t: float, alpha: float) -> Tensor:
    classes = student.shape[1]
    mass = F.one_hot(label, classes).double() if label.ndim == 1 else label
    total = torch.zeros((), dtype=student.dtype)
    for z_s, z_t, v in zip(student, teacher, mass, strict=True):
        ce_s, ce_t = -(v * plain_softmax(z_s).log()).sum(), -(v * plain_softmax(z_t).log()).sum()
        weight = 1 - torch.exp(-max(ce_s / (ce_t + 1e-7), torch.zeros(())).detach())
        total = total - t * t * alpha * weight * (plain_softmax(z_t / t) * plain_softmax(z_s / t).log()).sum()
    return total / len(student)


def plain_uskd(
    student: Tensor, weak: Tensor, label: Tensor, alpha: float, beta: float, mu: float, rank: str = "released"
) -> Tensor:
    items, classes = student.shape
    mass = F.one_hot(label, classes).double() if label.ndim == 1 else label
    kept = 1 if label.ndim == 1 else 2
    tops = [sorted(range(classes), key=lambda i, v=v: (-float(v[i]), i))[:kept] for v in mass]
    p = torch.stack([plain_softmax(z) for z in student])
    s = torch.stack([p[n, tops[n]] for n in range(items)])
    soft = (s**2 - (s**2).mean(dim=0) + torch.stack([mass[n, tops[n]] for n in range(items)])).detach()
    target = non_target = weakly = torch.zeros((), dtype=student.dtype)
    for n in range(items):
        for k, i in enumerate(tops[n]):
            if mass[n, i] > 0:
                target = target - soft[n, k] * p[n, i].log()
        w = plain_softmax(weak[n])
        part = p[n].log() if rank == "released" else p[n]
        score = w / (1 - w[tops[n]].sum() + 1e-6) + part / (1 - part[tops[n]].sum() + 1e-6)
        order = sorted(range(classes), key=lambda i, score=score: -float(score.detach()[i]))
        others = [i for i in range(classes) if i not in tops[n]]
        zipf = torch.tensor([1 / (1 + order.index(i)) for i in others], dtype=student.dtype)
        non_target = non_target - ((zipf / zipf.sum()) * plain_softmax(student[n, others]).log()).sum()
        weakly = weakly - ((0.9 * mass[n] + 0.1 / classes) * w.log()).sum()
    return (alpha * target + beta * non_target + mu * weakly) / items


TEMPERATURES = st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0])
SHAPES = st.tuples(st.integers(0, 10_000), st.integers(1, 9), st.integers(2, 14), st.booleans())


def same(ours: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], student: Tensor) -> None:
    torch.testing.assert_close(ours(student), plain(student), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(gradient(ours, student), gradient(plain, student), rtol=1e-8, atol=1e-10)
    # The same numbers in float32, within the vectors' tolerances.
    single = ours(student.float())
    torch.testing.assert_close(single.double(), plain(student), rtol=1e-5, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SHAPES, TEMPERATURES)
def test_nkd_is_the_plain_formula(shape: tuple[int, int, int, bool], t: float) -> None:
    s, teacher, y = draw(shape[0], shape[1], shape[2], mixed=shape[3])
    same(lambda z: nkd_loss(z, teacher, y, t, 1.7), lambda z: plain_nkd(z, teacher, y, t, 1.7), s)
    parts = lambda z: nkd_target_loss(z, teacher, y) + 1.7 * nkd_non_target_loss(z, teacher, y, t)  # noqa: E731
    same(parts, lambda z: plain_nkd(z, teacher, y, t, 1.7), s)


@settings(max_examples=15, deadline=None)
@given(SHAPES, TEMPERATURES)
def test_kd_dkd_wsld_are_the_plain_formulas(shape: tuple[int, int, int, bool], t: float) -> None:
    s, teacher, y = draw(shape[0], shape[1], shape[2], mixed=shape[3])
    same(lambda z: kd_loss(z, teacher, t), lambda z: plain_kd(z, teacher, t), s)
    same(lambda z: dkd_loss(z, teacher, y, t, 0.7, 2.1), lambda z: plain_dkd(z, teacher, y, t, 0.7, 2.1), s)
    same(lambda z: wsld_loss(z, teacher, y, t, 2.25), lambda z: plain_wsld(z, teacher, y, t, 2.25), s)


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.sampled_from(["released", "paper"]))
def test_uskd_is_the_plain_formula(shape: tuple[int, int, int, bool], rank: str) -> None:
    s, weak, y = draw(shape[0], shape[1], max(4, shape[2]), mixed=shape[3])
    options = uskd.USKDOptions(rank=rank)
    weights = (0.9, 0.3, 0.2)
    same(lambda z: uskd.uskd_loss(z, weak, y, *weights, options), lambda z: plain_uskd(z, weak, y, *weights, rank), s)
    same(lambda w: uskd.uskd_loss(s.to(w.dtype), w, y, *weights), lambda w: plain_uskd(s, w, y, *weights), weak)


EXACT: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "kd": lambda s, t, y: kd_loss(s, t, 3.0),
    "dkd": lambda s, t, y: dkd_loss(s, t, y, 2.0, 0.8, 1.7),
    "wsld_fixed_weights": lambda s, t, y: kd_loss(s, t, 2.0),
    "nkd": lambda s, t, y: nkd_loss(s, t, y, 1.0, 1.5),
    "nkd_warm": lambda s, t, y: nkd_loss(s, t, y, 3.0, 3.5),
    "nkd_terms": lambda s, t, y: nkd_target_loss(s, t, y) + nkd_non_target_loss(s, t, y, 3.0),
    "nkd_unnormalised": lambda s, t, y: nkd_non_target_loss(s, t, y, 3.0, normalise=False),
    "uskd_non_target": lambda s, t, y: uskd.uskd_non_target_loss(
        s, t, uskd.find_targets(y, s), uskd.USKDOptions(rank="weak")
    ),
    "tf_kd": lambda s, t, y: tf_kd_loss(s, y),
    "tf_kd_paper": lambda s, t, y: tf_kd_loss(s, y, form="paper"),
}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", sorted(EXACT))
def test_gradcheck(name: str, mixed: bool) -> None:
    s, t, y = draw(3, 5, 6, mixed=mixed)
    assert torch.autograd.gradcheck(lambda z: EXACT[name](z, t, y), (s.requires_grad_(),))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_nkd_has_second_derivatives(temperature: float) -> None:
    s, t, y = draw(4, 3, 4)
    assert torch.autograd.gradgradcheck(lambda z: nkd_loss(z, t, y, temperature, 1.5), (s.requires_grad_(),))


def test_the_target_logit_has_no_part_in_the_normalised_non_target_term() -> None:
    s, teacher, y = draw(12)
    moved = s.scatter_add(1, y[:, None], torch.full((len(y), 1), 5.0, dtype=s.dtype))
    torch.testing.assert_close(nkd_non_target_loss(s, teacher, y, 2.0), nkd_non_target_loss(moved, teacher, y, 2.0))
    assert float(gradient(lambda z: nkd_non_target_loss(z, teacher, y), s).gather(1, y[:, None]).abs().max()) == 0


def test_losses_ignore_a_common_offset_even_in_single_precision() -> None:
    s, teacher, y = draw(13)
    for loss in (
        lambda z: nkd_loss(z, teacher.float(), y, 3.0, 3.5),
        lambda z: dkd_loss(z, teacher.float(), y, 3.0),
        lambda z: kd_loss(z, teacher.float(), 3.0),
    ):
        shifted = (s.float() + 1024).double() - 1024
        torch.testing.assert_close(loss(s.float() + 1024), loss(shifted.float()), rtol=1e-5, atol=1e-6)


def test_wsld_has_no_gradient_through_its_weights() -> None:
    s, teacher, y = draw(14)
    weights = wsld_weights(s, teacher, y)
    rows = lambda z: -(F.softmax(teacher / 2, 1) * F.log_softmax(z / 2, 1)).sum(1)  # noqa: E731
    expected = gradient(lambda z: 4 * 2.5 * (weights * rows(z)).mean(), s)
    torch.testing.assert_close(gradient(lambda z: wsld_loss(z, teacher, y), s), expected)


def test_teacher_gets_no_gradient() -> None:
    s, t, y = draw(15)
    teacher, student = t.requires_grad_(), s.requires_grad_()
    for loss in (nkd_loss(student, teacher, y), dkd_loss(student, teacher, y), kd_loss(student, teacher)):
        assert torch.autograd.grad(loss, teacher, allow_unused=True)[0] is None
    assert torch.autograd.grad(wsld_loss(student, teacher, y), teacher, allow_unused=True)[0] is None


def test_target_labels_exceed_one_unless_clamped() -> None:
    s = torch.tensor([[0.9], [0.1]])
    soft = uskd.target_labels(s, torch.ones_like(s))
    torch.testing.assert_close(soft, torch.tensor([[0.81 + 1 - 0.41], [0.01 + 1 - 0.41]]))
    assert float(soft.max()) > 1
    assert float(uskd.target_labels(s, torch.ones_like(s), clamp=True).max()) == 1
    torch.testing.assert_close(uskd.target_labels(s, torch.ones_like(s), "linear"), s + 1 - 0.5)


def test_zipf_over_all_is_not_contiguous() -> None:
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    dropped = torch.tensor([[False, True, False, False]])
    law = torch.tensor([1.0, 0.0, 1 / 3, 1 / 4])
    torch.testing.assert_close(zipf_masses(scores, dropped, over="all")[0], law / law.sum())
    law = torch.tensor([1.0, 0.0, 1 / 2, 1 / 3])
    torch.testing.assert_close(zipf_masses(scores, dropped, over="others")[0], law / law.sum())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 40))
def test_the_packed_order_is_the_stable_sort(seed: int, items: int, classes: int) -> None:
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(items, classes, generator=g)
    scores = torch.where(torch.rand(items, classes, generator=g) < 0.5, scores.round(), scores)
    scores[:, 0], scores[0, -1] = -0.0, -torch.inf
    order = descending_order(scores)
    assert torch.equal(order, scores.argsort(dim=1, descending=True, stable=True))
    assert torch.equal(order, descending_order(scores.double()))


def test_two_heaviest_takes_the_lowest_of_equals() -> None:
    masses = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]])
    classes, values = two_heaviest(masses)
    assert classes.tolist() == [[2, 0], [0, 2], [0, 1]]
    assert values.tolist() == [[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]


def test_tf_nkd_is_the_linear_target_term() -> None:
    s, _, y = draw(22)
    p = s.softmax(1).gather(1, y[:, None]).squeeze(1)
    expected = -((p + 1 - p.mean()) * p.log()).mean()
    torch.testing.assert_close(uskd.tf_nkd_loss(s, y), expected)


def test_tf_kd_is_label_smoothing_in_the_limit() -> None:
    # At T = 1 the paper's virtual teacher is a smoothed label: same gradient as cross-entropy with it.
    s, _, y = draw(23, classes=5)
    smoothed = torch.full_like(s, 0.1 / 4).scatter(1, y[:, None], 0.9)
    expected = gradient(lambda z: F.cross_entropy(z, smoothed), s)
    torch.testing.assert_close(gradient(lambda z: tf_kd_loss(z, y, 1.0, 0.9, "paper"), s), expected)


def test_cs_kd_pairs_items_of_one_class() -> None:
    labels = torch.tensor([0, 1, 0, 2, 0, 1])
    partner, paired = partners(labels)
    assert partner[paired].tolist() == [2, 5, 4, 0, 1]
    assert paired.tolist() == [True, True, True, False, True, True]
    s, _, _ = draw(24, 6, 4)
    rows = [
        F.kl_div(F.log_softmax(s[i] / 4, 0), F.softmax(s[int(partner[i])] / 4, 0), reduction="sum")
        for i in range(6)
        if paired[i]
    ]
    torch.testing.assert_close(cs_kd_loss(s, labels, 4.0), 16 * sum(rows) / 5)
    assert float(cs_kd_loss(s, torch.arange(6), 4.0)) == 0


def test_matched_kd_pulls_as_hard_as_nkd() -> None:
    s, t, y = draw(25)
    objective = MatchedKD(temperature=3.0, gamma=3.5)
    term = gradient(lambda z: objective.terms(DistillationBatch(z, y, t))["distillation"], s)
    nkd = gradient(lambda z: nkd_loss(z, t, y, 3.0, 3.5), s)
    torch.testing.assert_close(term.norm(), nkd.norm())
    assert float(matching_scale(t, t, y, 3.0, 0.0)) == 0  # same logits: no direction to scale


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    **EXACT,
    "wsld": lambda s, t, y: wsld_loss(s, t, y),
    "uskd": lambda s, t, y: uskd.uskd_loss(s, t, y),
    "tf_nkd": lambda s, t, y: uskd.tf_nkd_loss(s, y),
    "cs_kd": lambda s, t, y: cs_kd_loss(s, y),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_extreme_logits_stay_finite(name: str, dtype: torch.dtype) -> None:
    y = torch.tensor([0, 1, 2, 0])
    big = 6e4
    rows = [[big, 0, -big, 0], [-big, big, 0, 0], [big, -big, -big, 0], [0, 0, 0, 0]]
    student, teacher = torch.tensor(rows, dtype=dtype), torch.tensor(rows[::-1], dtype=dtype)
    for s, t in ((student, teacher), (student, student), (student * 1e-3, teacher)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            leaf = s.clone().requires_grad_()
            loss = LOSSES[name](leaf, t, y)
        loss.backward()
        assert loss.dtype == torch.float32
        assert bool(loss.isfinite())
        assert bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_one_item(name: str, classes: int) -> None:
    assert bool(LOSSES[name](*draw(31, items=1, classes=classes)).isfinite())


def test_a_sure_student_keeps_its_digits() -> None:
    # p[y] rounds to 1 in single precision; −log p[y] and 1 − p[y] must not become 0 or infinite.
    student = torch.tensor([[30.0, 0.0, -1.0]], dtype=torch.float64)
    teacher, y = torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64), torch.tensor([0])
    wide = plain_nkd(student, teacher, y, 1.0, 1.5)
    torch.testing.assert_close(nkd_loss(student.float(), teacher.float(), y).double(), wide, rtol=1e-6, atol=0)
    surer = gradient(lambda z: nkd_target_loss(z, teacher, y), student)
    fused = gradient(lambda z: nkd_loss(z, teacher.float(), y, 1.0, 0.0), student.float())
    torch.testing.assert_close(fused.double(), surer, rtol=1e-5, atol=0)
    assert float(fused[0, 0]) < 0


@pytest.mark.full
@pytest.mark.parametrize(
    ("loss", "backend"),
    [
        pytest.param(lambda z, t, y: nkd_loss(z, t, y, 1.0, 1.5), "inductor", marks=pytest.mark.slow),
        (lambda z, t, y: nkd_loss(z, t, y, 3.0, 1.5), "inductor"),
        (uskd.uskd_loss, "aot_eager_decomp_partition"),
        pytest.param(uskd.uskd_loss, "inductor", marks=pytest.mark.slow),
    ],
    ids=["nkd, T = 1", "nkd, T = 3", "uskd, captured", "uskd"],
)
def test_compiled_loss_is_the_eager_one(loss: Callable[[Tensor, Tensor, Tensor], Tensor], backend: str) -> None:
    s, t, y = (tensor.float() if tensor.is_floating_point() else tensor for tensor in draw(33, 12, 10))
    eager = lambda z: loss(z, t, y)  # noqa: E731
    compiled = torch.compile(eager, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(s), eager(s))
    torch.testing.assert_close(gradient(compiled, s), gradient(eager, s))
