"""What losses of mask classifiers share: masks are matched with queries, one to one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.vision.models.masks import Masks
from headway.vision.tasks.detection_loss import entropy_of_queries
from headway.vision.tasks.set_loss import Match, cheapest, object_number


class MaskLosses(NamedTuple):
    """The parts of the loss, of the last block.

    Args:
        total: Weighted sum, of all blocks.
        classes: Loss of the classes.
        masks: Loss of the pixels of matched masks.
        dice: One less the overlap of matched masks, by Dice's coefficient.
    """

    total: Tensor
    classes: Tensor
    masks: Tensor
    dice: Tensor


class MaskLoss(nn.Module, ABC):
    """Cross entropy of classes, loss of pixels and Dice loss of the cheapest matching, for every block.

    Subclasses say where masks are read and what the loss of a pixel is.

    Args:
        class_weight: Weight of the cross entropy, and of the probability in the cost of a match.
        mask_weight: Weight of the loss of pixels, in loss and cost.
        dice_weight: Weight of the Dice loss, in loss and cost.
        no_object: Weight of the class for no object among the others.

    Raises:
        UserError: If a weight is negative, or all are zero, or ``no_object`` is outside (0, 1].

    Source:
        Cheng et al. 2021 (MaskFormer), https://arxiv.org/abs/2107.06278, section 3.2.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object: float = 0.1,
    ) -> None:
        super().__init__()
        self.weights = (class_weight, mask_weight, dice_weight)
        if min(self.weights) < 0 or max(self.weights) == 0:
            raise UserError(
                f"the weights of the loss {self.weights} must not be negative or all zero"
            )
        if not 0 < no_object <= 1:
            raise UserError(f"no_object {no_object} is outside (0, 1]")
        self.no_object = no_object

    @abstractmethod
    def for_matching(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits of masks and wanted masks where they are compared for a match.

        Shape:
            found: (Q, h, w). wanted: (N, H, W). Output: (Q, P) and (N, P).
        """

    @abstractmethod
    def for_loss(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits of masks and wanted masks where the loss is computed.

        Shape:
            found: (M, h, w). wanted: (M, H, W). Output: (M, P) and (M, P).
        """

    @abstractmethod
    def of_pixels(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Returns the loss of each pixel."""

    def forward(
        self, output: Masks, masks: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> MaskLosses:
        """Returns the loss.

        Shape:
            masks: per picture (N, H, W), 0 or 1. labels: per picture (N,).
        """
        number = max(1.0, object_number(labels))
        last = self._of_block((output.logits, output.masks), masks, labels, number)
        total = self._sum(last)
        for one in output.aux:
            total = total + self._sum(self._of_block(one, masks, labels, number))
        return MaskLosses(total, *last)

    def _sum(self, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        classes, masks, dice = (
            weight * part for weight, part in zip(self.weights, parts, strict=True)
        )
        return classes + masks + dice

    def _of_block(
        self,
        answer: tuple[Tensor, ...],
        masks: Sequence[Tensor],
        labels: Sequence[Tensor],
        number: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Half precision would overflow in sums over pixels.
        logits, found = (one.float() for one in answer)
        matches = self.match(logits, found, masks, labels)
        device = found.device
        queries = torch.cat(
            [i.to(device) + place * logits.shape[1] for place, (i, _) in enumerate(matches)]
        )
        meant = torch.cat([one[j] for one, (_, j) in zip(labels, matches, strict=True)])
        wanted = torch.cat([one[j] for one, (_, j) in zip(masks, matches, strict=True)])
        classes = entropy_of_queries(logits, queries, meant.to(device), self.no_object)
        mine = found.flatten(0, 1)[queries]
        if not len(queries):
            # A batch without any mask: what reads masks still has a gradient, of zeros.
            nothing = mine.sum()
            return classes, nothing, nothing
        mine, wanted = self.for_loss(mine, wanted.to(mine))
        pixels = self.of_pixels(mine, wanted).mean(1).sum() / number
        likely = mine.sigmoid()
        apart = dice((likely * wanted).sum(1), likely.sum(1), wanted.sum(1))
        return classes, pixels, apart.sum() / number

    @torch.no_grad()
    def match(
        self, logits: Tensor, found: Tensor, masks: Sequence[Tensor], labels: Sequence[Tensor]
    ) -> list[Match]:
        """Returns for each picture the cheapest pairs of queries and masks, as indices."""
        by_class, by_pixel, by_dice = self.weights
        matches: list[Match] = []
        for place, (wanted, meant) in enumerate(zip(masks, labels, strict=True)):
            mine, wanted = self.for_matching(found[place], wanted.to(found))
            inside = self.of_pixels(mine, torch.ones_like(mine)) @ wanted.T
            outside = self.of_pixels(mine, torch.zeros_like(mine)) @ (1 - wanted).T
            likely = mine.sigmoid()
            apart = dice(likely @ wanted.T, likely.sum(1)[:, None], wanted.sum(1))
            cost = (
                by_pixel * (inside + outside) / mine.shape[1]
                - by_class * logits[place].softmax(-1)[:, meant.to(logits.device)]
                + by_dice * apart
            )
            matches.append(cheapest(cost))
        return matches


def dice(both: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Returns one less the overlap of masks, with one more pixel that both have.

    Args:
        both: What they have in common, in pixels.
        one: How large one is.
        other: How large the other is.

    Source:
        Milletari et al. 2016 (V-Net), https://arxiv.org/abs/1606.04797, section 3.
    """
    return 1 - (2 * both + 1) / (one + other + 1)
