"""What losses of set prediction share: objects are matched with queries, one to one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou, generalized_box_iou_loss

from headway.core.errors import UserError
from headway.vision.models.boxes import corners
from headway.vision.models.detections import Detections, Labelled, SigmoidDetections

Match = tuple[Tensor, Tensor]


class DetectionLosses(NamedTuple):
    """The parts of the loss, of the last decoder block.

    Args:
        total: Weighted sum, of all decoder blocks.
        classes: Loss of the classes.
        boxes: L1 distance of matched boxes.
        overlap: One less the generalised IoU of matched boxes.
    """

    total: Tensor
    classes: Tensor
    boxes: Tensor
    overlap: Tensor


class Matched(NamedTuple):
    """Queries and the objects that they shall find, of all pictures one after the other.

    Args:
        queries: Their numbers among all queries of the batch, (M,).
        labels: Classes of the objects, (M,).
        boxes: What the queries found, (M, 4).
        wanted: What they should have found, (M, 4).
    """

    queries: Tensor
    labels: Tensor
    boxes: Tensor
    wanted: Tensor


class SetLoss(nn.Module, ABC):
    """Loss of the classes, L1 distance and generalised IoU of the cheapest matching, for every decoder block.

    Subclasses say what a class costs and what its loss is.

    Args:
        class_weight: Weight of the loss of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match; as in the loss if None.

    Raises:
        UserError: If a weight is negative, or all are zero.

    Source:
        Carion et al. 2020 (DETR), https://arxiv.org/abs/2005.12872, section 3.1.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float | None = None,
    ) -> None:
        super().__init__()
        weights = (class_weight, box_weight, overlap_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise UserError(f"the weights of the loss {weights} must not be negative or all zero")
        self.weights = weights
        self.costs = (class_weight if class_cost is None else class_cost, *weights[1:])

    @abstractmethod
    def cost_of_classes(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Returns what it costs that a query finds an object, as far as the class goes.

        Shape:
            logits: (Q, K). labels: (N,). Output: (Q, N).
        """

    @abstractmethod
    def loss_of_classes(self, logits: Tensor, matched: Matched, number: float) -> Tensor:
        """Returns the loss of the classes of all queries.

        Args:
            logits: (B, Q, K).
            matched: Which queries shall find which objects.
            number: Objects of the batch, at least 1.
        """

    def forward(
        self,
        output: Detections | SigmoidDetections,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> DetectionLosses:
        """Returns the loss.

        Shape:
            boxes: per picture (N, 4), centre and size in 0..1. labels: per picture (N,).
        """
        if isinstance(output, Detections):
            # The same without what only the others say.
            output = SigmoidDetections(output.logits, output.boxes, output.aux)
        # Each group of queries finds every object.
        groups = output.groups
        number = max(1.0, object_number(labels)) * groups
        whole, edges = (output.logits, output.boxes), output.edges
        last = self._of_block((*whole, *edges), boxes, labels, number, groups=groups)
        total = self._sum(last)
        taught = (*whole, *edges) if edges else None
        for one in output.aux:
            total = total + self._sum(
                self._of_block(one, boxes, labels, number, last=taught, groups=groups)
            )
        for one in output.denoised:
            own = [[every[row] for row in one.rows] for every in (boxes, labels)]
            # Which query shall find which object is known.
            matches = [
                (queries, torch.arange(len(mine), device=queries.device).repeat(one.groups))
                for queries, mine in zip(one.objects, own[1], strict=True)
            ]
            taught = one.blocks[-1] if edges else None
            for block in one.blocks:
                known = taught if block is not taught else None
                parts = self._of_block(
                    block, own[0], own[1], number * one.groups, matches, last=known
                )
                total = total + self._sum(parts)
        for one in output.proposals:
            own = [boxes[row] for row in one.rows]
            # Whatever an object is: its label is the first.
            any_class = [torch.zeros_like(labels[row]) for row in one.rows]
            parts = self._of_block((one.logits, one.boxes), own, any_class, number)
            total = total + self._sum(parts)
        for one in output.labelled:
            total = total + self.loss_of_labels(one, boxes, labels, number)
        return DetectionLosses(total, *last[:3])

    def loss_of_labels(
        self,
        labelled: Labelled,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        number: float,
    ) -> Tensor:
        """Returns the weighted loss of what tokens of maps say of themselves; nothing if nobody asks.

        Args:
            labelled: What they say.
            boxes: Of the objects of each picture of the batch.
            labels: Their classes.
            number: Objects of the batch, at least 1.
        """
        return labelled.logits.new_zeros(())

    def loss_of_edges(
        self,
        edges: tuple[Tensor, ...],
        matched: Matched,
        number: float,
        last: tuple[Tensor, ...] | None,
    ) -> Tensor:
        """Returns the weighted loss of what boxes are made of, where a detector says so.

        Args:
            edges: What stands behind logits and boxes in the answer of a block.
            matched: Which queries shall find which objects.
            number: Objects of the batch, at least 1.
            last: The whole answer of the last block; None for that block itself.
        """
        return edges[0].new_zeros(())

    def _sum(self, parts: tuple[Tensor, Tensor, Tensor, Tensor | None]) -> Tensor:
        classes, boxes, overlap = (
            weight * part for weight, part in zip(self.weights, parts[:3], strict=True)
        )
        total = classes + boxes + overlap
        return total if parts[3] is None else total + parts[3]

    def _of_block(
        self,
        answer: tuple[Tensor, ...],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        number: float,
        matches: list[Match] | None = None,
        *,
        last: tuple[Tensor, ...] | None = None,
        groups: int = 1,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        logits, found, *edges = answer
        # Half precision would overflow in areas and logarithms.
        logits, found = logits.float(), found.float()
        if matches is None:
            matches = self.match(logits, found, boxes, labels, groups)
        queries = torch.cat(
            [i.to(found.device) + place * logits.shape[1] for place, (i, _) in enumerate(matches)]
        )
        wanted = torch.cat([one[j] for one, (_, j) in zip(boxes, matches, strict=True)])
        meant = torch.cat([one[j] for one, (_, j) in zip(labels, matches, strict=True)])
        mine = found.flatten(0, 1)[queries]
        matched = Matched(queries, meant.to(found.device), mine, wanted.to(mine))
        overlap = generalized_box_iou_loss(corners(mine), corners(matched.wanted), reduction="sum")
        return (
            self.loss_of_classes(logits, matched, number),
            F.l1_loss(mine, matched.wanted, reduction="sum") / number,
            overlap / number,
            self.loss_of_edges(tuple(edges), matched, number, last) if edges else None,
        )

    @torch.no_grad()
    def match(
        self,
        logits: Tensor,
        found: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        groups: int = 1,
    ) -> list[Match]:
        """Returns for each picture the cheapest pairs of queries and objects, as indices.

        Args:
            logits: (B, Q, K).
            found: (B, Q, 4).
            boxes: Of the objects of each picture, (N, 4).
            labels: Their classes, (N,).
            groups: Groups of queries, each of which is matched with all objects.
        """
        matches: list[Match] = []
        for place, (wanted, meant) in enumerate(zip(boxes, labels, strict=True)):
            mine, wanted = found[place], wanted.to(found)
            by_class, by_distance, by_overlap = self.costs
            cost = (
                by_distance * torch.cdist(mine, wanted, p=1)
                + by_class * self.cost_of_classes(logits[place], meant.to(logits.device))
                - by_overlap * generalized_box_iou(corners(mine), corners(wanted))
            )
            size = len(cost) // groups
            pairs = [cheapest(part) for part in cost.split(size)]
            rows = [one + group * size for group, (one, _) in enumerate(pairs)]
            matches.append((torch.cat(rows), torch.cat([one for _, one in pairs])))
        return matches


def cheapest(cost: Tensor) -> Match:
    """Returns the cheapest pairs of queries and objects, as indices.

    A prediction that is not finite takes an object only if nothing else is left.

    Shape:
        cost: (Q, N). Output: (min(Q, N),) each.
    """
    limit = torch.finfo(cost.dtype).max
    cost = cost.nan_to_num(nan=limit, posinf=limit, neginf=limit).cpu()
    rows, columns = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(rows).long(), torch.from_numpy(columns).long()


def object_number(labels: Sequence[Tensor]) -> float:
    """Returns how many objects a batch has, on average over all ranks.

    Args:
        labels: Of each picture, (N,).
    """
    number = float(sum(len(one) for one in labels))
    if torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized():
        device = labels[0].device if labels else torch.device("cpu")
        shared = torch.tensor(number, device=device)
        distributed.all_reduce(shared)
        number = shared.item() / distributed.get_world_size()
    return number
