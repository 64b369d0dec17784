"""The focal loss of a detector that scores each class by itself."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.vision.tasks.set_loss import Matched, SetLoss

# Weight of an object's class among the others, and the power by which what is easy counts less.
BALANCE, SHARPNESS = 0.25, 2.0


class FocalLoss(SetLoss):
    """The class of a matched query shall be 1 and all others 0; what is nearly right hardly counts.

    Args:
        class_weight: Weight of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match; as in the loss if None.

    Source:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 3; the cost and the weights are those of
        Zhu et al. 2021 (Deformable DETR), https://arxiv.org/abs/2010.04159.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float | None = None,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            box_weight=box_weight,
            overlap_weight=overlap_weight,
            class_cost=class_cost,
        )

    def cost_of_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the focal loss of the class as that of the object, less that as one of no object."""
        score = logits.sigmoid()[:, labels]
        there = BALANCE * (1 - score) ** SHARPNESS * -(score + 1e-8).log()
        absent = (1 - BALANCE) * score**SHARPNESS * -(1 - score + 1e-8).log()
        return there - absent

    def loss_of_classes(self, logits: Tensor, matched: Matched, number: float) -> Tensor:
        """Returns the focal loss for an object."""
        flat = logits.flatten(0, 1)
        wanted = torch.zeros_like(flat)
        wanted[matched.queries, matched.labels] = 1.0
        loss = F.binary_cross_entropy_with_logits(flat, wanted, reduction="none")
        score = flat.sigmoid()
        missed = (wanted - score).abs() ** SHARPNESS
        balance = torch.where(wanted > 0, BALANCE, 1 - BALANCE)
        return (balance * missed * loss).sum() / number
