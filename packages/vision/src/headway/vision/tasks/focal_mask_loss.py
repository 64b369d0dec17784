"""The loss of a mask classifier at all pixels, as MaskFormer was trained."""

from torch import Tensor
from torch.nn import functional as F

from headway.vision.models.masks import resized_masks
from headway.vision.tasks.mask_loss import MaskLoss


class FocalMaskLoss(MaskLoss):
    """Masks are compared at all pixels; those that are right already count little.

    Args:
        class_weight: As of every ``MaskLoss``.
        mask_weight: As of every ``MaskLoss``.
        dice_weight: As of every ``MaskLoss``.
        no_object: As of every ``MaskLoss``.
        alpha: Weight of pixels in a mask; those outside weigh the rest.
        gamma: How much less pixels count that are right.

    Source:
        Cheng et al. 2021 (MaskFormer), https://arxiv.org/abs/2107.06278, section 3.2; Lin et al. 2017 (focal
        loss), https://arxiv.org/abs/1708.02002.
    """

    def __init__(
        self,
        *,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
        no_object: float = 0.1,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            mask_weight=mask_weight,
            dice_weight=dice_weight,
            no_object=no_object,
        )
        self.alpha, self.gamma = alpha, gamma

    def for_matching(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Reads wanted masks where the masks have their pixels."""
        small = F.interpolate(wanted[:, None], size=found.shape[-2:], mode="nearest")
        return found.flatten(1), small.flatten(1)

    def for_loss(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Enlarges the masks to the size of the wanted ones."""
        size = (wanted.shape[-2], wanted.shape[-1])
        return resized_masks(found[:, None], size).flatten(1), wanted.flatten(1)

    def of_pixels(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Returns the focal loss of each pixel."""
        likely = logits.sigmoid()
        wrong = likely + wanted - 2 * likely * wanted
        share = self.alpha * wanted + (1 - self.alpha) * (1 - wanted)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return share * wrong**self.gamma * entropy
