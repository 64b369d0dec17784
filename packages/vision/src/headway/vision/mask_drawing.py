"""Masks laid over pictures, with a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from headway.vision.data.mask_classes import MaskClasses

LEAST_WIDTH = 320
"""Pixels that a drawn picture is wide at least: names must be legible."""


def draw_mask(
    image: Image.Image,
    labels: np.ndarray,
    classes: MaskClasses,
    *,
    opacity: float = 0.55,
    legend: bool = True,
    title: str = "",
) -> Image.Image:
    """Returns a picture with the colours of its classes over it, and below it their names and shares.

    Args:
        image: The picture.
        labels: The class of each pixel by its place, (H, W); -1 leaves it as it is.
        classes: Names and colours.
        opacity: Of the colours, in 0..1.
        legend: Whether names stand below.
        title: Stands in front of the names.
    """
    pixels = np.asarray(image.convert("RGB"), np.float32)
    colours = np.array([*classes.colours, (0, 0, 0)], np.float32)[labels]
    cover = np.where(labels >= 0, opacity, 0.0)[..., None]
    mixed = pixels * (1 - cover) + colours * cover
    mixed[_edges(labels)] *= 0.4
    drawn = Image.fromarray(mixed.astype(np.uint8))
    if drawn.width < LEAST_WIDTH:
        height = round(drawn.height * LEAST_WIDTH / drawn.width)
        drawn = drawn.resize((LEAST_WIDTH, height), Image.Resampling.BICUBIC)
    if not legend:
        return drawn
    counts = np.bincount(labels[labels >= 0].ravel(), minlength=len(classes))
    order = [int(place) for place in np.argsort(-counts, kind="stable") if counts[place]]
    shares = counts / max(1, labels.size)
    entries = [(classes.colours[k], f"{classes.names[k]} {share_of(shares[k])}") for k in order]
    strip = _legend(entries, drawn.width, title)
    ground = Image.new("RGB", (drawn.width, drawn.height + strip.height), "white")
    ground.paste(drawn, (0, 0))
    ground.paste(strip, (0, drawn.height))
    return ground


def share_of(share: float) -> str:
    """Returns a share as percent, for people."""
    return "<1%" if share < 0.01 else f"{share:.0%}"


def _edges(labels: np.ndarray) -> np.ndarray:
    """Returns which pixels have a neighbour, right or below, of another class."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _legend(
    entries: Sequence[tuple[tuple[int, int, int], str]], width: int, title: str
) -> Image.Image:
    letters = max(12, width // 60)
    font = ImageFont.load_default(letters)
    gap, line = letters // 2, round(1.6 * letters)
    places: list[tuple[int, int]] = []
    left = gap + (round(font.getlength(title)) + gap if title else 0)
    top = gap // 2
    for _, text in entries:
        needed = letters + gap + round(font.getlength(text)) + 2 * gap
        if left + needed > width and left > gap:
            left, top = gap, top + line
        places.append((left, top))
        left += needed
    strip = Image.new("RGB", (width, top + line), "white")
    draw = ImageDraw.Draw(strip)
    draw.text((gap, gap // 2), title, fill="black", font=font)
    for (left, top), (colour, text) in zip(places, entries, strict=True):
        box = (left, top + 2, left + letters, top + 2 + letters)
        draw.rectangle(box, fill=colour, outline="black")
        draw.text((left + letters + gap // 2, top), text, fill="black", font=font)
    return strip
