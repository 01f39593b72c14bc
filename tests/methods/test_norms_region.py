"""Region Normalization and the image norms that it is compared with."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from methods.norms import BatchNormImage, InstanceNormImage, RegionNormBasic, RegionNormLearned
from methods.norms.regions import Rules, blend_regions, normalize_regions

PARAMETERS = ("hole_gamma", "hole_beta", "valid_gamma", "valid_beta")


def data(shape=(2, 3, 8, 8), seed=0):
    torch.manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def holes(shape=(2, 1, 8, 8), share=0.3, seed=0):
    torch.manual_seed(seed + 100)
    return (torch.rand(shape) < share).double()


def filled_core(x, mask, eps=1e-5):
    """The released way: fill the complement with the region's mean, batch-normalise, scale by √f, add."""
    total = 0
    for region in (mask, 1 - mask):
        size = region.sum().clamp(min=1)
        mean = (x * region).sum((0, 2, 3), keepdim=True) / size
        filled = x * region + mean * (1 - region)
        normal = functional.batch_norm(filled, None, None, training=True, eps=eps)
        total = total + normal * (size / region.numel()).sqrt()
    return total


def drawn(norm):
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 5, 6, 9), (4, 1, 7, 3)])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_basic_equals_the_released_way(shape, share):
    x, mask = data(shape), holes((shape[0], 1, *shape[2:]), share)
    norm = drawn(RegionNormBasic(shape[1]).double())
    core = filled_core(x, mask)
    wide = [getattr(norm, name)[None, :, None, None] for name in PARAMETERS]
    hole_gamma, hole_beta, valid_gamma, valid_beta = wide
    expected = (core * mask) * (1 + hole_gamma) + hole_beta + (core * (1 - mask)) * (1 + valid_gamma) + valid_beta
    y, grad = norm(x, mask), torch.randn(shape, dtype=torch.float64)
    ours = torch.autograd.grad(y, [x, *norm.parameters()], grad)
    theirs = torch.autograd.grad(expected, [x, *norm.parameters()], grad)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("shift", ["released", "paper"])
@pytest.mark.parametrize("epsilon", ["released", "paper"])
@pytest.mark.parametrize("statistics", ["released", "paper"])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_basic_gradcheck(shift, epsilon, statistics, share):
    norm = RegionNormBasic(2, shift=shift, epsilon=epsilon, statistics=statistics, eps=1e-2).double()
    x, mask = data((2, 2, 4, 3)), holes((2, 1, 4, 3), share)
    values = [data((2,), seed) for seed in range(4)]

    def call(x, *values):
        return torch.func.functional_call(norm, dict(zip(PARAMETERS, values, strict=True)), (x, mask))

    assert torch.autograd.gradcheck(call, (x, *values))


def test_fixed_epsilon():
    x, mask = data(), holes(share=0.1)
    y = RegionNormBasic(3, epsilon="paper", eps=0.1).double()(x, mask)
    values = x[:, 0][mask[:, 0] > 0]
    expected = (values - values.mean()) / (values.var(correction=0) + 0.1).sqrt()
    torch.testing.assert_close(y[:, 0][mask[:, 0] > 0], expected)


def test_output_depends_on_the_batch_unless_per_image():
    x, mask = data(), holes()
    pooled = RegionNormBasic(3).double().eval()
    assert (pooled(x, mask)[:1] - pooled(x[:1], mask[:1])).abs().max() > 1e-3
    single = RegionNormBasic(3, statistics="paper").double()
    torch.testing.assert_close(single(x, mask)[:1], pooled(x[:1], mask[:1]))
    torch.testing.assert_close(single(x, mask)[1:], pooled(x[1:], mask[1:]))


def test_evaluation_changes_nothing():
    x, mask = data(), holes()
    for norm in (RegionNormBasic(3).double(), RegionNormLearned(3, threshold=0.5).double()):
        train = norm(x, mask)
        torch.testing.assert_close(norm.eval()(x, mask), train, rtol=0, atol=0)
        assert not list(norm.buffers())


def test_masks_are_resized_with_nearest_and_need_not_be_float():
    x = data((2, 3, 5, 4))
    mask = holes((2, 1, 16, 10))
    norm = drawn(RegionNormBasic(3).double())
    expected = norm(x, functional.interpolate(mask, size=(5, 4), mode="nearest"))
    for other in (mask, mask.bool(), mask.long(), mask.float() * 255, mask[:, 0]):
        torch.testing.assert_close(norm(x, other), expected)
    torch.testing.assert_close(norm(x, mask[:1]), norm(x, mask[:1].expand(2, -1, -1, -1)))


@pytest.mark.parametrize("build", [RegionNormBasic, lambda c: RegionNormLearned(c, threshold=0.5)])
def test_far_means_and_constant_regions_keep_precision(build):
    """A mean 10,000 deviations from 0 and a hole of one value: single pass, float32."""
    torch.manual_seed(0)
    mask = holes((4, 1, 16, 16)).float()
    x = torch.randn(4, 3, 16, 16) + 1e4 * mask
    x = torch.where(mask > 0, torch.tensor(1e4), x).requires_grad_()
    norm = RegionNormBasic(3)
    y = norm(x, mask)
    exact = norm.double()(x.detach().double(), mask)
    torch.testing.assert_close(y.double(), exact, rtol=1e-3, atol=1e-3)
    z = build(3)(x, mask)
    z.sum().backward()
    assert torch.isfinite(z).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 4, 4)])
@pytest.mark.parametrize("statistics", ["released", "paper"])
def test_empty_and_full_masks_give_no_nan(share, shape, statistics):
    x = torch.randn(shape, requires_grad=True)
    norm = RegionNormBasic(3, statistics=statistics)
    y = norm(x, torch.full((shape[0], 1, *shape[2:]), share))
    y.square().sum().backward()
    for tensor in (y, x.grad, *(p.grad for p in norm.parameters())):
        assert torch.isfinite(tensor).all()


def released_learned(norm, x):
    """RN-L written out with the released way of normalising."""
    summary = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]), 1)
    region_map = torch.sigmoid(functional.conv2d(summary, norm.attention.weight, padding=3))
    core = filled_core(x, (region_map.detach() >= norm.threshold).to(x.dtype))
    gamma = functional.conv2d(region_map, norm.gamma_conv.weight, norm.gamma_conv.bias, padding=3)
    beta = functional.conv2d(region_map, norm.beta_conv.weight, norm.beta_conv.bias, padding=3)
    return core * (1 + gamma) + beta


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8, 1.1])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (3, 2, 9, 5)])
def test_learned_equals_the_released_way(threshold, shape):
    torch.manual_seed(0)
    norm = RegionNormLearned(shape[1], threshold=threshold).double()
    x, grad = data(shape), torch.randn(shape, dtype=torch.float64)
    y, expected = norm(x), released_learned(norm, x)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-12)
    leaves = [x, *norm.parameters()]
    for a, b in zip(torch.autograd.grad(y, leaves, grad), torch.autograd.grad(expected, leaves, grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_learned_gradcheck():
    torch.manual_seed(0)
    norm = RegionNormLearned(2, threshold=0.5, eps=1e-2).double()
    assert torch.autograd.gradcheck(norm, (data((2, 2, 5, 4)),))


def test_learned_diagnostics():
    norm = RegionNormLearned(3, threshold=0.5)
    norm.record = True
    x = torch.randn(2, 3, 8, 8)
    summary = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True).values), 1)
    region = (torch.sigmoid(norm.attention(summary)) >= 0.5).float()
    norm(x, region)
    result = norm.diagnostics()
    assert result["hole_iou"] == 1
    assert result["valid_iou"] == 0
    torch.testing.assert_close(result["region_share"], region.mean())
    norm(x, 1 - region)
    assert norm.diagnostics()["valid_iou"] == 1


@pytest.mark.parametrize("kind", [RegionNormBasic, RegionNormLearned, BatchNormImage, InstanceNormImage])
def test_mean_shift_and_std_ratio(kind):
    torch.manual_seed(0)
    mask = holes((8, 1, 32, 32)).float()
    x = torch.randn(8, 4, 32, 32)
    norm = kind(4)
    norm(x, mask)
    assert not [name for name in norm.diagnostics() if name in ("mean_shift", "std_ratio")]
    norm.record = True
    norm(torch.where(mask > 0, 3 + 0.5 * x, x), mask)
    result = norm.diagnostics()
    assert abs(float(result["mean_shift"]) - 3) < 0.1
    assert abs(float(result["std_ratio"]) - 0.5) < 0.05
    assert abs(float(result["hole_share"]) - float(mask.mean())) < 1e-6
    norm(torch.where(mask > 0, 3 + 0.5 * x, x), torch.zeros_like(mask))
    assert "mean_shift" not in norm.diagnostics()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("build", [RegionNormBasic, lambda c: RegionNormLearned(c, threshold=0.5), BatchNormImage])
def test_halves_under_autocast(build, dtype):
    torch.manual_seed(0)
    norm, mask = build(4), holes((2, 1, 8, 8)).float()
    base = torch.randn(2, 4, 8, 8)
    for scale in (1.0, 0.0, 3e4):
        x = (base.clamp(-2, 2) * scale).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype):
            y = norm(x, mask)
        assert y.dtype == dtype
        assert torch.isfinite(y).all()
        y.float().sum().backward()
        assert not torch.isnan(x.grad).any()
    if isinstance(norm, RegionNormBasic):
        torch.testing.assert_close(norm(base.to(dtype), mask).float(), norm(base, mask), rtol=2e-2, atol=2e-2)


@pytest.mark.full
@pytest.mark.parametrize("kind", [RegionNormBasic, RegionNormLearned, BatchNormImage])
def test_compiles_whole(kind):
    torch.manual_seed(0)
    norm, mask = kind(4), holes((2, 1, 16, 16)).float()
    backend = "inductor" if kind is RegionNormBasic else "aot_eager_decomp_partition"
    compiled = torch.compile(norm, fullgraph=True, backend=backend)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    grad = torch.randn(2, 4, 8, 8)
    ours = torch.autograd.grad(norm(x, mask), [x, *norm.parameters()], grad)
    theirs = torch.autograd.grad(compiled(x, mask), [x, *norm.parameters()], grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_learned_compiled_agrees_at_the_threshold():
    """The arithmetic mask is ≥, equality included."""
    norm = RegionNormLearned(2, threshold=0.5).double()
    nn.init.zeros_(norm.attention.weight)
    norm.record = True
    norm(data((1, 2, 4, 4)))
    assert norm.diagnostics()["region_share"] == 1


def test_batch_image_equals_torch():
    ours, theirs = BatchNormImage(3).double(), nn.BatchNorm2d(3).double()
    for seed in range(3):
        torch.testing.assert_close(ours(data(seed=seed)), theirs(data(seed=seed)))
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    x = data(seed=5)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    by_batch = BatchNormImage(3, statistics="batch").double()
    by_batch.load_state_dict(ours.state_dict())
    torch.testing.assert_close(by_batch.eval()(x), functional.batch_norm(x, None, None, training=True))
    torch.testing.assert_close(by_batch.state_dict(), ours.state_dict())


@pytest.mark.parametrize("reentrant", [False, True])
def test_batch_image_counts_once_under_checkpointing(reentrant):
    plain, repeated = BatchNormImage(3).double(), BatchNormImage(3).double()
    for seed in range(3):
        x = data(seed=seed)
        (first,) = torch.autograd.grad(plain(x).square().sum(), x)
        y = x.detach().requires_grad_()
        checkpoint(repeated, y, use_reentrant=reentrant).square().sum().backward()
        torch.testing.assert_close(y.grad, first)
    torch.testing.assert_close(repeated.state_dict(), plain.state_dict())


def test_instance_image():
    x = data()
    torch.testing.assert_close(InstanceNormImage(3).double()(x, holes()), functional.instance_norm(x))


def test_errors_say_what_is_valid():
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match="needs the mask"):
        RegionNormBasic(3)(x)
    with pytest.raises(ValueError, match="1 = hole"):
        RegionNormBasic(3)(x, torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        RegionNormLearned(3)(torch.randn(2, 4, 8, 8))
    with pytest.raises(ValueError, match="released, paper"):
        RegionNormBasic(3, shift="both")
    with pytest.raises(ValueError, match="running, batch"):
        BatchNormImage(3, statistics="instance")


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("fixed_eps", [False, True])
def test_blended_regions_of_whole_weights_are_the_hard_ones(per_image, fixed_eps):
    x, mask, rules = data(), holes(), Rules(1e-2, fixed_eps, per_image)
    torch.testing.assert_close(blend_regions(x, mask, rules), normalize_regions(x, mask, rules))


def test_a_soft_mask_learns_from_the_output():
    heard = {}
    for mask in ("hard", "soft"):
        torch.manual_seed(3)
        norm = RegionNormLearned(3, mask=mask).double()
        for convolution in (norm.gamma_conv, norm.beta_conv):
            nn.init.zeros_(convolution.weight)
        (norm(data()) ** 3).sum().backward()
        heard[mask] = norm.attention.weight.grad
    assert float(heard["hard"].abs().max()) == 0
    assert float(heard["soft"].abs().max()) > 0
