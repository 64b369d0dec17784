"""The picture of a confusion matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

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
    # A figure of its own: pyplot would choose a window system and keep a global list.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side, side), layout="constrained")
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
