"""What is done to features so that an encoder learns to mend them."""

from abc import abstractmethod

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.layers.padding import mask_of


class Alteration(Module):
    """Alters features; it draws from torch's generator, each item inside its own length."""

    @abstractmethod
    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Returns altered copies.

        Shape:
            features: (B, T, F). lengths: (B,). Output: as features.
        """


class TimeAlteration(Alteration):
    """Alters stretches of time: mostly zero, now and then other steps of the recording, or as they were.

    Args:
        share: Of the steps that are altered.
        width: Steps of a stretch.

    Raises:
        UserError: If the share is no share or the width below 1.

    Source:
        Liu et al. 2020 (TERA), https://arxiv.org/abs/2007.06028, section III-A: 80 %, 10 % and 10 %.
    """

    def __init__(self, *, share: float = 0.15, width: int = 7) -> None:
        super().__init__()
        if not 0 < share < 1 or width < 1:
            raise UserError(
                f"share is {share} and width {width}; a share lies in 0..1, a width is 1 or more"
            )
        self.share, self.width = share, width

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Alters stretches."""
        batch, steps, _ = features.shape
        device = features.device
        place = torch.arange(steps, device=device)
        starts = torch.rand(batch, steps, device=device) < self.share / self.width
        since = torch.where(starts, place, -self.width).cummax(dim=1).values
        hidden = place - since < self.width
        draw = torch.rand(batch, 1, device=device)
        other = (torch.rand(batch, steps, device=device) * lengths[:, None]).long()
        swapped = features.gather(1, other[..., None].expand_as(features))
        mended = torch.where((draw < 0.8)[..., None], 0.0, swapped)
        hidden = hidden & (draw < 0.9) & mask_of(lengths, steps)
        return torch.where(hidden[..., None], mended, features)


class ChannelAlteration(Alteration):
    """Sets a block of neighbouring bands to zero, in all steps of a recording.

    Args:
        widest: Most bands of the block, as a share; its width is drawn, none included.

    Raises:
        UserError: If the share is no share.

    Source:
        Liu et al. 2020 (TERA), section III-B.
    """

    def __init__(self, *, widest: float = 0.2) -> None:
        super().__init__()
        if not 0 <= widest <= 1:
            raise UserError(f"widest is {widest}; a share lies in 0..1")
        self.widest = widest

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Alters bands."""
        batch, _, bands = features.shape
        most = int(self.widest * bands)
        width = torch.randint(0, most + 1, (batch, 1), device=features.device)
        start = (torch.rand(batch, 1, device=features.device) * (bands - width + 1)).long()
        band = torch.arange(bands, device=features.device)
        hidden = (band >= start) & (band < start + width)
        return features.masked_fill(hidden[:, None], 0.0)


class MagnitudeAlteration(Alteration):
    """Adds noise to some recordings.

    Args:
        share: Of the recordings.
        deviation: Of the noise.

    Raises:
        UserError: If the share is no share or the deviation negative.

    Source:
        Liu et al. 2020 (TERA), section III-C.
    """

    def __init__(self, *, share: float = 0.15, deviation: float = 0.2) -> None:
        super().__init__()
        if not 0 <= share <= 1 or deviation < 0:
            raise UserError(
                f"share is {share} and deviation {deviation}; they are in 0..1 and 0 or more"
            )
        self.share, self.deviation = share, deviation

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Alters magnitudes."""
        chosen = torch.rand(len(features), 1, 1, device=features.device) < self.share
        return features + chosen * self.deviation * torch.randn_like(features)
