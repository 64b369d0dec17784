"""The loss of a detector that names one class of a query, or that there is no object."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.tasks.set_loss import Matched, SetLoss


class DetectionLoss(SetLoss):
    """Cross entropy, L1 distance and generalised IoU of the cheapest matching, for every decoder block.

    Args:
        class_weight: Weight of the cross entropy, and of the probability in the cost of a match.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        no_object: Weight of the class for no object among the others.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, section 3.1 and appendix A.2.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        no_object: float = 0.1,
    ) -> None:
        super().__init__(
            class_weight=class_weight, box_weight=box_weight, overlap_weight=overlap_weight
        )
        if not 0 < no_object <= 1:
            raise UserError(f"no_object {no_object} is outside (0, 1]")
        self.no_object = no_object

    def cost_of_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns the probability that is lacking."""
        return -logits.softmax(-1)[:, labels]

    def loss_of_classes(self, logits: Tensor, matched: Matched, number: float) -> Tensor:
        """Returns the cross entropy; queries without an object shall say so."""
        return entropy_of_queries(logits, matched.queries, matched.labels, self.no_object)


def entropy_of_queries(logits: Tensor, queries: Tensor, labels: Tensor, no_object: float) -> Tensor:
    """Returns the cross entropy of all queries; the last class stands for no object.

    Args:
        logits: (B, Q, K + 1).
        queries: Numbers of those with an object among all queries of the batch, (M,).
        labels: Classes of the objects, (M,).
        no_object: Weight of the class for no object among the others.
    """
    classes = logits.shape[-1] - 1
    target = torch.full(logits.shape[:2], classes, device=logits.device).flatten()
    target[queries] = labels
    weight = torch.ones(classes + 1, device=logits.device)
    weight[-1] = no_object
    return F.cross_entropy(logits.flatten(0, 1), target, weight)
