"""Pictures of fields: what is true, what a model says, and where they differ."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5  # moments of a film that are shown
FIELDS = 2  # fields of a frame that are shown


def film_figure(truth: Any, found: Any) -> "Figure":
    """Draws moments of a film: truth, forecast and difference below each other, for each field.

    Shape:
        truth, found: (T, C, H, W).
    """
    moments = np.unique(np.linspace(0, len(truth) - 1, COLUMNS).round().astype(int))
    shown = min(truth.shape[1], FIELDS)
    figure = new_figure(1.9 * len(moments) + 1.2, 5.1 * shown)
    grid = figure.subplots(3 * shown, len(moments), squeeze=False)
    for field in range(shown):
        most = float(np.abs(truth[:, field]).max())
        least = -most if truth[:, field].min() < -0.05 * most else 0.0
        for column, moment in enumerate(moments):
            rows = (truth[moment, field], found[moment, field])
            pictures = [*rows, rows[1] - rows[0]]
            limits = [(least, most), (least, most), (-most, most)]
            for place, (name, picture) in enumerate(
                zip(("truth", "forecast", "difference"), pictures, strict=True)
            ):
                axes = grid[3 * field + place, column]
                low, high = limits[place]
                colors = "RdBu_r" if low < 0 else "viridis"
                image = axes.imshow(picture, vmin=low, vmax=high, cmap=colors, origin="lower")
                axes.set_xticks([])
                axes.set_yticks([])
                if column == 0:
                    axes.set_ylabel(f"{name}, field {field + 1}" if shown > 1 else name, size=8)
                if not field and not place:
                    axes.set_title(f"step {moment + 1}", size=9)
                if column == len(moments) - 1:
                    figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=6)
    return figure


def rollout_figure(curves: Mapping[str, Sequence[float]]) -> "Figure":
    """Draws errors over the steps of a rollout.

    Args:
        curves: Name -> error of each step.
    """
    figure = new_figure(5, 3.4)
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
    axes.set(xlabel="steps ahead", ylabel="relative L2 error", ylim=(0, None))
    axes.legend(fontsize=8)
    return figure


def points_figure(items: Sequence[tuple[Any, Any, Any]]) -> "Figure":
    """Draws solutions at scattered points of the plane: truth, answer and difference, one item a row.

    Args:
        items: Triples (points (N, 2), truth (N,), answer (N,)).
    """
    figure = new_figure(9, 2.8 * len(items))
    grid = figure.subplots(len(items), 3, squeeze=False)
    for row, (points, truth, found) in enumerate(items):
        least, most = float(truth.min()), float(truth.max())
        wide = float(np.abs(found - truth).max())
        parts = (("truth", truth, least, most), ("answer", found, least, most))
        for column, (name, values, low, high) in enumerate(
            (*parts, ("difference", found - truth, -wide, wide))
        ):
            axes = grid[row, column]
            colors = "RdBu_r" if name == "difference" else "viridis"
            dots = axes.scatter(
                points[:, 1], points[:, 0], c=values, s=9, vmin=low, vmax=high, cmap=colors
            )
            axes.set_aspect("equal")
            axes.set_xticks([])
            axes.set_yticks([])
            if not row:
                axes.set_title(name, size=9)
            figure.colorbar(dots, ax=axes, shrink=0.8).ax.tick_params(labelsize=6)
    return figure
