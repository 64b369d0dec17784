"""The loss of set prediction: queries are matched with objects, one to one."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_convert, generalized_box_iou, generalized_box_iou_loss

from headway.core.errors import UserError
from headway.vision.models.detections import Detections

Match = tuple[Tensor, Tensor]


class DetectionLosses(NamedTuple):
    """The parts of the loss, of the last decoder block.

    Args:
        total: Weighted sum, of all decoder blocks.
        classes: Cross entropy of the classes.
        boxes: L1 distance of matched boxes.
        overlap: One less the generalised IoU of matched boxes.
    """

    total: Tensor
    classes: Tensor
    boxes: Tensor
    overlap: Tensor


class DetectionLoss(nn.Module):
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
        super().__init__()
        weights = (class_weight, box_weight, overlap_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise UserError(f"the weights of the loss {weights} must not be negative or all zero")
        if not 0 < no_object <= 1:
            raise UserError(f"no_object {no_object} is outside (0, 1]")
        self.weights = weights
        self.no_object = no_object

    def forward(
        self, output: Detections, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> DetectionLosses:
        """Returns the loss.

        Shape:
            boxes: per picture (N, 4), centre and size in 0..1. labels: per picture (N,).
        """
        number = max(1, sum(len(one) for one in labels))
        last = self._of_block(output.logits, output.boxes, boxes, labels, number)
        total = self._sum(last)
        for logits, found in output.aux:
            total = total + self._sum(self._of_block(logits, found, boxes, labels, number))
        return DetectionLosses(total, *last)

    def _sum(self, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        classes, boxes, overlap = (
            weight * part for weight, part in zip(self.weights, parts, strict=True)
        )
        return classes + boxes + overlap

    def _of_block(
        self,
        logits: Tensor,
        found: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        number: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Half precision would overflow in areas and logarithms.
        logits, found = logits.float(), found.float()
        matches = self.match(logits, found, boxes, labels)
        queries = torch.cat(
            [i + place * logits.shape[1] for place, (i, _) in enumerate(matches)]
        ).to(logits.device)
        wanted = torch.cat([one[j] for one, (_, j) in zip(boxes, matches, strict=True)])
        meant = torch.cat([one[j] for one, (_, j) in zip(labels, matches, strict=True)])
        classes = logits.shape[-1] - 1
        target = torch.full(logits.shape[:2], classes, device=logits.device).flatten()
        target[queries] = meant
        weight = torch.ones(classes + 1, device=logits.device)
        weight[-1] = self.no_object
        matched = found.flatten(0, 1)[queries]
        wanted = wanted.to(matched)
        overlap = generalized_box_iou_loss(_corners(matched), _corners(wanted), reduction="sum")
        return (
            F.cross_entropy(logits.flatten(0, 1), target, weight),
            F.l1_loss(matched, wanted, reduction="sum") / number,
            overlap / number,
        )

    @torch.no_grad()
    def match(
        self, logits: Tensor, found: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> list[Match]:
        """Returns for each picture the cheapest pairs of queries and objects, as indices."""
        matches: list[Match] = []
        probabilities = logits.softmax(-1)
        for place, (wanted, meant) in enumerate(zip(boxes, labels, strict=True)):
            mine, wanted = found[place], wanted.to(found)
            by_class, by_distance, by_overlap = self.weights
            cost = (
                by_distance * torch.cdist(mine, wanted, p=1)
                - by_class * probabilities[place][:, meant]
                - by_overlap * generalized_box_iou(_corners(mine), _corners(wanted))
            )
            # A prediction that is not finite takes an object only if nothing else is left.
            limit = torch.finfo(cost.dtype).max
            cost = cost.nan_to_num(nan=limit, posinf=limit, neginf=limit).cpu()
            rows, columns = linear_sum_assignment(cost.numpy())
            matches.append((torch.from_numpy(rows).long(), torch.from_numpy(columns).long()))
        return matches


def _corners(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")
