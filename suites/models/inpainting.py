"""The inpainting generator with a norm by place, and the patch discriminator.

Yu et al., "Region Normalization for Image Inpainting", AAAI 2020; the body is EdgeConnect's (Nazeri et al. 2019).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from harness.errors import HarnessError
from harness.registry.metadata import ModelMetadata
from harness.trial.contracts import ModelRequest, Slot
from harness.trial.options import option

PLACES = ("encoder", "blocks", "decoder")


@dataclass(frozen=True, slots=True)
class ConvolutionShape:
    """Channels of a convolution, its kernel's side, its border; ``shuffle`` doubles the side by PixelShuffle."""

    inputs: int
    width: int
    kernel: int
    stride: int = 1
    padding: int = 0
    reflect: int = 0
    dilation: int = 1
    shuffle: bool = False


class NormalisedConvolution(nn.Module):
    """Convolution, norm with the mask, and optional ReLU."""

    def __init__(self, shape: ConvolutionShape, norm: nn.Module, *, active: bool = True) -> None:
        super().__init__()
        outputs = shape.width * 4 if shape.shuffle else shape.width
        self.conv = nn.Conv2d(shape.inputs, outputs, shape.kernel, shape.stride, shape.padding, shape.dilation)
        self.norm = norm
        self.reflect, self.shuffle, self.active = shape.reflect, shape.shuffle, active

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W) and the image's mask (B, 1, H', W'), 1 = hole."""
        if self.reflect:
            x = F.pad(x, (self.reflect,) * 4, mode="reflect")
        x = self.conv(x)
        if self.shuffle:
            x = F.pixel_shuffle(x, 2)
        x = self.norm(x, mask)
        return F.relu(x) if self.active else x


class DilatedBlock(nn.Module):
    """3×3 with dilation 2, norm, ReLU, 3×3, norm, plus the input."""

    def __init__(self, width: int, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = NormalisedConvolution(ConvolutionShape(width, width, 3, reflect=2, dilation=2), first)
        self.second = NormalisedConvolution(ConvolutionShape(width, width, 3, reflect=1), second, active=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The block's sum."""
        return x + self.second(self.first(x, mask), mask)


class Generator(nn.Module):
    """7×7, two 4×4 of stride 2, residual blocks, two PixelShuffle upsamplings, 7×7, (tanh+1)/2.

    Args:
        norms: norm slots by place (``encoder``, ``blocks``, ``decoder``, else ``all``).
        width: channels of the first convolution; the blocks have four times as many.
        blocks: residual blocks.
        mask_channel: pass the mask as a fourth input channel.
    """

    def __init__(self, norms: dict[str, Slot], width: int, blocks: int, mask_channel: bool) -> None:
        super().__init__()
        encoder, middle, decoder = (norms[place] for place in PLACES)
        wide, widest = 2 * width, 4 * width
        self.mask_channel = mask_channel
        self.encoder = nn.ModuleList(
            NormalisedConvolution(shape, encoder.build(shape.width))
            for shape in (
                ConvolutionShape(3 + mask_channel, width, 7, reflect=3),
                ConvolutionShape(width, wide, 4, stride=2, padding=1),
                ConvolutionShape(wide, widest, 4, stride=2, padding=1),
            )
        )
        self.blocks = nn.ModuleList(
            DilatedBlock(widest, middle.build(widest), middle.build(widest)) for _ in range(blocks)
        )
        self.decoder = nn.ModuleList(
            NormalisedConvolution(shape, decoder.build(shape.width))
            for shape in (
                ConvolutionShape(widest, wide, 3, padding=1, shuffle=True),
                ConvolutionShape(wide, width, 3, padding=1, shuffle=True),
            )
        )
        self.head = nn.Conv2d(width, 3, 7)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """Predict whole images (B, 3, H, W) in 0–1.

        ``images`` have a constant in their holes (``mask`` (B, 1, H, W), 1 = hole); sides are divisible by 4.
        """
        x = torch.cat((images, mask), 1) if self.mask_channel else images
        for part in (*self.encoder, *self.blocks, *self.decoder):
            x = part(x, mask)
        return (torch.tanh(self.head(F.pad(x, (3,) * 4, mode="reflect"))) + 1) / 2

    def norms_at(self, place: str) -> list[nn.Module]:
        """The norm layers of a place, in order."""
        if place == "blocks":
            return [layer.norm for block in self.blocks for layer in (block.first, block.second)]
        return [layer.norm for layer in (self.encoder if place == "encoder" else self.decoder)]


class PatchDiscriminator(nn.Module):
    """Five spectrally normalised 4×4 convolutions: logits of 70×70 patches (Isola et al. 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths, strides = (3, width, 2 * width, 4 * width, 8 * width, 1), (2, 2, 2, 1, 1)
        self.layers = nn.ModuleList(
            parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, 1, bias=False))
            for inputs, outputs, stride in zip(widths[:-1], widths[1:], strides, strict=True)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1, h, w) for real patches of (B, 3, H, W)."""
        x = images
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        return self.layers[-1](x)


class InpaintingNetworks(nn.Module):
    """The generator and the optional discriminator."""

    def __init__(self, generator: Generator, discriminator: PatchDiscriminator | None) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        """The generator's prediction."""
        return self.generator(images, mask)


@torch.no_grad()
def initialise_as_released(
    model: nn.Module, generator_of: Callable[[str], torch.Generator], bias_deviation: float = 1.0
) -> None:
    """Set the released code's initial weights, except in spectral normalization.

    Kaiming by fan-in times 0.1; biases of mean 1e-4 and deviation 1, since the released call sets the mean alone.
    ``generator_of`` gives each layer's generator, so that draws of layers are independent.
    """
    for name, part in model.named_modules():
        if not isinstance(part, nn.Conv2d) or parametrize.is_parametrized(part):
            continue
        generator = generator_of(name)
        spread = 0.1 * (2 / part.weight[0].numel()) ** 0.5
        part.weight.copy_(spread * torch.randn(part.weight.shape, generator=generator))
        if part.bias is not None:
            part.bias.copy_(1e-4 + bias_deviation * torch.randn(part.bias.shape, generator=generator))


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """Options of the model ``rn-inpainting``."""

    width: int = option(64, "channels of the first convolution", low=1)
    blocks: int = option(8, "dilated residual blocks", low=0)
    mask_channel: bool = option(False, "pass the mask as a fourth input channel")
    discriminator_width: int = option(64, "channels of the discriminator's first layer; 0: none", low=0)


def build(request: ModelRequest[GeneratorOptions]) -> InpaintingNetworks:
    """Build both networks."""
    options, norms = request.options, {}
    for place in PLACES:
        slot = request.norms.get(place) or request.norms.get("all")
        if slot is None:
            raise HarnessError(f"rn-inpainting: the norm of '{place}' is missing; places: {', '.join(PLACES)}")
        norms[place] = slot
    size = int(request.facts.get("size", 4))
    if size % 4:
        raise HarnessError(f"rn-inpainting: images of {size} pixels; the side must be divisible by 4")
    generator = Generator(norms, options.width, options.blocks, options.mask_channel)
    width = options.discriminator_width
    return InpaintingNetworks(generator, PatchDiscriminator(width) if width else None)


METADATA = ModelMetadata(
    name="rn-inpainting",
    target="build",
    summary="inpainting generator with norms by place (encoder, blocks, decoder) and a patch discriminator",
    source="Yu et al., Region Normalization for Image Inpainting, AAAI 2020, arXiv 1911.10375",
    options=GeneratorOptions,
    slots=("norm",),
)
