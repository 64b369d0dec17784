"""Boxes drawn on pictures."""

import colorsys
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def draw_boxes(
    image: Image.Image,
    found: Mapping[str, Tensor],
    classes: Sequence[str],
    *,
    threshold: float = 0.0,
) -> Image.Image:
    """Returns a copy of a picture with the boxes, classes and scores of what was found, or is true.

    Args:
        image: The picture.
        found: ``labels`` and ``boxes`` (left, top, right, bottom in its pixels); ``scores`` where a model
            found them, ``tracks`` where they have numbers.
        classes: Names of the classes.
        threshold: Least score of what is drawn.
    """
    drawn = image.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    side = max(drawn.size)
    letters = max(10, side // 50)
    font = ImageFont.load_default(letters)
    line = max(1, side // 320)
    # The surest last, so that nothing covers them.
    scores = found.get("scores")
    for place in range(len(found["boxes"])) if scores is None else scores.argsort().tolist():
        label = int(found["labels"][place])
        text = name_of(label, classes)
        if "tracks" in found:
            text += f" #{int(found['tracks'][place])}"
        if scores is not None:
            if scores[place] < threshold:
                continue
            text += f" {scores[place].item():.2f}"
        left, top, right, bottom = found["boxes"][place].tolist()
        colour = colour_of(label, len(classes))
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        above = max(0.0, top - letters - 2)
        draw.rectangle(draw.textbbox((left + 1, above), text, font=font), fill=colour)
        draw.text((left + 1, above), text, fill="white", font=font)
    return drawn


def sheet(images: Sequence[Image.Image], columns: int = 2, width: int = 640) -> Image.Image:
    """Returns pictures side by side in rows, each as wide as the others."""
    scaled = [image.resize((width, round(image.height * width / image.width))) for image in images]
    columns = min(columns, len(scaled))
    height = max(image.height for image in scaled)
    rows = -(-len(scaled) // columns)
    ground = Image.new("RGB", (columns * width, rows * height), "white")
    for place, image in enumerate(scaled):
        ground.paste(image, (place % columns * width, place // columns * height))
    return ground


def colour_of(label: int, classes: int) -> tuple[int, int, int]:
    """Returns a colour of its own for each class, dark enough for white letters."""
    red, green, blue = colorsys.hsv_to_rgb(label / max(classes, 1), 0.85, 0.8)
    return round(255 * red), round(255 * green), round(255 * blue)


def name_of(label: int, classes: Sequence[str]) -> str:
    """Returns the name of a class, or its number where it has none."""
    return classes[label] if label < len(classes) else str(label)
