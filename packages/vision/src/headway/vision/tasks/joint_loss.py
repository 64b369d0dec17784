"""The losses of ViDT+: of detections, of how well boxes fit, and of what tokens of maps lie in."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.systems import system
from headway.vision.models.boxes import corners
from headway.vision.models.detections import Labelled
from headway.vision.tasks.focal_loss import BALANCE, SHARPNESS, FocalLoss
from headway.vision.tasks.set_loss import Matched
from headway.vision.tasks.varifocal_loss import overlap_of


@system(
    id=125,
    name="ViDT+",
    paper="https://arxiv.org/abs/2204.07962",
    claim="tokens of the maps are taught the classes of the objects that they lie in, and queries how well "
    "their boxes fit",
    test="packages/vision/tests/models/test_vidt.py",
)
class JointLoss(FocalLoss):
    """``FocalLoss``, and what a detector says besides: the overlap of its boxes, and labels of tokens.

    Where a detector says neither it is ``FocalLoss`` alone. A token shall know which share of it lies in
    boxes of each class.

    Args:
        class_weight: Weight of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match; as in the loss if None.
        fit_weight: Weight of the cross entropy of how well a box fits.
        label_weight: Weight of the focal and of the dice loss of the labels of tokens.

    Raises:
        UserError: If a weight is negative.

    Source:
        Song et al. 2022 (ViDT+), https://arxiv.org/abs/2204.07962, section 4.3, whose tokens lie in masks;
        boxes take their place here.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float | None = None,
        fit_weight: float = 2.0,
        label_weight: float = 2.0,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            box_weight=box_weight,
            overlap_weight=overlap_weight,
            class_cost=class_cost,
        )
        if min(fit_weight, label_weight) < 0:
            raise UserError(
                f"fit_weight {fit_weight} and label_weight {label_weight} must not be negative"
            )
        self.fit_weight, self.label_weight = fit_weight, label_weight

    def loss_of_edges(
        self,
        edges: tuple[Tensor, ...],
        matched: Matched,
        number: float,
        last: tuple[Tensor, ...] | None,
    ) -> Tensor:
        """Returns the cross entropy of how well matched boxes fit; they learn to be as they were called."""
        said = edges[0].float().flatten()[matched.queries]
        fit = overlap_of(matched.boxes, matched.wanted)
        loss = F.binary_cross_entropy_with_logits(said, fit, reduction="sum")
        return self.fit_weight * loss / number

    def loss_of_labels(
        self,
        labelled: Labelled,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        number: float,
    ) -> Tensor:
        """Returns the focal and dice losses of what tokens of each map lie in."""
        total = labelled.logits.new_zeros((), dtype=torch.float32)
        sizes = [rows * columns for rows, columns in labelled.levels]
        for logits, grid in zip(labelled.logits.split(sizes, dim=1), labelled.levels, strict=True):
            logits = logits.float()
            wanted = torch.stack(
                [
                    covered(boxes[row].to(logits), labels[row], grid, logits.shape[-1])
                    for row in labelled.rows
                ]
            )
            score = logits.sigmoid()
            loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            missed = (1 - score * wanted - (1 - score) * (1 - wanted)) ** SHARPNESS
            balance = BALANCE * wanted + (1 - BALANCE) * (1 - wanted)
            focal = (balance * missed * loss).mean(1).sum()
            both = 2 * (score * wanted).flatten(1).sum(1)
            all_of = score.flatten(1).sum(1) + wanted.flatten(1).sum(1)
            total = total + focal + (1 - (both + 1) / (all_of + 1)).sum()
        return self.label_weight * total / number


def covered(boxes: Tensor, labels: Tensor, grid: tuple[int, int], classes: int) -> Tensor:
    """Returns which share of each cell of a grid lies in a box of each class.

    Args:
        boxes: Centre and size in 0..1, (N, 4).
        labels: Their classes, (N,).
        grid: Rows and columns.
        classes: How many there are.

    Shape:
        Output: (rows * columns, classes), the most of a single box where several of a class overlap.
    """
    found = boxes.new_zeros(classes, *grid)
    ends = corners(boxes)
    for box, label in zip(ends, labels.tolist(), strict=True):
        shares = []
        for cells, first, last in ((grid[0], box[1], box[3]), (grid[1], box[0], box[2])):
            start = torch.arange(cells, device=boxes.device, dtype=boxes.dtype)
            inside = torch.minimum(start + 1, last * cells) - torch.maximum(start, first * cells)
            shares.append(inside.clamp(0, 1))
        found[label] = torch.maximum(found[label], shares[0][:, None] * shares[1])
    return found.flatten(1).T
