"""How well predicted masks overlap with true ones."""

import torch
from torch import Tensor
from torchmetrics import Metric

from headway.core.errors import UserError


class MaskOverlap(Metric):
    """Intersection over union of each class, from the confusion matrix of all pixels seen so far.

    ``compute`` returns ``iou``, (K,), NaN for classes that were neither there nor predicted, ``miou``, their
    mean without those, and ``accuracy``, the share of pixels that are right.

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
        return {"iou": iou.float(), "miou": iou.nanmean().float(), "accuracy": accuracy.float()}
