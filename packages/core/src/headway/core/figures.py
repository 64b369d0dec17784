"""Figures for people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure of matplotlib; width and height in inches."""
    # A figure of its own: pyplot would choose a window system and keep a global list.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
