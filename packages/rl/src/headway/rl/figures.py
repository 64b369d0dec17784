"""Pictures of what a policy does."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def return_figure(
    totals: Mapping[float, Sequence[float]], *, seen: Mapping[str, float] | None = None
) -> "Figure":
    """Draws the return that came about over the return that was asked for.

    Args:
        totals: Returns of the episodes by target.
        seen: ``least``, ``median`` and ``most`` of the returns in the training data.
    """
    figure = new_figure(5.5, 4.5)
    axes = figure.add_subplot()
    targets = sorted(totals)
    means = [float(np.mean(totals[target])) for target in targets]
    span = (max(targets) - min(targets)) or 1.0
    random = np.random.default_rng(0)
    for target in targets:
        places = target + 0.02 * span * random.standard_normal(len(totals[target]))
        axes.scatter(places, totals[target], s=9, alpha=0.35, color="tab:blue")
    axes.plot(targets, means, marker="o", color="tab:blue", label="mean of the episodes")
    ends = [min(targets), max(targets)]
    axes.plot(ends, ends, linestyle="--", color="grey", label="as asked")
    for value in set((seen or {}).values()):
        names = " and ".join(name for name, other in (seen or {}).items() if other == value)
        axes.axhline(value, linewidth=0.8, linestyle=":", color="tab:orange")
        axes.annotate(f"{names} of the data", (sum(ends) / 2, value), fontsize=7, ha="center")
    axes.set(xlabel="return asked for", ylabel="return")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
