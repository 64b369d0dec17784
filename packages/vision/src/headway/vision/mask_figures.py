"""Pictures of what a data set with masks holds."""

from typing import TYPE_CHECKING

import numpy as np

from headway.core.figures import new_figure
from headway.vision.data.mask_checking import MaskReport
from headway.vision.data.reading import read_image
from headway.vision.data.sources import read_file
from headway.vision.mask_drawing import draw_mask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 4


def masks_figure(report: MaskReport) -> "Figure":
    """Draws the share of each class in each split, and some training pictures with their masks.

    Args:
        report: Of ``check_masks``.
    """
    classes = report.classes
    figure = new_figure(11, max(5.5, 3.5 + 0.22 * len(classes)))
    grid = figure.add_gridspec(2, SHOWN, height_ratios=(max(3, 0.2 * len(classes)), 3))
    bars = figure.add_subplot(grid[0, :])
    bars.spines[["top", "right"]].set_visible(False)
    width, places = 0.8 / max(1, len(report.pixels)), np.arange(len(classes))
    for split, (name, shade) in enumerate(zip(report.pixels, (1.0, 0.6, 0.3), strict=False)):
        pixels = report.pixels[name][:-1]
        shares = 100 * pixels / max(1, pixels.sum())
        bars.barh(places + split * width, shares, width, color="tab:blue", alpha=shade, label=name)
    bars.set_yticks(places + 0.4 - width / 2, classes.names, fontsize=8)
    bars.invert_yaxis()
    bars.set(xscale="log", xlabel="pixels that count (%)")
    bars.xaxis.set_major_formatter("{x:g}")
    bars.legend(frameon=False, fontsize=8)
    # Evenly spread: neighbours in a folder are often frames of one film.
    found = report.pictures["train"]
    for place, pick in enumerate(
        np.linspace(0, len(found) - 1, min(SHOWN, len(found))).astype(int)
    ):
        one = found[pick]
        axes = figure.add_subplot(grid[1, place])
        axes.axis("off")
        image = read_image(read_file(one.picture), str(one.picture))
        axes.imshow(np.asarray(draw_mask(image, report.reader.read(one.mask), classes)))
        axes.set_title(one.picture.name, size=8)
    return figure
