"""AdamP and SGDP: what they compute, and the conventions of torch.optim that they keep."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from methods.optimizers import SGDP, AdamP, batched
from methods.optimizers.baselines import adam, adamw, sgd

adamp = pytest.importorskip("adamp", reason="the authors' package is the reference")

SHAPES = [(8, 4, 3, 3), (8,), (16, 8), (5, 1), (), (3, 2, 5), (1, 7), (40, 30)]
KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamp": lambda params, **kw: AdamP(params, **{"lr": 1e-2, "weight_decay": 0.05, **kw}),
    "sgdp": lambda params, **kw: SGDP(params, **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, **kw}),
}
REFERENCES = {
    "adamp": lambda params, **kw: adamp.AdamP(params, **{"lr": 1e-2, "weight_decay": 0.05, **kw}),
    "sgdp": lambda params, **kw: adamp.SGDP(params, **{"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, **kw}),
}
both = pytest.mark.parametrize("kind", ["adamp", "sgdp"])


def parameters(shapes: list[tuple[int, ...]] = SHAPES, seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def twins(params: list[nn.Parameter]) -> list[nn.Parameter]:
    return [nn.Parameter(p.detach().clone()) for p in params]


def gradient(w: Tensor, view: int, generator: torch.Generator) -> Tensor:
    """A gradient on which the projection fires in the given view (0 none is likely, 1 channel, 2 layer)."""
    g = torch.randn(w.shape, generator=generator)
    if w.ndim > 1 and view:
        rows = (w.shape[0] if view == 1 else 1, -1)
        a, b = w.detach().reshape(rows), g.reshape(rows)
        g = (b - a * ((a * b).sum(1) / (a * a).sum(1))[:, None]).reshape(w.shape)
    return g


def set_gradients(groups: list[list[nn.Parameter]], step: int, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + step)
    for index, same in enumerate(zip(*groups, strict=True)):
        g = gradient(same[0], (step + index + seed) % 3, generator)
        for p in same:
            p.grad = g.clone()


def take(steps: int, *pairs: tuple[list[nn.Parameter], torch.optim.Optimizer], seed: int = 0) -> None:
    """Take steps of optimizers on the same gradients."""
    for step in range(steps):
        set_gradients([params for params, _ in pairs], step, seed)
        for _, optimizer in pairs:
            optimizer.step()


def largest(a: list[nn.Parameter], b: list[nn.Parameter]) -> float:
    return max(float((p - q).detach().abs().max()) for p, q in zip(a, b, strict=True))


@both
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("blocks", [None, (64, 200)], ids=["one block", "many blocks"])
def test_equals_the_package_step_by_step(
    kind: str, nesterov: bool, foreach: bool | None, blocks: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blocks is not None:
        monkeypatch.setattr(batched, "BLOCK", blocks[0])
        monkeypatch.setattr(batched, "BATCH", blocks[1])
    seen: set[float] = set()
    for seed in range(3):
        mine = parameters(seed=seed)
        reference = twins(mine)
        options = {"nesterov": nesterov} | ({"dampening": 0.2} if kind == "sgdp" else {})
        optimizer = KINDS[kind](mine, foreach=foreach, record=True, **options)
        theirs = REFERENCES[kind](reference, **options)
        for step in range(9):
            set_gradients([reference, mine], step, seed)
            optimizer.step()
            theirs.step()
            seen |= {float(view) for view in optimizer.fired_views().values()}  # type: ignore[attr-defined]
            assert largest(mine, reference) < 5e-6, (seed, step)
    assert seen == {0.0, 1.0, 2.0}


@both
def test_equals_the_package_with_several_groups(kind: str) -> None:
    mine = parameters()
    reference = twins(mine)

    def groups(params: list[nn.Parameter]) -> list[dict[str, Any]]:
        return [{"params": params[:3], "lr": 3e-2, "weight_decay": 0.2}, {"params": params[3:], "wd_ratio": 0.5}]

    optimizer, theirs = KINDS[kind](groups(mine)), REFERENCES[kind](groups(reference))
    take(6, (reference, theirs), (mine, optimizer))
    assert largest(mine, reference) < 5e-6


@both
def test_update_of_a_convolution_before_batch_norm_is_tangential(kind: str) -> None:
    layers = (nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))
    model = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), *layers)
    optimizer = KINDS[kind](model.parameters(), weight_decay=0.0, record=True)
    for _ in range(4):
        before = model[0].weight.detach().clone().flatten(1)
        head = model[4].weight.detach().clone().flatten(1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 3, 8, 8)), torch.randint(4, (16,))).backward()
        optimizer.step()
        update = model[0].weight.detach().flatten(1) - before
        assert nn.functional.cosine_similarity(update, before).abs().max() < 1e-4
    views = optimizer.fired_views()  # type: ignore[attr-defined]
    assert float(views[model[0].weight]) == 1.0
    assert float(views[model[4].weight]) == 0.0
    moved = model[4].weight.detach().flatten(1) - head
    assert nn.functional.cosine_similarity(moved, head).abs().max() > 1e-3


@both
@given(size=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_one_dimension_is_never_projected(kind: str, size: int, seed: int) -> None:
    always, never = ([p] for p in (parameters([(size,)], seed)[0], parameters([(size,)], seed)[0]))
    fires, plain = KINDS[kind](always, delta=math.inf), KINDS[kind](never, delta=0.0)
    take(3, (always, fires), (never, plain), seed=seed)
    assert torch.equal(always[0], never[0])


@both
@given(rows=st.integers(1, 5), columns=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_delta_zero_never_fires_and_infinity_always(kind: str, rows: int, columns: int, seed: int) -> None:
    for delta, view in ((0.0, 0.0), (math.inf, 1.0)):
        w = parameters([(rows, columns)], seed)
        optimizer = KINDS[kind](w, delta=delta, record=True)
        set_gradients([w], seed % 3, seed)
        optimizer.step()
        assert float(optimizer.fired_views()[w[0]]) == view  # type: ignore[attr-defined]


@both
def test_one_row_above_the_threshold_stops_the_channel_view(kind: str) -> None:
    w = parameters([(6, 50)])
    g = gradient(w[0], 1, torch.Generator().manual_seed(1))
    g[2] += 3 * w[0].detach()[2]
    for rows, view in (("all", 0.0), ("each", 1.0)):
        copy_ = twins(w)
        before = copy_[0].detach().clone()
        optimizer = KINDS[kind](copy_, rows=rows, record=True, weight_decay=0.0)
        copy_[0].grad = g.clone()
        optimizer.step()
        assert float(optimizer.fired_views()[copy_[0]]) == view  # type: ignore[attr-defined]
        cosine = nn.functional.cosine_similarity(copy_[0].detach() - before, before).abs()
        assert cosine[2] > 0.5
        others = cosine[[0, 1, 3, 4, 5]]
        assert (others.max() < 1e-4) if rows == "each" else (others.max() > 1e-4 or kind == "sgdp")


@both
def test_rows_each_weakens_the_decay_of_fired_rows_only(kind: str) -> None:
    w = parameters([(3, 20)])
    before = w[0].detach().clone()
    optimizer = KINDS[kind](w, rows="each", weight_decay=0.1, wd_ratio=0.0)
    w[0].grad = torch.zeros_like(w[0])
    w[0].grad[1] = before[1]
    optimizer.step()
    assert torch.equal(w[0][[0, 2]], before[[0, 2]])
    assert not torch.equal(w[0][1], before[1])


@both
@pytest.mark.parametrize(("views", "expected"), [("both", (1, 2, 0)), ("channel", (1, 0, 0)), ("layer", (2, 2, 0))])
@pytest.mark.parametrize("foreach", [None, True, False])
def test_views(kind: str, views: str, expected: tuple[int, int, int], foreach: bool | None) -> None:
    w = parameters([(6, 50)] * 3)
    generator = torch.Generator().manual_seed(3)
    optimizer = KINDS[kind](w, views=views, record=True, foreach=foreach)
    w[0].grad = gradient(w[0], 1, generator)
    w[1].grad = gradient(w[1], 2, generator)
    w[2].grad = w[2].detach().clone()
    optimizer.step()
    fired = optimizer.fired_views()  # type: ignore[attr-defined]
    assert tuple(int(fired[p]) for p in w) == expected


@both
@pytest.mark.parametrize("what", ["gradient", "weight", "both"])
def test_zero_gradient_or_weight_fires(kind: str, what: str) -> None:
    w = parameters([(4, 6)])
    w[0].grad = torch.randn(4, 6)
    with torch.no_grad():
        if what != "gradient":
            w[0].zero_()
        if what != "weight":
            w[0].grad.zero_()
    optimizer = KINDS[kind](w, record=True)
    optimizer.step()
    assert float(optimizer.fired_views()[w[0]]) == 1.0  # type: ignore[attr-defined]
    assert torch.isfinite(w[0]).all()


@both
def test_non_finite_gradient_does_not_fire(kind: str) -> None:
    w = parameters([(4, 6)])
    w[0].grad = torch.zeros(4, 6)
    w[0].grad[0, 0] = math.nan
    optimizer = KINDS[kind](w, record=True, delta=math.inf)
    optimizer.step()
    assert float(optimizer.fired_views()[w[0]]) == 0.0  # type: ignore[attr-defined]


def test_the_test_reads_the_raw_gradient_and_not_the_momentum() -> None:
    w = parameters([(4, 30)])
    optimizer = AdamP(w, record=True)
    w[0].grad = w[0].detach().clone()
    optimizer.step()
    w[0].grad = gradient(w[0], 1, torch.Generator().manual_seed(0))
    optimizer.step()
    assert float(optimizer.fired_views()[w[0]]) == 1.0


@both
def test_project_false_changes_the_decay_alone(kind: str) -> None:
    w = parameters([(4, 30)])
    plain, unprojected, undecayed = twins(w), twins(w), twins(w)
    decides = KINDS[kind](unprojected, project=False, delta=math.inf, wd_ratio=0.25, weight_decay=0.08)
    reference = KINDS[kind](plain, delta=0.0, weight_decay=0.02)
    without = KINDS[kind](undecayed, project=False, delta=math.inf, weight_decay=0.0)
    nothing = KINDS[kind](w, delta=0.0, weight_decay=0.0)
    take(4, (w, nothing), (plain, reference), (unprojected, decides), (undecayed, without))
    torch.testing.assert_close(unprojected[0], plain[0])
    torch.testing.assert_close(undecayed[0], w[0])


def test_delta_zero_is_adamw() -> None:
    mine = parameters()
    theirs = twins(mine)
    optimizer, reference = AdamP(mine, weight_decay=0.1, delta=0.0), adamw(theirs, weight_decay=0.1)
    take(5, (mine, optimizer), (theirs, reference))
    assert largest(mine, theirs) < 1e-6


def test_torch_baselines_take_their_fused_kernel_where_it_applies() -> None:
    for build, options in ((adam, {"lr": 1e-2}), (adamw, {"lr": 1e-2}), (sgd, {"lr": 1e-2, "momentum": 0.9})):
        fast, plain = parameters(), parameters()
        quick = build(fast, weight_decay=0.1, **options)
        usual = build(plain, weight_decay=0.1, foreach=False, **options)
        take(5, (fast, quick), (plain, usual))
        assert quick.defaults["fused"]
        assert not usual.defaults["fused"]
        assert largest(fast, plain) < 1e-6
        complex_ = [nn.Parameter(torch.ones(3, dtype=torch.complex64))]
        assert not build(complex_, **options).defaults["fused"]


def test_sgdp_dampens_the_first_step() -> None:
    for nesterov, expected in ((False, 0.3), (True, 1 + 0.9 * 0.3)):
        w = [nn.Parameter(torch.zeros(3))]
        w[0].grad = torch.ones(3)
        SGDP(w, lr=1.0, momentum=0.9, dampening=0.7, nesterov=nesterov).step()
        torch.testing.assert_close(w[0].detach(), torch.full((3,), -expected))


def test_sgdp_buffer_variants_differ_without_nesterov_only() -> None:
    for nesterov in (False, True):
        for foreach in (None, True, False):
            released = parameters([(6, 30)])
            paper = twins(released)
            options: dict[str, Any] = {"nesterov": nesterov, "delta": math.inf, "foreach": foreach}
            buffers = ((released, "released"), (paper, "paper"))
            take(3, *((p, SGDP(p, lr=0.1, momentum=0.9, buffer=b, **options)) for p, b in buffers))
            assert torch.equal(released[0], paper[0]) == nesterov


@both
def test_missing_gradients_and_empty_parameters_are_left_alone(kind: str) -> None:
    mine = parameters()
    before = [p.detach().clone() for p in mine]
    optimizer = KINDS[kind](mine)
    set_gradients([mine], 0)
    mine[0].grad = mine[1].grad = None
    optimizer.step()
    assert torch.equal(mine[0], before[0])
    assert torch.equal(mine[1], before[1])
    assert not torch.equal(mine[2], before[2])
    KINDS[kind](twins(mine)).step()
    mine = [nn.Parameter(torch.zeros(shape)) for shape in ((0, 3), (3, 0), (0,))]
    for p in mine:
        p.grad = torch.zeros_like(p)
    KINDS[kind](mine, record=True).step()


@both
def test_hooks_and_closure(kind: str) -> None:
    mine = parameters()
    optimizer = KINDS[kind](mine)
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))

    def closure() -> Tensor:
        assert torch.is_grad_enabled()
        called.append("closure")
        optimizer.zero_grad()
        loss = sum(((p - 1) ** 2).sum() for p in mine)
        loss.backward()
        return loss

    first = float(optimizer.step(closure).detach())
    for _ in range(20):
        last = float(optimizer.step(closure).detach())
    assert called[:3] == ["before", "closure", "after"]
    assert last < first


@both
@pytest.mark.parametrize("foreach", [None, True, False])
def test_tensor_learning_rate(kind: str, foreach: bool | None) -> None:
    mine = parameters()
    theirs = twins(mine)
    as_float = KINDS[kind](mine, lr=0.02, foreach=foreach)
    as_tensor = KINDS[kind](theirs, lr=torch.tensor(0.02), foreach=foreach)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(as_tensor, 0.5)
    for step in range(4):
        set_gradients([mine, theirs], step)
        as_float.step()
        as_tensor.step()
        scheduler.step()
        as_float.param_groups[0]["lr"] *= 0.5
    assert isinstance(as_tensor.param_groups[0]["lr"], Tensor)
    assert largest(mine, theirs) < 2e-6


@both
@pytest.mark.parametrize("foreach", [None, True, False])
def test_maximize(kind: str, foreach: bool | None) -> None:
    mine = parameters()
    theirs = twins(mine)
    up, down = KINDS[kind](mine, maximize=True, foreach=foreach), KINDS[kind](theirs, foreach=foreach)
    for step in range(3):
        set_gradients([mine, theirs], step)
        for p in mine:
            p.grad.neg_()
        up.step()
        down.step()
    assert largest(mine, theirs) < 1e-6


@both
def test_channels_last_and_mixed_layouts(kind: str) -> None:
    plain = parameters([(8, 4, 3, 3), (8, 4, 3, 3), (6, 5)])
    last = twins(plain)
    for i in (0, 1):
        last[i] = nn.Parameter(last[i].detach().to(memory_format=torch.channels_last))
    a, b = KINDS[kind](plain), KINDS[kind](last)
    for step in range(4):
        set_gradients([plain, last], step)
        last[0].grad = last[0].grad.to(memory_format=torch.channels_last)
        a.step()
        b.step()
    assert last[0].is_contiguous(memory_format=torch.channels_last)
    assert largest(plain, last) < 2e-6


@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(kind: str, dtype: torch.dtype) -> None:
    exact = parameters([(8, 4, 3, 3), (8,), (16, 8)])
    low = [nn.Parameter(p.detach().to(dtype)) for p in exact]
    a = KINDS[kind](exact, record=True, eps=1e-6)
    b = KINDS[kind](low, record=True, eps=1e-6)
    for _step in range(3):
        set_gradients([exact], 1)
        for p, q in zip(exact, low, strict=True):
            q.grad = p.grad.to(dtype)
        a.step()
        b.step()
    for p, q in zip(exact, low, strict=True):
        assert q.dtype == dtype
        torch.testing.assert_close(q.float(), p, rtol=0.05, atol=0.05)


@both
def test_sparse_and_complex_are_refused(kind: str) -> None:
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradients"):
        KINDS[kind](embedding.parameters()).step()
    number = nn.Parameter(torch.zeros(2, 2, dtype=torch.complex64))
    number.grad = torch.ones_like(number)
    with pytest.raises(RuntimeError, match="complex"):
        KINDS[kind]([number]).step()


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (AdamP, {"lr": -1.0}, "lr must be"),
        (AdamP, {"lr": torch.ones(2)}, "one element"),
        (AdamP, {"betas": (1.0, 0.9)}, r"betas\[0\]"),
        (AdamP, {"weight_decay": -0.1}, "weight_decay"),
        (AdamP, {"delta": -0.1}, "delta"),
        (AdamP, {"delta": math.nan}, "delta"),
        (AdamP, {"wd_ratio": -0.1}, "wd_ratio"),
        (AdamP, {"eps": -0.1}, "eps"),
        (AdamP, {"views": "rows"}, "both, channel, layer"),
        (AdamP, {"rows": "some"}, "all, each"),
        (AdamP, {"foreach": True, "differentiable": True}, "autograd"),
        (SGDP, {"lr": 0.1, "momentum": 1.0}, "momentum"),
        (SGDP, {"lr": 0.1, "buffer": "mine"}, "released, paper"),
    ],
)
def test_wrong_options_are_refused(build: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(parameters(), **options)


@both
def test_differentiable_step(kind: str) -> None:
    def after_two_steps(scale: Tensor) -> Tensor:
        w = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(3, 4).requires_grad_().clone()
        bias = torch.ones(3, dtype=torch.float64, requires_grad=True).clone()
        optimizer = KINDS[kind]([w, bias], differentiable=True, eps=1e-3, delta=math.inf)
        target = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
        for _ in range(2):
            w.retain_grad()
            g = torch.autograd.grad(
                (scale * (w.clone() * target).sin()).sum() + (scale * bias.clone() ** 2).sum(),
                [w, bias],
                create_graph=True,
            )
            w.grad, bias.grad = g
            optimizer.step()
        return w.square().sum() + bias.sum()

    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(after_two_steps, (scale,), eps=1e-6, atol=1e-4)


@pytest.mark.full
@both
def test_compiled_step_equals_eager_and_does_not_recompile(kind: str) -> None:
    mine = parameters([(6, 4, 3, 3), (6,), (8, 5)])
    theirs = twins(mine)
    compiled_, eager = KINDS[kind](mine, record=True), KINDS[kind](theirs, record=True)
    torch._dynamo.reset()
    step_ = torch.compile(compiled_.step)
    for step in range(4):
        set_gradients([mine, theirs], step)
        with torch._dynamo.config.patch(error_on_recompile=step > 1):
            step_()
        eager.step()
        assert largest(mine, theirs) < 2e-6
    views = zip(compiled_.fired_views().values(), eager.fired_views().values(), strict=True)  # type: ignore[attr-defined]
    assert all(torch.equal(a, b) for a, b in views)


class _NoReadback(TorchDispatchMode):
    """Refuses every operation that reads a tensor on the host."""

    FORBIDDEN = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.FORBIDDEN, name
        assert "device" not in (kwargs or {}) or name != "_to_copy", "copied to another device"
        return func(*args, **(kwargs or {}))


@both
@pytest.mark.parametrize("options", [{}, {"rows": "each"}, {"project": False}], ids=str)
def test_a_step_reads_nothing_back(kind: str, options: dict[str, Any]) -> None:
    mine = parameters()
    optimizer = KINDS[kind](mine, record=True, foreach=True, **options)  # the form that runs on a device
    set_gradients([mine], 0)
    optimizer.step()
    set_gradients([mine], 1)
    with _NoReadback():
        optimizer.step()
