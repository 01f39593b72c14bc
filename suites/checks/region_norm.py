"""Identities of Region Normalization."""

import torch
from torch import Tensor, nn

from methods.norms.region import RegionNormBasic, RegionNormLearned
from methods.norms.regions import Rules, normalize_regions
from suites.checks.result import Check
from suites.models.inpainting import initialise_as_released

EPS = 1e-5


def _features(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    order = torch.rand(128, generator=generator).argsort().argsort()
    return x, (order < 38).double().reshape(2, 1, 8, 8)


def core_is_per_region_bn(fixed_eps: bool = False) -> Check:
    """The core is batch normalization of each region with eps·N/S_R."""
    x, hole = _features()
    out = normalize_regions(x, hole, Rules(EPS, fixed_eps, per_image=False))
    expected = torch.zeros_like(x)
    for inside in (hole > 0, hole == 0):
        where = inside.expand_as(x)
        for channel in range(3):
            values = x[:, channel][where[:, channel]]
            deviation = (values.var(correction=0) + EPS * 128 / len(values)).sqrt()
            expected[:, channel][where[:, channel]] = (values - values.mean()) / deviation
    error = float((out - expected).abs().max())
    return Check.zero(error, 1e-12, f"30 % hole, largest distance from per-region normalization {error:.1e}")


def uniform_mask_is_bn(hole_share: float = 1.0) -> Check:
    """With a uniform mask the core is BatchNorm without affine map."""
    x, _ = _features()
    reference = nn.functional.batch_norm(x, None, None, training=True, eps=EPS)
    mask = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    mask.view(-1)[: round(hole_share * mask.numel())] = 1
    rules = Rules(EPS, fixed_eps=False, per_image=False)
    errors = [float((normalize_regions(x, m, rules) - reference).abs().max()) for m in (mask, torch.zeros_like(mask))]
    return Check.zero(max(errors), 1e-12, f"all hole {errors[0]:.1e}, no hole {errors[1]:.1e} from BatchNorm")


def rnb_bias_leak(shift: str = "released") -> Check:
    """Released, both shifts are added everywhere: 0; by region: 1."""
    x, hole = _features()
    plain = RegionNormBasic(3, shift=shift).double()
    before = plain(x, hole)
    with torch.no_grad():
        plain.hole_beta.fill_(0.7)
        plain.valid_beta.fill_(0.4)
    moved = (plain(x, hole) - before).detach()
    low, high = float(moved.min()), float(moved.max())
    detail = f"β 0.7 in the hole and 0.4 outside move positions by {low:.2f} to {high:.2f}"
    return Check.exact(float(high - low > 1e-9), 0.0, "boolean", detail)


def batch_dependence(statistics: str = "released") -> Check:
    """In evaluation an image's output depends on its batch (1)."""
    x, hole = _features()
    norm = RegionNormBasic(3, statistics=statistics).double().eval()
    distance = float((norm(x, hole)[:1] - norm(x[:1], hole[:1])).detach().abs().max())
    detail = f"first image alone and beside another: {distance:.2e} apart"
    return Check.exact(float(distance > 1e-9), 1.0, "boolean", detail)


def hard_mask_empty_at_init(threshold: float = 0.8, draws: int = 50) -> Check:
    """Percent of positions of initial RN-L that reach the threshold (released: none)."""
    generator = torch.Generator().manual_seed(0)
    most, lowest, highest = 0.0, 1.0, 0.0
    for _ in range(draws):
        norm = RegionNormLearned(256, threshold=threshold)
        weight = norm.attention.weight
        with torch.no_grad():
            weight.copy_(0.1 * (2 / weight[0].numel()) ** 0.5 * torch.randn(weight.shape, generator=generator))
            x = torch.randn(1, 256, 32, 32, generator=generator)
            summary = torch.cat((x.mean(1, keepdim=True), x.max(1, keepdim=True).values), 1)
            region = torch.sigmoid(norm.attention(summary))
        most = max(most, 100 * float((region >= threshold).float().mean()))
        lowest, highest = min(lowest, float(region.min())), max(highest, float(region.max()))
    detail = f"{draws} draws: the map lies in {lowest:.2f} to {highest:.2f}, threshold {threshold}"
    return Check.exact(most, 0.0, "percent", detail)


def no_gradient_through_mask(affine_path: bool = False) -> Check:
    """Only γ's and β's maps pass gradients to the attention convolution."""
    torch.manual_seed(0)
    norm = RegionNormLearned(3, threshold=0.5).double()
    if not affine_path:
        with torch.no_grad():
            norm.gamma_conv.weight.zero_()
            norm.beta_conv.weight.zero_()
    x, _ = _features()
    (norm(x) * torch.linspace(0, 1, x.numel(), dtype=torch.float64).view_as(x)).sum().backward()
    gradient = norm.attention.weight.grad
    size = 0.0 if gradient is None else float(gradient.abs().max())
    return Check.zero(size, 0.0, f"largest gradient of the attention convolution {size:.1e}")


def empty_region_safe(naive: bool = False) -> Check:
    """An empty region gives no NaN; dividing by its size (``naive``) does."""
    x, _ = _features()
    x.requires_grad_(True)
    count = 0
    for share in (0.0, 1.0):
        hole = torch.full((2, 1, 8, 8), share, dtype=torch.float64)
        if naive:
            size = hole.sum()
            mean = (x * hole).sum((0, 2, 3), keepdim=True) / size
            out = (x - mean) * hole
        else:
            out = normalize_regions(x, hole, Rules(EPS, fixed_eps=False, per_image=False))
        (gradient,) = torch.autograd.grad(out.sum(), x)
        count += int(out.isnan().sum()) + int(gradient.isnan().sum())
    return Check.exact(count, 0.0, "count", f"no hole and all hole: {count} values or gradients are NaN")


def bias_init_std_one(deviation: float = 1.0) -> Check:
    """The released biases have deviation 1; their mean of 1e-4 perhaps was meant."""
    layers = nn.ModuleList(nn.Conv2d(1, 50, 7) for _ in range(400))
    initialise_as_released(layers, lambda name: torch.Generator().manual_seed(int(name)), deviation)
    biases = torch.cat([part.bias.detach() for part in layers.children() if isinstance(part, nn.Conv2d)]).double()
    spread = float(biases.std())
    detail = f"mean {float(biases.mean()):.1e}, deviation {spread:.4f} of {len(biases):,} biases"
    return Check(ours=spread, theirs=1.0, tolerance=0.02, unit="absolute", detail=detail)
