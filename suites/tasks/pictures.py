"""Pictures of results: detections beside the truth, rows of nearest neighbours.

Colour is never the only sign: wrong items have a cross in the corner, true ones a dashed frame.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from torch import Tensor

Pixels = npt.NDArray[np.uint8]

SIDE = 128  # smallest side of a picture in pixels
GAP = 4
RIGHT, WRONG, TRUTH, DETECTED, PAPER = (46, 158, 107), (207, 75, 87), (59, 130, 196), (201, 95, 28), (255, 255, 255)


def as_pixels(images: Tensor, mean: Tensor, std: Tensor) -> list[Pixels]:
    """Convert normalised images (N, C, H, W) to (H, W, 3) arrays of the first three channels, or grey."""
    shown = ((images * std + mean).clamp(0, 1) * 255).round().byte().cpu().numpy()
    shown = shown[:, :3] if shown.shape[1] >= 3 else np.repeat(shown[:, :1], 3, axis=1)
    return [np.ascontiguousarray(image.transpose(1, 2, 0)) for image in shown]


def enlarged(image: Pixels, least: int = SIDE) -> tuple[Image.Image, int]:
    """Enlarge an image by a whole factor; return it and the factor."""
    factor = max(1, -(-least // min(image.shape[:2])))
    drawn = Image.fromarray(image)
    return drawn.resize((drawn.width * factor, drawn.height * factor), Image.Resampling.NEAREST), factor


def with_boxes(
    image: Pixels, boxes: npt.NDArray[np.floating], labels: Sequence[str], *, true: bool, least: int = SIDE
) -> Image.Image:
    """Draw labelled boxes (K, 4: left, top, right, bottom) on an image."""
    drawn, factor = enlarged(image, least)
    pencil = ImageDraw.Draw(drawn)
    colour = TRUTH if true else DETECTED
    for box, label in zip(boxes, labels, strict=True):
        left, top, right, bottom = (float(edge) * factor for edge in box)
        corners = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        if true:
            _dashed(pencil, corners, colour)
        else:
            pencil.rectangle(corners, outline=colour, width=2)
        wide = pencil.textlength(label) + 4
        x = max(0.0, min(corners[0], drawn.width - wide))
        y = max(0.0, corners[1] - 12)
        pencil.rectangle((x, y, x + wide, y + 12), fill=colour)
        pencil.text((x + 2, y), label, fill=PAPER)
    return drawn


def _dashed(pencil: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], colour: tuple[int, ...]) -> None:
    left, top, right, bottom = corners
    for x in np.arange(left, right, 8):
        for y in (top, bottom):
            pencil.line((x, y, min(x + 5, right), y), fill=colour, width=2)
    for y in np.arange(top, bottom, 8):
        for x in (left, right):
            pencil.line((x, y, x, min(y + 5, bottom)), fill=colour, width=2)


def framed(image: Pixels, right: bool | None, least: int = 64) -> Image.Image:
    """Frame an image: query (None) grey, right green, wrong red with cross."""
    drawn, _ = enlarged(image, least)
    colour = (120, 120, 120) if right is None else RIGHT if right else WRONG
    edge = Image.new("RGB", (drawn.width + 6, drawn.height + 6), colour)
    edge.paste(drawn, (3, 3))
    if right is False:
        pencil, size = ImageDraw.Draw(edge), 14
        pencil.rectangle((edge.width - size, 0, edge.width, size), fill=colour)
        pencil.line((edge.width - size + 4, 4, edge.width - 4, size - 4), fill=PAPER, width=2)
        pencil.line((edge.width - size + 4, size - 4, edge.width - 4, 4), fill=PAPER, width=2)
    return edge


def save_rows(rows: Sequence[Sequence[Image.Image]], path: Path) -> Path:
    """Save rows of pictures, the first of each set apart, as PNG."""
    widths = [sum(picture.width + GAP for picture in row) + 2 * GAP for row in rows]
    heights = [max(picture.height for picture in row) + GAP for row in rows]
    sheet = Image.new("RGB", (max(widths), sum(heights)), PAPER)
    y = 0
    for row, height in zip(rows, heights, strict=True):
        x = 0
        for place, picture in enumerate(row):
            sheet.paste(picture, (x, y))
            x += picture.width + GAP + (2 * GAP if place == 0 else 0)
        y += height
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    return path
