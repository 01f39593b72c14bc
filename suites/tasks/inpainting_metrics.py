"""Distances between images: PSNR, SSIM, L1, over whole images and holes."""

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 11
# bins of the published irregular masks (Liu et al. 2018), percent of the image
BINS = ((0, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 60))
SCORES = ("hole-psnr", "hole-ssim", "hole-l1", "psnr", "ssim", "l1", "l1-grey")


def eight_bits(images: Tensor) -> Tensor:
    """Quantise images in 0–1 to 8 bits, in double precision."""
    return (images.double().clamp(0, 1) * 255).round() / 255


def psnr(error: Tensor) -> Tensor:
    """Decibels of a mean square error, which is at least 1e-10."""
    return -10 * error.clamp(min=1e-10).log10()


def ssim_map(a: Tensor, b: Tensor, window: int = WINDOW) -> Tensor:
    """Structural similarity (Wang et al. 2004) inside, (B, C, H−w+1, W−w+1), uniform window as released."""
    count = window * window

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, window, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    sample = count / (count - 1)
    variance_a = sample * (mean(a * a) - mean_a * mean_a)
    variance_b = sample * (mean(b * b) - mean_b * mean_b)
    covariance = sample * (mean(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    upper = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return upper / ((mean_a.square() + mean_b.square() + c1) * (variance_a + variance_b + c2))


def item_scores(composite: Tensor, truth: Tensor, hole: Tensor) -> dict[str, Tensor]:
    """Scores (B,) of every image by name, from (B, 3, H, W) in 0–1 and holes (B, 1, H, W).

    ``psnr``, ``ssim``, ``l1`` are of the whole image, ``hole-…`` of the hole alone; ``l1-grey`` is the released code's
    L1: of the images' channel means. NaN if an image has no hole.
    """
    a, b = eight_bits(composite), eight_bits(truth)
    weight = hole.double().clamp(0, 1)
    pixels = 3 * weight.sum((1, 2, 3))
    square, distance = (a - b).square(), (a - b).abs()
    # A hole is scored only at places whose whole window lies in the image.
    window = min(WINDOW, a.shape[2] - 1 + a.shape[2] % 2, a.shape[3] - 1 + a.shape[3] % 2)
    similar = ssim_map(a, b, window)
    edge = window // 2
    inner = weight[:, :, edge : weight.shape[2] - edge, edge : weight.shape[3] - edge]
    return {
        "hole-psnr": psnr((square * weight).sum((1, 2, 3)) / pixels),
        "hole-ssim": (similar * inner).sum((1, 2, 3)) / (similar.shape[1] * inner.sum((1, 2, 3))),
        "hole-l1": (distance * weight).sum((1, 2, 3)) / pixels,
        "psnr": psnr(square.mean((1, 2, 3))),
        "ssim": similar.mean((1, 2, 3)),
        "l1": distance.mean((1, 2, 3)),
        "l1-grey": (a.mean(1) - b.mean(1)).abs().mean((1, 2)),
    }


def summarise(scores: dict[str, Tensor], ratio: Tensor) -> dict[str, float]:
    """Means over images, and hole PSNR and L1 by hole ratio (N,), upper edges included."""
    metrics = {name: float(values.nanmean()) for name, values in scores.items()}
    for low, high in BINS:
        inside = (ratio * 100 > low) & (ratio * 100 <= high)
        if inside.any():
            for name in ("hole-psnr", "hole-l1"):
                metrics[f"{name}_{low}-{high}"] = float(scores[name][inside].nanmean())
    return metrics


def fill_mean(images: Tensor, hole: Tensor) -> Tensor:
    """Fill each image's hole with the mean of its rest, per channel."""
    valid = 1 - hole
    mean = (images * valid).sum((2, 3), keepdim=True) / valid.sum((2, 3), keepdim=True).clamp(min=1)
    return images * valid + mean * hole


def fill_diffusion(images: Tensor, hole: Tensor, sweeps: int = 60) -> Tensor:
    """Fill each hole harmonically: Jacobi sweeps from a coarse solution at half the side."""
    height, width = images.shape[2:]
    valid = 1 - hole
    if min(height, width) < 8 or height % 2 or width % 2:
        filled = fill_mean(images, hole)
    else:
        share = F.avg_pool2d(valid, 2)
        coarse = F.avg_pool2d(images * valid, 2) / share.clamp(min=1e-6)
        solved = fill_diffusion(coarse, (share == 0).to(images.dtype), sweeps)
        up = F.interpolate(solved, scale_factor=2, mode="bilinear", align_corners=False)
        filled = images * valid + up * hole
    for _ in range(sweeps):
        around = F.pad(filled, (1,) * 4, mode="replicate")
        mean = (around[:, :, :-2, 1:-1] + around[:, :, 2:, 1:-1] + around[:, :, 1:-1, :-2] + around[:, :, 1:-1, 2:]) / 4
        filled = torch.where(hole > 0, mean, filled)
    return filled
