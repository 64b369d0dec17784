"""How well predicted masks overlap with true ones, in all and of each class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric

from headway.core.errors import UserError
from headway.core.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS: tuple[str, ...] = ("class", "pixels", "iou", "precision", "recall", "taken_for")


class MaskOverlap(Metric):
    """Intersection over union of each class, from the confusion matrix of all pixels seen so far.

    ``compute`` returns ``iou``, (K,), NaN for classes that were neither there nor predicted, ``miou``, their
    mean without those, ``accuracy``, the share of pixels that are right, and ``matrix``, (K, K), pixels by
    their true and their found class.

    Args:
        num_classes: Classes.
        ignore: Label of pixels that do not count.

    Raises:
        UserError: If there is no class, or a label is neither a class nor ``ignore``.
    """

    full_state_update = False
    matrix: Tensor

    def __init__(self, *, num_classes: int, ignore: int = 255) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes, self.ignore = num_classes, ignore
        empty = torch.zeros(num_classes, num_classes, dtype=torch.long)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, labels: Tensor) -> None:
        """Counts pixels.

        Shape:
            predicted, labels: the same, ids of classes.
        """
        counted = labels != self.ignore
        true, found = labels[counted].long(), predicted[counted].long()
        for name, ids in (("labels", true), ("predicted", found)):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.num_classes:
                raise UserError(
                    f"{name} go from {int(ids.min())} to {int(ids.max())}; classes go from 0 to "
                    f"{self.num_classes - 1}, and {self.ignore} is ignored"
                )
        pairs = true * self.num_classes + found
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.matrix += counts.view_as(self.matrix)

    def compute(self) -> dict[str, Tensor]:
        """Returns the scores."""
        counts = self.matrix.double()
        both = counts.diag()
        iou = both / (counts.sum(0) + counts.sum(1) - both)
        accuracy = both.sum() / counts.sum()
        scores = {"iou": iou, "miou": iou.nanmean(), "accuracy": accuracy}
        return {
            **{name: one.float() for name, one in scores.items()},
            "matrix": self.matrix.clone(),
        }


def class_overlaps(matrix: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns one row of scores per class; those of a class without pixels are None.

    ``taken_for`` is the class that most of its missed pixels were given.

    Args:
        matrix: What ``MaskOverlap`` computed: pixels by their true and their found class.
        classes: Names of the classes.
    """
    counts, rows = matrix.double().cpu(), []
    for place, name in enumerate(classes):
        both, true, found = counts[place, place], counts[place].sum(), counts[:, place].sum()
        scores = [(both / (true + found - both)), both / found, both / true]
        missed = counts[place].clone()
        missed[place] = 0
        other = classes[int(missed.argmax())] if missed.sum() else None
        # NaN stands where there are no pixels to divide by.
        numbers = [None if one.isnan() else round(float(one), 6) for one in scores]
        rows.append(dict(zip(COLUMNS, (name, int(true), *numbers, other), strict=True)))
    return rows


def overlap_figure(rows: Sequence[dict[str, Any]], title: str = "") -> "Figure":
    """Draws IoU, precision and recall of the pixels of each class."""
    shown = [row for row in rows if row["iou"] is not None]
    total = max(1, sum(row["pixels"] for row in rows))
    figure = new_figure(7, 1.2 + 0.35 * len(shown))
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    names = [f"{row['class']} ({row['pixels'] / total:.1%})" for row in shown]
    ious = [row["iou"] for row in shown]
    axes.barh(names, ious, color="tab:blue", label="IoU")
    for column, mark in (("precision", "|"), ("recall", "x")):
        values = [float("nan") if row[column] is None else row[column] for row in shown]
        axes.scatter(values, range(len(shown)), marker=mark, color="black", zorder=3, label=column)
    for place, iou in enumerate(ious):
        axes.text(1.04, place, f"{iou:.3f}", va="center", size=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12), xlabel="of its pixels (share of all in brackets)", title=title)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure
