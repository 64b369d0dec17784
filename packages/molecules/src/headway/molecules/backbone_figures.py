"""Pictures of backbones."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def ramachandran_figure(sets: Mapping[str, Tensor]) -> Any:
    """Returns a figure with a map of phi and psi of each set, side by side.

    Args:
        sets: Angles of residues by what they are, (N, 2 or more) in radians, phi and psi in front.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(sets), 4.2), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False, sharey=True)[0]
    for axis, (name, angles) in zip(axes, sets.items(), strict=True):
        phi, psi = (angles[:, :2].detach().cpu() * 180 / math.pi).T.tolist()
        axis.scatter(phi, psi, s=2, alpha=0.3, linewidths=0)
        axis.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi (degrees)", title=name)
        axis.set(xticks=range(-180, 181, 90), yticks=range(-180, 181, 90), aspect="equal")
    axes[0].set_ylabel("psi (degrees)")
    return figure
