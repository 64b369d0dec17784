"""Pictures of what a data set with boxes holds."""

from typing import TYPE_CHECKING

import numpy as np

from headway.core.figures import new_figure
from headway.vision.data.checking import LARGE, SMALL, Report, sizes_by_class
from headway.vision.drawing import colour_of, draw_boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 4


def data_figure(report: Report) -> "Figure":
    """Draws boxes per class and split, their sizes, and some training pictures with their boxes.

    Args:
        report: Of ``check_data``.
    """
    train, classes = report.parts["train"], report.classes
    figure = new_figure(11, 6.5)
    grid = figure.add_gridspec(2, SHOWN, height_ratios=(4, 3))
    counts, sizes = (figure.add_subplot(grid[0, place]) for place in (slice(0, 2), slice(2, 4)))
    for axes in (counts, sizes):
        axes.spines[["top", "right"]].set_visible(False)
    rows, start = report.per_class(), np.zeros(len(classes))
    for split, shade in zip(report.parts, (1.0, 0.6, 0.3), strict=False):
        numbers = np.array([row[split] for row in rows])
        counts.barh(classes, numbers, left=start, color="tab:blue", alpha=shade, label=split)
        start += numbers
    counts.invert_yaxis()
    counts.set_xlabel("boxes")
    counts.legend(frameon=False, fontsize=8)
    for label, of_class in enumerate(sizes_by_class(train)):
        colour = tuple(part / 255 for part in colour_of(label, len(classes)))
        sizes.scatter(*of_class.T.numpy(), s=8, color=colour, alpha=0.5, label=classes[label])
    side = np.geomspace(1, 4096, 100)
    for area in (SMALL, LARGE):
        sizes.plot(side, area / side, color="grey", linewidth=0.8, linestyle=":")
    all_sizes = np.concatenate([one.flatten().numpy() for one in sizes_by_class(train)])
    ends = (0.8 * all_sizes.min(), 1.2 * all_sizes.max())
    sizes.set_title("boxes of train; dotted: COCO's small, medium, large", size=9)
    sizes.set(
        xscale="log", yscale="log", xlabel="width (pixels)", ylabel="height (pixels)",
        xlim=ends, ylim=ends,
    )  # fmt: skip
    if len(classes) <= 12:
        sizes.legend(frameon=False, fontsize=8)
    # Those with most boxes say most about whether these lie on their objects.
    chosen = sorted(train.pictures, key=lambda picture: -len(picture.boxes))[:SHOWN]
    for place, picture in enumerate(chosen):
        axes = figure.add_subplot(grid[1, place])
        axes.axis("off")
        found = {"labels": picture.labels, "boxes": picture.boxes}
        axes.imshow(np.asarray(draw_boxes(picture.read(), found, classes)))
        axes.set_title(picture.path.name, size=8)
    return figure
