"""PowerNorm: formulas, options, checkpointing, precision, state."""

import copy

import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.utils.checkpoint import checkpoint

from methods.norms import PowerNorm, PowerNormVanilla
from methods.norms.powernorm import METADATA

PARTITIONED = "aot_eager_decomp_partition"
"""Captures, differentiates and partitions as the default back end does, without minutes of C++."""


def group_scaled(x, groups, eps):
    t, b, c = x.shape
    parts = x.reshape(t, b, groups, c // groups)
    return (parts / (parts.pow(2).mean(-1, keepdim=True) + eps).sqrt()).reshape(t, b, c)


class Reference:
    """The released recursion written out, one step after the other."""

    def __init__(self, channels, warmup, fwd, bkw, eps, groups, paper=()):
        self.running = torch.ones(channels, dtype=torch.float64)
        self.ema = torch.zeros(channels, dtype=torch.float64)
        self.k, self.warmup, self.fwd, self.bkw, self.eps = 0, warmup, fwd, bkw, eps
        self.groups, self.paper = groups, paper

    def step(self, x, mask, weight, bias, grad):
        self.k += 1
        x = x.detach().requires_grad_()
        h = group_scaled(x, self.groups, self.eps) if self.groups else x * 1
        d = h.detach()
        keep = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else ~mask.t()
        psi = d[keep].pow(2).mean(0)
        divisor = psi if self.k <= self.warmup else self.running
        z = d / (divisor + self.eps).sqrt()
        if "running_update" not in self.paper and self.k < self.warmup:
            self.running = self.running * (self.k - 1) / self.k + psi / self.k
        self.running = self.fwd * self.running + (1 - self.fwd) * psi
        g = grad * weight
        approx = g - (1 - self.bkw) * self.ema * z
        rows = approx * z
        rows = rows[keep] if "population" in self.paper else rows.flatten(0, 1)
        self.ema = self.ema + rows.mean(0)
        under = divisor if "backward_statistic" in self.paper else psi
        h.backward(approx / (under + self.eps).sqrt())
        return z * weight + bias, x.grad, (grad * z).sum((0, 1)), grad.sum((0, 1))


@pytest.mark.parametrize("paper", [(), ("backward_statistic",), ("running_update",), ("population",)])
@pytest.mark.parametrize(
    ("shape", "groups", "masked"), [((5, 2, 6), 3, True), ((9, 4, 10), 0, False), ((1, 7, 4), 1, True)]
)
def test_against_the_recursion_written_out(shape, groups, masked, paper):
    torch.manual_seed(1)
    t, b, c = shape
    options = {"groups": groups or 1, "group_scaling": groups > 0} | dict.fromkeys(paper, "paper")
    norm = PowerNorm(c, warmup_steps=3, alpha_fwd=0.85, alpha_bkw=0.7, **options).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    reference = Reference(c, 3, 0.85, 0.7, 1e-5, groups, paper)
    for _ in range(8):
        x = torch.randn(shape, dtype=torch.float64) * 2 + 0.5
        grad = torch.randn(shape, dtype=torch.float64)
        mask = torch.rand(b, t) < 0.4 if masked else None
        if masked:
            mask[0, 0] = False
        norm.zero_grad()
        x.requires_grad_()
        y = norm(x, mask)
        y.backward(grad)
        expected = reference.step(x, mask, norm.weight.detach(), norm.bias.detach(), grad)
        for got, want in zip((y, x.grad, norm.weight.grad, norm.bias.grad), expected, strict=True):
            torch.testing.assert_close(got.detach(), want.detach(), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(norm.running_phi, reference.running, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(norm.ema_gz, reference.ema, rtol=1e-9, atol=1e-10)


def run_steps(norm, steps=12, seed=0, mask=None, shape=(6, 3, 8)):
    """Train-mode steps with fixed data; the gradients of the inputs."""
    gradients = []
    for step in range(steps):
        generator = torch.Generator().manual_seed(seed * 1000 + step)
        x = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        norm(x, mask).backward(torch.randn(shape, generator=generator, dtype=torch.float64))
        gradients.append(x.grad)
    return torch.stack(gradients)


@pytest.mark.parametrize("masked", [False, True])
def test_warmup_backward_is_approximate_unless_exact(masked):
    torch.manual_seed(3)
    mask = torch.tensor([[False] * 4, [False, False, True, True]]) if masked else None
    x = torch.randn(4, 2, 6, dtype=torch.float64, requires_grad=True)
    norm = PowerNorm(6, warmup_steps=100, groups=2, warmup_backward="exact").double()
    nn.init.normal_(norm.weight)
    norm.update_statistics = False
    assert torch.autograd.gradcheck(lambda x, w, b: functional(norm, x, w, b, mask), (x, norm.weight, norm.bias))
    approximate = PowerNorm(6, warmup_steps=100, groups=2).double()
    nn.init.normal_(approximate.weight)
    approximate.ema_gz.fill_(3.0)
    approximate.update_statistics = False
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda x: approximate(x, mask), (x,))


def functional(norm, x, weight, bias, mask):
    return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, mask))


@pytest.mark.parametrize("scaling", [False, True])
def test_vanilla_gradcheck(scaling):
    torch.manual_seed(0)
    norm = PowerNormVanilla(6, groups=3, group_scaling=scaling).double()
    x = torch.randn(4, 3, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    for mask in (None, torch.rand(3, 4) < 0.5, torch.ones(3, 4, dtype=torch.bool)):
        assert torch.autograd.gradcheck(lambda x, w, b, m=mask: functional(norm, x, w, b, m), (x, weight, bias))


def test_vanilla_forward_and_running_value():
    norm = PowerNormVanilla(4, alpha_fwd=0.8, group_scaling=False).double()
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    mask = torch.zeros(3, 5, dtype=torch.bool)
    mask[1, 2:] = True
    psi = x[~mask.t()].pow(2).mean(0)
    torch.testing.assert_close(norm(x, mask), x / (psi + 1e-5).sqrt())
    torch.testing.assert_close(norm.running_phi, 0.8 + 0.2 * psi)
    norm.eval()
    torch.testing.assert_close(norm(x), x / (norm.running_phi + 1e-5).sqrt())


def test_evaluation_reads_the_running_value_only():
    norm = PowerNorm(8, warmup_steps=2, groups=2).double()
    run_steps(norm, 6)
    state = copy.deepcopy(norm.state_dict())
    norm.eval()
    x = torch.randn(6, 3, 8, dtype=torch.float64, requires_grad=True)
    alone = norm(x[:, :1])
    torch.testing.assert_close(norm(x)[:, :1], alone)
    torch.testing.assert_close(alone, group_scaled(x[:, :1], 2, 1e-5) / (norm.running_phi + 1e-5).sqrt())
    assert torch.autograd.gradcheck(norm, (x,))
    assert all(torch.equal(state[key], value) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("kind", [PowerNorm, PowerNormVanilla])
def test_padding_alone_changes_nothing(kind):
    norm = kind(8).double()
    run_steps(norm, 3)
    before = norm.running_phi.clone()
    x = torch.randn(6, 3, 8, dtype=torch.float64, requires_grad=True)
    y = norm(x, torch.ones(3, 6, dtype=torch.bool))
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(norm.running_phi, before)


@pytest.mark.parametrize("shape", [(1, 1, 8), (0, 3, 8), (4, 0, 8)])
def test_tiny_batches(shape):
    norm = PowerNorm(8, warmup_steps=1)
    for _ in range(3):
        x = torch.randn(shape, requires_grad=True)
        y = norm(x)
        y.sum().backward()
        assert torch.isfinite(y).all()
    assert all(torch.isfinite(buffer).all() for buffer in norm.buffers())


class Block(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.before, self.norm, self.after = nn.Linear(8, 8), norm, nn.Linear(8, 8)

    def forward(self, x):
        return self.after(torch.tanh(self.norm(self.before(x))))


def repeated(function, calls):
    def run(x):
        for _ in range(calls):
            x = function(x)
        return x

    return run


def train_block(kind, wrap, calls=1, **settings):
    torch.manual_seed(0)
    block = Block(kind(8, **settings)).double()
    function = wrap(block, calls)
    grads = []
    for step in range(5):
        torch.manual_seed(step)
        x = torch.randn(5, 3, 8, dtype=torch.float64, requires_grad=True)
        block.zero_grad()
        function(x).square().sum().backward()
        grads.append(torch.cat([x.grad.flatten(), block.before.weight.grad.flatten()]))
    return torch.stack(grads), {k: v.clone() for k, v in block.norm.state_dict().items()}


@pytest.mark.parametrize("kind", [PowerNorm, PowerNormVanilla])
@pytest.mark.parametrize(("reentrant", "calls"), [(False, 1), (True, 1), (False, 2), (False, 3)])
def test_checkpointing_and_sharing_count_once(kind, reentrant, calls):
    settings = {"warmup_steps": 2, "backward_statistic": "paper"} if kind is PowerNorm else {}

    def wrap(block, calls):
        return repeated(lambda x: checkpoint(block, x, use_reentrant=reentrant), calls)

    grads, state = train_block(kind, repeated, calls, **settings)
    again, other = train_block(kind, wrap, calls, **settings)
    assert state["iteration"] == 5
    torch.testing.assert_close(again, grads, rtol=1e-10, atol=1e-12)
    for key, value in state.items():
        torch.testing.assert_close(other[key], value)


def test_a_shared_module_pools_its_calls():
    shared, whole = (PowerNorm(8, warmup_steps=0).double() for _ in range(2))
    for _ in range(4):
        x = torch.randn(6, 4, 8, dtype=torch.float64)
        grad = torch.randn_like(x)
        first, second = x[:, :1].clone().requires_grad_(), x[:, 1:].clone().requires_grad_()
        torch.autograd.backward((shared(first), shared(second)), (grad[:, :1], grad[:, 1:]))
        whole(x.requires_grad_()).backward(grad)
        torch.testing.assert_close(shared.running_phi, whole.running_phi)
        torch.testing.assert_close(shared.ema_gz, whole.ema_gz)
        torch.testing.assert_close(shared.iteration, whole.iteration)


def test_forwards_without_graph_are_steps_and_without_statistics_leave_no_trace():
    norm = PowerNorm(8, warmup_steps=2)
    with torch.no_grad():
        for _ in range(3):
            norm(torch.randn(4, 2, 8))
    assert norm.iteration == 3
    norm = PowerNorm(8, warmup_steps=1)
    norm(torch.randn(4, 2, 8)).sum().backward()
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    norm.update_statistics = False
    norm(torch.randn(4, 2, 8)).sum().backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in norm.named_buffers())


@pytest.mark.full
@pytest.mark.parametrize(
    ("place", "calls"), [("none", 2), ("outside", 1), ("outside", 2), pytest.param("inside", 2, marks=pytest.mark.slow)]
)
def test_compiled_code_counts_once(place, calls):
    def wrap(block, calls):
        if place == "inside":
            return torch.compile(repeated(lambda x: checkpoint(block, x, use_reentrant=False), calls))
        compiled = torch.compile(block, backend=PARTITIONED)
        if place == "none":
            return repeated(compiled, calls)
        return repeated(lambda x: checkpoint(compiled, x, use_reentrant=False), calls)

    settings = {"warmup_steps": 2, "backward_statistic": "paper"}
    grads, state = train_block(PowerNorm, repeated, calls, **settings)
    again, other = train_block(PowerNorm, wrap, calls, **settings)
    torch.testing.assert_close(again, grads, rtol=1e-8, atol=1e-10)
    for key, value in state.items():
        torch.testing.assert_close(other[key], value)


@pytest.mark.full
@pytest.mark.parametrize(("masked", "backend"), [(False, "inductor"), (True, PARTITIONED)])
def test_compiles_whole_without_recompiling(masked, backend):
    torch._dynamo.reset()
    plain, compiled = (PowerNorm(8, warmup_steps=2, groups=2).double() for _ in range(2))
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    function = torch.compile(compiled, fullgraph=True, backend=counter)
    mask = torch.rand(3, 6) < 0.3 if masked else None
    for step in range(5):
        torch.manual_seed(step)
        x = torch.randn(6, 3, 8, dtype=torch.float64, requires_grad=True)
        again = x.detach().clone().requires_grad_()
        y, z = plain(x, mask), function(again, mask)
        y.square().sum().backward()
        z.square().sum().backward()
        torch.testing.assert_close(z, y)
        torch.testing.assert_close(again.grad, x.grad)
    assert counter.frame_count == 1
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[key], value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [PowerNorm, PowerNormVanilla])
def test_extreme_halves_under_autocast(kind, dtype):
    norm = kind(8)
    high = min(torch.finfo(dtype).max, 1e18)  # the square must fit float32
    for scale in (1.0, 0.0, high, 1e-7):
        x = (torch.randn(6, 3, 8).clamp(-1, 1) * scale).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype):
            y = norm(x)
        assert y.dtype == torch.float32
        y.sum().backward()
        assert torch.isfinite(y).all()
        # at 0 the exact gradient is 1/eps = 1e5 and overflows float16
        assert not torch.isnan(x.grad).any()
    assert all(torch.isfinite(buffer).all() for buffer in norm.buffers())
    assert kind(8)(torch.randn(6, 3, 8).to(dtype)).dtype == dtype


def test_infinite_gradients_do_not_stay():
    """A loss scaler sends infinities and drops the step; the averages must survive it."""
    norm, clean = PowerNorm(8, warmup_steps=0), PowerNorm(8, warmup_steps=0)
    for step in range(6):
        torch.manual_seed(step)
        x = torch.randn(6, 3, 8)
        if step == 3:
            norm(x.clone().requires_grad_()).backward(torch.full_like(x, torch.inf))
            assert torch.isfinite(norm.ema_gz).all()
            torch.testing.assert_close(norm.ema_gz, clean.ema_gz)
            continue
        for each in (norm, clean):
            each(x.clone().requires_grad_()).sum().backward()
    norm(torch.full((2, 2, 8), torch.inf)).sum().backward()
    assert torch.isfinite(norm.running_phi).all()


def test_no_transfer_to_the_host():
    """On the meta device nothing can be read: a forward that needs a value on the host would raise."""
    norm = PowerNorm(8, warmup_steps=3).to("meta")
    mask = torch.zeros(3, 6, dtype=torch.bool, device="meta")
    x = torch.randn(6, 3, 8, device="meta", requires_grad=True)
    norm(x, mask).sum().backward()
    assert x.grad.shape == x.shape


def test_diagnostics():
    norm = PowerNorm(8, warmup_steps=2)
    run_steps(norm.double(), 8)
    quantities = norm.diagnostics()
    assert set(quantities) == set(METADATA.diagnostics)
    assert float(quantities["after_warmup_share"]) == 6 / 8
    torch.testing.assert_close(quantities["nu_median"], torch.quantile(0.1 * norm.ema_gz.float().abs(), 0.5))


def test_warmup_as_a_fraction():
    assert PowerNorm(8, warmup_fraction=0.1, total_steps=400).warmup_steps == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_fraction": 0.1}, "total_steps"),
        ({"warmup_fraction": 1.5, "total_steps": 10}, r"\[0, 1\]"),
        ({"recursion": "papre"}, "released, paper"),
        ({"groups": 3}, "groups must divide"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ValueError, match=message):
        PowerNorm(8, **options)


def test_invalid_shapes():
    with pytest.raises(ValueError, match=r"\(T, B, 8\)"):
        PowerNorm(8)(torch.randn(3, 8))
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        PowerNorm(8)(torch.randn(5, 2, 8), torch.zeros(5, 2, dtype=torch.bool))
