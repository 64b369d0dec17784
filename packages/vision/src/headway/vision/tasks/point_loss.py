"""The loss of a mask classifier at sampled points."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.tasks.mask_loss import MaskLoss


class PointMaskLoss(MaskLoss):
    """Masks are compared at random points: for the loss, mostly where they are least sure.

    Args:
        class_weight: As of every ``MaskLoss``.
        mask_weight: As of every ``MaskLoss``.
        dice_weight: As of every ``MaskLoss``.
        no_object: As of every ``MaskLoss``.
        points: Points of a mask.
        oversampling: How many times as many points are looked at.
        uncertain: Share of the points that are the least sure of those; the others are random.

    Raises:
        UserError: If there is no point, or a share is not one.

    Source:
        Cheng et al. 2022 (Mask2Former), https://arxiv.org/abs/2112.01527, section 3.3; Kirillov et al. 2020
        (PointRend), https://arxiv.org/abs/1912.08193, section 3.1.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object: float = 0.1,
        points: int = 12544,
        oversampling: float = 3.0,
        uncertain: float = 0.75,
    ) -> None:
        super().__init__(
            class_weight=class_weight,
            mask_weight=mask_weight,
            dice_weight=dice_weight,
            no_object=no_object,
        )
        if points < 1 or oversampling < 1 or not 0 <= uncertain <= 1:
            raise UserError(
                f"points {points} and oversampling {oversampling} must be at least 1, and uncertain "
                f"{uncertain} a share, 0 to 1"
            )
        self.points, self.oversampling, self.uncertain = points, oversampling, uncertain

    def for_matching(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Reads all masks at the same points."""
        where = torch.rand(1, self.points, 2, device=found.device)
        return read_at(found[None], where)[0], read_at(wanted[None], where)[0]

    def for_loss(self, found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Reads each mask at points of its own."""
        where = self._where(found.detach())
        return read_at(found[:, None], where)[:, 0], read_at(wanted[:, None], where)[:, 0]

    def of_pixels(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Returns the cross entropy of each point."""
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")

    def _where(self, found: Tensor) -> Tensor:
        """Returns the points of each mask, (M, P, 2) in 0..1."""
        masks, device = len(found), found.device
        where = torch.rand(masks, int(self.points * self.oversampling), 2, device=device)
        unsure = int(self.uncertain * self.points)
        best = (-read_at(found[:, None], where)[:, 0].abs()).topk(unsure).indices
        where = where.gather(1, best[..., None].expand(-1, -1, 2))
        if unsure == self.points:
            return where
        random = torch.rand(masks, self.points - unsure, 2, device=device)
        return torch.cat([where, random], dim=1)


def read_at(maps: Tensor, where: Tensor) -> Tensor:
    """Returns what maps hold at points between their pixels; beyond the border are zeros.

    Shape:
        maps: (B, C, H, W). where: x and y as shares of width and height, (B, P, 2). Output: (B, C, P).
    """
    return F.grid_sample(maps, 2 * where[:, :, None] - 1, align_corners=False)[..., 0]
