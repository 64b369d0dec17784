"""Pictures for people: predictions on test images, and what they rest on."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def prediction_grid(
    images: Sequence[Any],
    predictions: Sequence[str],
    labels: Sequence[str] | None = None,
    relevance: Tensor | None = None,
    *,
    probabilities: Sequence[float] | None = None,
    columns: int = 8,
    title: str = "",
) -> "Figure":
    """Draws pictures with what was predicted (green if right, red if wrong) and what is true.

    Args:
        images: Pictures (PIL, or arrays of 0..255 or 0..1) with the channels last, or tensors with the
            channels first.
        predictions: What the model said.
        labels: What is true; None if nobody knows.
        relevance: How much each place contributed; drawn as a heat map over a second copy of the
            picture, each scaled from its own least to its largest value.
        probabilities: How sure the model was.
        columns: Pictures in a row.
        title: Of the whole figure.

    Shape:
        relevance: (B, h, w), of any resolution.
    """
    columns = min(columns, len(images))
    per_image = 1 if relevance is None else 2
    rows = math.ceil(len(images) / columns)
    # Pairs of picture and heat map belong together: a row of air stands between them.
    heights = (([1.0] * per_image + [0.12]) * rows)[:-1]
    figure = new_figure(1.25 * columns, 1.3 * sum(heights) + (0.6 if title else 0.2))
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0.02, wspace=0.02)  # pyright: ignore
    if title:
        figure.suptitle(title, size=12, weight="bold")
    grid = figure.subplots(
        len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes in grid.flat:
        axes.axis("off")
    for i, image in enumerate(images):
        row, column = (per_image + 1) * (i // columns), i % columns
        pixels = _pixels(image)
        axes = grid[row, column]
        _show(axes, pixels)
        said = predictions[i] + (f" {probabilities[i]:.0%}" if probabilities is not None else "")
        if labels is None:
            axes.set_title(said, size=8, pad=3)
        elif labels[i] == predictions[i]:
            axes.set_title(said, size=8, pad=3, color="tab:green")
        else:
            text = f"{said} (is {labels[i]})"
            axes.set_title(text, size=8, pad=3, color="tab:red", weight="bold")
        if relevance is not None:
            _show(grid[row + 1, column], pixels)
            _heat(grid[row + 1, column], relevance[i], pixels.shape[:2])
    return figure


def explanation_figure(image: Any, relevance: Tensor, title: str, subtitle: str = "") -> "Figure":
    """Draws one picture and, beside it, the heat map of what its prediction rests on.

    Args:
        image: As in ``prediction_grid``.
        relevance: How much each place contributed.
        title: Such as the prediction.
        subtitle: Above the heat map.

    Shape:
        relevance: (h, w), of any resolution.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    pixels = _pixels(image)
    height, width = pixels.shape[:2]
    figure = new_figure(6.6, min(3 * height / width, 9) + 0.4)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.axis("off")
        _show(axes, pixels)
    left.set_title(title, size=11, weight="bold")
    right.set_title(subtitle, size=11)
    _heat(right, relevance, (height, width))
    heat = ScalarMappable(Normalize(0, 1), "inferno")  # the map itself is partly transparent
    bar = figure.colorbar(heat, ax=right, fraction=0.046, pad=0.03)
    bar.set_ticks([0, 1], labels=[f"{float(end):.2g}" for end in relevance.aminmax()])
    bar.ax.tick_params(labelsize=7)
    return figure


def _show(axes: Any, pixels: Any) -> None:
    axes.imshow(pixels, cmap="gray" if pixels.ndim == 2 else None)


def _heat(axes: Any, relevance: Tensor, size: tuple[int, int]) -> None:
    """Lays a heat map, scaled from its least to its largest value, over a picture of ``size``."""
    heat = relevance.detach().float().cpu().clamp_min(0)
    # Larger than the picture, or the edges of its pixels would show in the heat.
    scale = max(1, math.ceil(128 / max(size)))
    smooth = F.interpolate(
        heat[None, None], [side * scale for side in size], mode="bilinear", align_corners=False
    )[0, 0]
    # From the least to the largest: what all places have alike says nothing about any of them.
    smooth = smooth - smooth.min()
    smooth = smooth / smooth.max().clamp_min(1e-12)
    # Where little is relevant, the picture stays as it is.
    axes.imshow(
        smooth.numpy(),
        cmap="inferno",
        alpha=(0.85 * smooth.sqrt()).numpy(),
        vmin=0,
        vmax=1,
        extent=(-0.5, size[1] - 0.5, size[0] - 0.5, -0.5),
    )


def _pixels(image: Any) -> Any:
    if isinstance(image, Tensor):
        image = image.detach().cpu()
        image = image.movedim(0, -1).numpy() if image.ndim == 3 else image.numpy()
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels if pixels.dtype == np.uint8 else pixels.clip(0, 1)
