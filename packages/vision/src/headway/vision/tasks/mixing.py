"""Mixes the pictures of a batch with each other, and their targets in the same shares."""

import math

import numpy as np
import torch
from torch import Tensor

from headway.core.errors import UserError


class Mixing:
    """Mixup and CutMix on whole batches.

    Each batch is mixed with its own reverse order. The choices draw from torch's generator, which is
    seeded anew for every training step.

    Args:
        mixup: Alpha of the beta distribution of mixup's share; 0 turns mixup off.
        cutmix: Alpha of the beta distribution of CutMix's share; 0 turns CutMix off.
        probability: How many batches are mixed.
        switch: How many of the mixed batches use CutMix if both are on.

    Raises:
        UserError: If both are off or a value is outside its range.

    Source:
        Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019,
        https://arxiv.org/abs/1905.04899.
    """

    def __init__(
        self,
        *,
        mixup: float = 0.8,
        cutmix: float = 1.0,
        probability: float = 1.0,
        switch: float = 0.5,
    ) -> None:
        if mixup < 0 or cutmix < 0 or mixup + cutmix == 0:
            raise UserError(
                f"mixup {mixup} and cutmix {cutmix} are alphas of 0 or more, one of them above 0; "
                "leave Mixing out to mix nothing"
            )
        for name, value in (("probability", probability), ("switch", switch)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} {value} lies in [0, 1]")
        self.mixup = mixup
        self.cutmix = cutmix
        self.probability = probability
        self.switch = switch

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mixed pictures and targets.

        Args:
            images: Pictures.
            targets: Probabilities of the classes.

        Shape:
            images: (B, C, H, W). targets: (B, K). Output: the same two shapes.
        """
        random = np.random.default_rng(int(torch.randint(2**63 - 1, ())))
        if random.random() >= self.probability:
            return images, targets
        use_cutmix = self.mixup == 0 or (self.cutmix > 0 and random.random() < self.switch)
        if use_cutmix:
            share = float(random.beta(self.cutmix, self.cutmix))
            images, share = _cut(images, share, random)
        else:
            share = float(random.beta(self.mixup, self.mixup))
            images = torch.lerp(images.flip(0), images, share)
        return images, torch.lerp(targets.flip(0), targets, share)


def _cut(images: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    height, width = images.shape[-2:]
    side = math.sqrt(1 - share)
    middle = random.integers(height), random.integers(width)
    top, bottom = _span(int(middle[0]), round(side * height), height)
    left, right = _span(int(middle[1]), round(side * width), width)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images.flip(0)[:, :, top:bottom, left:right]
    # The box may have been cut at the border: the targets follow the pixels.
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _span(middle: int, length: int, limit: int) -> tuple[int, int]:
    start = middle - length // 2
    return max(start, 0), min(start + length, limit)
