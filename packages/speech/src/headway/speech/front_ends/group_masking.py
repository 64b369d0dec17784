"""Blocks of a spectrogram that are hidden together."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module


class Masking(Module):
    """Says which values of spectrograms are hidden; it draws from torch's generator.

    Args:
        share: Of the values of a recording that are hidden, at most.

    Raises:
        UserError: If it is no share.
    """

    def __init__(self, *, share: float) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise UserError(f"share is {share}; it lies between 0 and 1")
        self.share = share

    def forward(self, features: Tensor) -> Tensor:
        """Returns what is hidden, True there.

        Shape:
            features: (B, T, F). Output: the same.
        """
        raise NotImplementedError


class GroupMasking(Masking):
    """Hides blocks of any size over steps and bands, one after the other, until there are enough.

    What is hidden cannot be told from its neighbours, which are hidden, too.

    Args:
        share: Of the values of a recording that are hidden, at most; at least it is half of them, or as many.
        largest: Sides of a block at most, as a share of steps and of bands.

    Raises:
        UserError: If a share is none.

    Source:
        Atito et al. 2022 (ASiT), https://arxiv.org/abs/2211.13189 (group masked model learning). In its
        published code no block reaches beyond a border.
    """

    def __init__(self, *, share: float = 0.7, largest: float = 0.3) -> None:
        super().__init__(share=share)
        if not 0 < largest <= 1:
            raise UserError(f"largest is {largest}; a share lies in 0..1")
        self.largest = largest

    def forward(self, features: Tensor) -> Tensor:
        """Draws blocks."""
        hidden = torch.zeros_like(features, dtype=torch.bool)
        device, batch = features.device, len(features)
        least = min(0.5, self.share)
        wanted = least + (self.share - least) * torch.rand(batch, device=device)
        open_ = torch.ones(batch, dtype=torch.bool, device=device)
        while bool(open_.any()):
            sides = []
            for size in features.shape[1:]:
                most = max(1, int(self.largest * size))
                width = torch.randint(1, most + 1, (batch, 1), device=device)
                # A block may reach beyond a border, or values there would hardly ever be hidden.
                start = torch.randint(1 - most, size, (batch, 1), device=device)
                place = torch.arange(size, device=device)
                sides.append((place >= start) & (place < start + width))
            block = sides[0][:, :, None] & sides[1][:, None]
            hidden = hidden | (block & open_[:, None, None])
            open_ = hidden.float().mean((1, 2)) < wanted
        return hidden
