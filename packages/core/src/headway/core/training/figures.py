"""Figures of matplotlib, which loads where something is drawn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Returns an empty figure of so many inches."""
    # Of its own: pyplot would choose a window system and keep a global list.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
