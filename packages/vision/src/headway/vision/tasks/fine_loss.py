"""The loss of D-FINE: edges are learned as distributions, also from those of the last block."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.models.boxes import corners
from headway.vision.models.edge_bins import EdgeBins
from headway.vision.tasks.set_loss import Matched
from headway.vision.tasks.varifocal_loss import VarifocalLoss, overlap_of

# What makes distributions softer before they are compared.
TEMPERATURE = 5.0


class FineLoss(VarifocalLoss):
    """As ``VarifocalLoss``; steps on both sides of where an edge should be share the target.

    Blocks before the last one also learn its distributions, of queries without an object as far as they
    are sure.

    Args:
        class_weight: Weight of the classes.
        box_weight: Weight of the L1 distance, in loss and cost.
        overlap_weight: Weight of the generalised IoU, in loss and cost.
        class_cost: Weight of the classes in the cost of a match.
        edge_weight: Weight of the steps of matched edges.
        copy_weight: Weight of what is learned from the last block.
        bins: Builds the steps, as of the detector.

    Source:
        Peng et al. 2024, https://arxiv.org/abs/2410.13842, section 4; matches are those of each block by
        itself, as in transformers.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        box_weight: float = 5.0,
        overlap_weight: float = 2.0,
        class_cost: float = 2.0,
        edge_weight: float = 0.15,
        copy_weight: float = 1.5,
        bins: Callable[[], EdgeBins] = EdgeBins,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            box_weight=box_weight,
            overlap_weight=overlap_weight,
            class_cost=class_cost,
        )
        if edge_weight < 0 or copy_weight < 0:
            raise UserError(
                f"edge_weight {edge_weight} and copy_weight {copy_weight} must not be negative"
            )
        self.edge_weight, self.copy_weight, self.bins = edge_weight, copy_weight, bins()

    def loss_of_edges(
        self,
        edges: tuple[Tensor, ...],
        matched: Matched,
        number: float,
        last: tuple[Tensor, ...] | None,
    ) -> Tensor:
        """Returns the weighted losses of the steps, and of what the last block says of them."""
        logits, first = edges
        each = logits.float().flatten(0, 1)
        steps, shares = self.bins.targets(
            first.flatten(0, 1)[matched.queries].detach(), corners(matched.wanted)
        )
        own = each[matched.queries].unflatten(-1, (4, -1)).log_softmax(-1)
        nearer = own.gather(-1, steps[..., None])[..., 0]
        farther = own.gather(-1, steps[..., None] + 1)[..., 0]
        overlap = overlap_of(matched.boxes.detach(), matched.wanted)
        entropy = -((1 - shares) * nearer + shares * farther)
        loss = self.edge_weight * (overlap[:, None] * entropy).sum() / number
        if last is None:
            return loss
        scores, _, taught, _ = last
        sure = scores.detach().float().sigmoid().amax(-1).flatten()
        sure = sure.index_copy(0, matched.queries.to(sure.device), overlap)
        one = (each.unflatten(-1, (4, -1)) / TEMPERATURE).log_softmax(-1)
        other = taught.detach().float().flatten(0, 1).unflatten(-1, (4, -1)) / TEMPERATURE
        apart = F.kl_div(one, other.softmax(-1), reduction="none").sum(-1)
        apart = (sure[:, None] * TEMPERATURE**2 * apart).flatten()
        with_object = torch.zeros_like(sure, dtype=torch.bool)
        with_object[matched.queries] = True
        with_object = with_object[:, None].expand(-1, 4).flatten()
        weighted, total = apart.new_zeros(()), apart.new_zeros(())
        for chosen in (with_object, ~with_object):
            if chosen.any():
                weight = (chosen.sum() / len(logits)).sqrt()
                weighted, total = weighted + weight * apart[chosen].mean(), total + weight
        return loss + self.copy_weight * weighted / total
