"""Pictures for people: confusion matrices and predictions on test images."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from headway.core.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# More classes than this make numbers and names unreadable.
READABLE = 20


def confusion_figure(matrix: Tensor, classes: Sequence[str], title: str = "") -> "Figure":
    """Draws how often each class was taken for which, as shares of the true class.

    Shape:
        matrix: (K, K), rows are true classes.
    """
    counts = matrix.double().numpy()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    side = max(4.0, min(0.55 * len(classes) + 2, 16.0))
    figure = _figure(side, side)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if len(classes) <= READABLE:
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column, row, f"{count:.0f}", ha="center", va="center", color=colour, size=7
                )
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)


def prediction_grid(
    images: Sequence[Any],
    predictions: Sequence[str],
    labels: Sequence[str] | None = None,
    relevance: Tensor | None = None,
    *,
    probabilities: Sequence[float] | None = None,
    columns: int = 8,
) -> "Figure":
    """Draws pictures with what was predicted (green if right, red if wrong) and what is true.

    Args:
        images: Pictures (PIL, or arrays of 0..255 or 0..1) with the channels last, or tensors with the
            channels first.
        predictions: What the model said.
        labels: What is true; None if nobody knows.
        relevance: How much each place contributed; drawn as a heat map over a second copy of the
            picture, each scaled to its own maximum.
        probabilities: How sure the model was.
        columns: Pictures in a row.

    Shape:
        relevance: (B, h, w), of any resolution.
    """
    columns = min(columns, len(images))
    per_picture = 1 if relevance is None else 2
    rows = math.ceil(len(images) / columns) * per_picture
    figure = _figure(1.4 * columns, 1.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for i, image in enumerate(images):
        row, column = per_picture * (i // columns), i % columns
        pixels = _pixels(image)
        cmap = "gray" if pixels.ndim == 2 else None
        axes = grid[row, column]
        axes.imshow(pixels, cmap=cmap)
        said = predictions[i] + (f" {probabilities[i]:.0%}" if probabilities is not None else "")
        if labels is None:
            axes.set_title(said, size=8)
        else:
            right = labels[i] == predictions[i]
            text = said if right else f"{said}\nis {labels[i]}"
            axes.set_title(text, size=8, color="tab:green" if right else "tab:red")
        if relevance is not None:
            heat = relevance[i].detach().float().cpu().clamp_min(0).numpy()
            height, width = pixels.shape[:2]
            below = grid[row + 1, column]
            below.imshow(pixels, cmap=cmap)
            below.imshow(
                heat / max(float(heat.max()), 1e-12),
                cmap="inferno",
                alpha=0.6,
                vmin=0,
                vmax=1,
                interpolation="bilinear",
                extent=(-0.5, width - 0.5, height - 0.5, -0.5),
            )
    return figure


def _pixels(image: Any) -> Any:
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = image.movedim(0, -1).numpy() if image.ndim == 3 else image.numpy()
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels if pixels.dtype == np.uint8 else pixels.clip(0, 1)


def _figure(width: float, height: float) -> "Figure":
    # Not pyplot: it keeps figures alive and asks for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
