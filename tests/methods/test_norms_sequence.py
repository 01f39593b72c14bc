"""The baselines for sequences: masked batch normalization, layer, RMS and group RMS norms."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import methods.norms
from methods.norms import batch_sequence, per_token, power_vanilla, powernorm, region, whole_image
from methods.norms.batch_sequence import BatchNormReleased, BatchNormVanilla
from methods.norms.per_token import GroupRMSNorm, LayerNorm, RMSNorm
from methods.norms.power_vanilla import PowerNormVanilla
from methods.norms.powernorm import PowerNorm
from methods.norms.steps import merge_moments

EVERY = [PowerNorm, PowerNormVanilla, BatchNormReleased, BatchNormVanilla, LayerNorm, RMSNorm, GroupRMSNorm]
RECORDS = [
    *(powernorm.METADATA, power_vanilla.METADATA),
    *(*batch_sequence.METADATA, *per_token.METADATA, *region.METADATA, *whole_image.METADATA),
]


def random_mask(batch, length, seed=0):
    torch.manual_seed(seed)
    mask = torch.rand(batch, length) < 0.4
    mask[0, 0] = False
    return mask


def data(shape=(6, 4, 8), seed=0):
    torch.manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def functional(norm, x, weight, bias, mask):
    return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x, mask))


@pytest.mark.parametrize("kind", [BatchNormReleased, BatchNormVanilla])
@pytest.mark.parametrize("mask", [None, random_mask(3, 4), torch.ones(3, 4, dtype=torch.bool)])
def test_batch_gradcheck(kind, mask):
    norm = kind(6).double()
    x, weight, bias = data((4, 3, 6)), data((6,), 1), data((6,), 2)
    assert torch.autograd.gradcheck(lambda x, w, b: functional(norm, x, w, b, mask), (x, weight, bias))


def test_vanilla_equals_torch_on_the_tokens():
    ours, theirs = BatchNormVanilla(8).double(), nn.BatchNorm1d(8).double()
    for seed in range(4):
        x, mask = data(seed=seed), random_mask(4, 6, seed)
        keep = ~mask.t()
        other = x.detach()[keep].requires_grad_()
        y, z = ours(x, mask), theirs(other)
        grad = torch.randn_like(x) * keep[..., None]
        y.backward(grad)
        z.backward(grad[keep])
        torch.testing.assert_close(y[keep], z)
        torch.testing.assert_close(x.grad[keep], other.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x).flatten(0, 1), theirs(x.flatten(0, 1)))


def test_released_is_rms_fill_and_batch_norm():
    ours, theirs = BatchNormReleased(8).double(), nn.BatchNorm1d(8, momentum=0.05).double()
    for seed in range(3):
        x, mask = data(seed=seed), random_mask(4, 6, seed)
        keep = ~mask.t()
        other = x.detach().requires_grad_()
        scaled = other / (other.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        filled = torch.where(keep[..., None], scaled, scaled[keep].mean(0))
        z = theirs(filled.flatten(0, 1)).reshape(x.shape)
        y = ours(x, mask)
        grad = torch.randn_like(x)
        y.backward(grad)
        z.backward(grad)
        torch.testing.assert_close(y, z)
        torch.testing.assert_close(x.grad, other.grad)
        torch.testing.assert_close(y[~keep], torch.zeros_like(y[~keep]))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_released_without_its_differences_is_vanilla():
    x, mask = data(), random_mask(4, 6)
    vanilla = BatchNormVanilla(8).double()
    plain = BatchNormReleased(8, momentum=0.1, scaling="paper", padding="paper").double()
    torch.testing.assert_close(plain(x, mask), vanilla(x, mask))
    torch.testing.assert_close(plain.state_dict(), vanilla.state_dict())
    for options in ({"scaling": "released", "padding": "paper"}, {"scaling": "paper", "padding": "released"}):
        other = BatchNormReleased(8, momentum=0.1, **options).double()
        assert (other(x, mask) - vanilla(x, mask)).abs().max() > 1e-2


@pytest.mark.parametrize("kind", [BatchNormReleased, BatchNormVanilla])
def test_batch_counts_once(kind):
    plain, repeated, shared = (kind(8).double() for _ in range(3))
    for seed in range(4):
        x = data(seed=seed)
        plain(x).square().sum().backward()
        checkpoint(repeated, x, use_reentrant=False).square().sum().backward()
        (shared(x[:, :1]).square().sum() + shared(x[:, 1:]).square().sum()).backward()
    torch.testing.assert_close(repeated.state_dict(), plain.state_dict())
    torch.testing.assert_close(shared.state_dict(), plain.state_dict())
    assert plain.iteration == 4


@pytest.mark.parametrize("kind", [BatchNormReleased, BatchNormVanilla])
def test_batch_edges(kind):
    norm = kind(8)
    x = torch.randn(5, 3, 8)
    before = {name: value.clone() for name, value in norm.state_dict().items() if name != "iteration"}
    y = norm(x.requires_grad_(), torch.ones(3, 5, dtype=torch.bool))
    y.sum().backward()
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    if kind is BatchNormVanilla:
        for name, value in before.items():
            torch.testing.assert_close(norm.state_dict()[name], value)
    item = norm(torch.randn(1, 1, 8))
    torch.testing.assert_close(item, torch.zeros_like(item))
    assert all(torch.isfinite(buffer).all() for buffer in norm.buffers())


def test_layer_and_rms():
    x, mask = data(), random_mask(4, 6)
    torch.testing.assert_close(LayerNorm(8).double()(x, mask), nn.functional.layer_norm(x, (8,)))
    expected = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(RMSNorm(8).double()(x, mask), expected)
    torch.testing.assert_close(GroupRMSNorm(8).double()(x, mask), expected)


def test_group_rms_is_rms_of_each_group():
    x = data()
    norm = GroupRMSNorm(8, groups=2).double()
    parts = [nn.functional.rms_norm(part, (4,), eps=1e-5) for part in x.chunk(2, -1)]
    torch.testing.assert_close(norm(x), torch.cat(parts, -1))
    nn.init.normal_(norm.weight)
    assert torch.autograd.gradcheck(norm, (x,))


@pytest.mark.parametrize("kind", EVERY)
def test_evaluation_is_token_by_token(kind):
    norm = kind(8).double()
    for seed in range(3):
        norm(data(seed=seed)).sum().backward()
    norm.eval()
    x = data(seed=9)
    torch.testing.assert_close(norm(x)[2:3, 1:2], norm(x[2:3, 1:2]))
    torch.testing.assert_close(norm(x, random_mask(4, 6)), norm(x))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(kind, dtype):
    norm = kind(8)
    exact = norm(torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(1)).to(dtype).float())
    x = torch.randn(6, 3, 8, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype):
        y = kind(8)(x)
    y.float().sum().backward()
    torch.testing.assert_close(y.float(), exact, rtol=2e-2, atol=2e-2)
    assert x.grad.dtype == dtype


@pytest.mark.full
@pytest.mark.parametrize("kind", [BatchNormReleased, BatchNormVanilla, GroupRMSNorm, PowerNormVanilla])
def test_compiles(kind):
    plain, compiled = kind(8), kind(8)
    function = torch.compile(compiled, fullgraph=True, backend="aot_eager_decomp_partition")
    for seed in range(3):
        x, mask = data(seed=seed).float().detach().requires_grad_(), random_mask(4, 6, seed)
        again = x.detach().clone().requires_grad_()
        plain(x, mask).square().sum().backward()
        function(again, mask).square().sum().backward()
        torch.testing.assert_close(again.grad, x.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())


@pytest.mark.parametrize("metadata", RECORDS, ids=lambda metadata: metadata.name)
def test_metadata_describe_the_classes(metadata):
    kind = getattr(methods.norms, metadata.target)
    norm = kind(8, **dict(metadata.defaults))
    assert set(norm.diagnostics()) <= set(metadata.diagnostics)
    assert (metadata.slot, metadata.family) in (("norm", "sequence"), ("norm", "image"))
    for option, values in metadata.options.items():
        for value in values:
            kind(8, **{option: value})
        with pytest.raises(ValueError, match=str(values[0])):
            kind(8, **{option: "unknown"})


def test_statistics_of_one_token_replace_those_of_none():
    none, own = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]])
    assert torch.equal(merge_moments(none, torch.tensor(0), own, torch.tensor(1)), own)
