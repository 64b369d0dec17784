"""The loss of a detector that scores each class by itself."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.models.boxes import corners
from headway.vision.tasks.focal_loss import FocalLoss
from headway.vision.tasks.set_loss import Matched


class VarifocalLoss(FocalLoss):
    """The score of a matched class shall be how well the box overlaps; all others shall be 0.

    What is wrongly sure counts more: negatives are weighted by a power of their own score. A class costs in a
    match what it costs with ``FocalLoss``.

    Args:
        class_weight: Weight of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match.
        negative: Weight of negatives.
        power: Of their score.

    Source:
        Zhang et al. 2021 (VarifocalNet), https://arxiv.org/abs/2008.13367, section 3.2; the cost and the
        numbers are those of Zhao et al. 2023 (RT-DETR), https://arxiv.org/abs/2304.08069.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float = 2.0,
        negative: float = 0.75,
        power: float = 2.0,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            box_weight=box_weight,
            overlap_weight=overlap_weight,
            class_cost=class_cost,
        )
        if negative < 0 or power < 0:
            raise UserError(f"negative {negative} and power {power} must not be negative")
        self.negative, self.power = negative, power

    def loss_of_classes(self, logits: Tensor, matched: Matched, number: float) -> Tensor:
        """Returns the varifocal loss for an object."""
        flat = logits.flatten(0, 1)
        wanted = torch.zeros_like(flat)
        real = torch.zeros_like(flat)
        overlap = overlap_of(matched.boxes.detach(), matched.wanted)
        wanted[matched.queries, matched.labels] = overlap
        real[matched.queries, matched.labels] = 1.0
        weight = self.negative * flat.detach().sigmoid() ** self.power * (1 - real) + wanted
        return F.binary_cross_entropy_with_logits(flat, wanted, weight, reduction="sum") / number


def overlap_of(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Returns the intersection over the union of each pair, (M,)."""
    one, other = corners(boxes), corners(wanted)
    least, most = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    common = (most - least).clamp_min(0).prod(dim=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(dim=1) for box in (one, other)]
    return common / (areas[0] + areas[1] - common)
