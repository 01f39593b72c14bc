"""A small vision transformer for 8–64 pixel images, built like DeiT."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest
from harness.trial.options import option
from suites.models.taps import Taps

MOST_TOKENS = 257


class TokenBlock(nn.Module):
    """LN, self-attention, LN, two layers with GELU, each added to its input."""

    def __init__(self, width: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        inner = int(width * ratio)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """The block's output."""
        batch, count, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, count, width)
        tokens = tokens + self.projection(mixed)
        return tokens + self.mlp(self.norm2(tokens))


class SmallViT(nn.Module):
    """Patches, class token, learned positions, blocks, LN, head on the class token.

    Input (B, channels, H, W) with sides that are whole patches, output (B, classes). Positions exist for the
    largest grid and are cut to the images, row by row, so that one table serves unequal sides.
    """

    def __init__(self, channels: int, classes: int, options: SmallViTOptions) -> None:
        super().__init__()
        patch, width, depth = options.patch, options.width, options.depth
        self.patch_embed = nn.Conv2d(channels, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, MOST_TOKENS, width))
        self.blocks = nn.Sequential(*(TokenBlock(width, options.heads, options.ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.taps = Taps(f"blocks.{depth // 2 - 1}", "norm", "head", "token")
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=options.deviation)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=options.deviation)
                nn.init.zeros_(part.bias)

    def features(self, images: Tensor) -> Tensor:
        """The class token after the last norm, (B, width); HarnessError for more patches than positions."""
        patches = self.patch_embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        if tokens.shape[1] > MOST_TOKENS:
            raise HarnessError(f"small-vit: {tokens.shape[1] - 1} patches; at most {MOST_TOKENS - 1}")
        return self.norm(self.blocks(tokens + self.pos_embed[:, : tokens.shape[1]]))[:, 0]

    def forward(self, images: Tensor) -> Tensor:
        """Class logits (B, classes)."""
        return self.head(self.features(images))


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallViTOptions:
    """Options of the model ``small-vit``."""

    patch: int = option(4, "side of a patch, pixels", low=1)
    width: int = option(32, "channels of a token", low=4)
    depth: int = option(4, "blocks", low=2)
    heads: int = option(2, "attention heads", low=1)
    deviation: float = option(0.02, "deviation of the initial weights; larger for narrow networks", low=1e-4, high=1)
    ratio: float = option(2.0, "inner width of the two layers over the width", low=0.5)


def build(request: ModelRequest[SmallViTOptions]) -> SmallViT:
    """Build the network for ``facts``: ``channels`` and ``classes``."""
    options, facts = request.options, request.facts
    width, heads, patch, size = options.width, options.heads, options.patch, int(facts["size"])
    if width % heads:
        raise HarnessError(f"small-vit: width {width} is not a multiple of the {heads} heads")
    if size % patch:
        raise HarnessError(f"small-vit: images of {size} pixels are not whole patches of {patch}")
    return SmallViT(int(facts["channels"]), int(facts["classes"]), options)


METADATA = ModelMetadata(
    name="small-vit",
    target="build",
    summary="small vision transformer with a class token, for 8–64 pixel images",
    source="Touvron et al., Training data-efficient image transformers, ICML 2021, arXiv 2012.12877",
    options=SmallViTOptions,
)
