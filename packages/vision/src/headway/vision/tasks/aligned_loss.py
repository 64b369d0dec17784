"""The loss of a detector whose scores shall say how well a box fits."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.tasks.focal_loss import FocalLoss
from headway.vision.tasks.set_loss import Matched
from headway.vision.tasks.varifocal_loss import overlap_of

# No matched query is told that it found less than this.
LEAST = 0.01


class AlignedLoss(FocalLoss):
    """The score of a matched class shall be a mean of itself and the overlap of its box; all others 0.

    What is wrongly sure counts more: others are weighted by a power of their own score, which learns, too. A
    class costs in a match what it costs with ``FocalLoss``.

    Args:
        class_weight: Weight of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match.
        own: Share of the score in the geometric mean with the overlap, in 0..1.
        power: Of the score of others.

    Raises:
        UserError: If ``own`` is outside [0, 1] or ``power`` negative.

    Source:
        Cai et al. 2024 (Align-DETR), https://arxiv.org/abs/2304.07527, as Chen et al. 2024 (LW-DETR),
        https://arxiv.org/abs/2406.03459, section 3.2, have it.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float = 2.0,
        own: float = 0.25,
        power: float = 2.0,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            box_weight=box_weight,
            overlap_weight=overlap_weight,
            class_cost=class_cost,
        )
        if not 0 <= own <= 1 or power < 0:
            raise UserError(f"own {own} must lie in [0, 1] and power {power} must not be negative")
        self.own, self.power = own, power

    def loss_of_classes(self, logits: Tensor, matched: Matched, number: float) -> Tensor:
        """Returns the aligned cross entropy for an object."""
        flat = logits.flatten(0, 1)
        place = (matched.queries, matched.labels)
        score = flat.sigmoid()
        overlap = overlap_of(matched.boxes, matched.wanted)
        fit = score[place] ** self.own * overlap ** (1 - self.own)
        fit = fit.clamp_min(LEAST).detach()
        there, absent = torch.zeros_like(flat), score**self.power
        there, absent = there.index_put(place, fit), absent.index_put(place, 1 - fit)
        loss = -there * F.logsigmoid(flat) - absent * F.logsigmoid(-flat)
        return loss.sum() / number
