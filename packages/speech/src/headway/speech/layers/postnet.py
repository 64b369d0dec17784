"""What mends mel features behind the decoder of a synthesiser."""

from itertools import pairwise

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.norms import MaskedBatchNorm
from headway.speech.layers.padding import mask_of, zero_beyond


class Postnet(Module):
    """Convolutions over time whose result is added to the features.

    Args:
        bands: Features of a step.
        channels: Channels between.
        depth: Convolutions.
        kernel: Steps that a convolution sees, odd.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, T, bands). lengths: (B,). Output: (B, T, bands).

    Raises:
        UserError: If there is no convolution, or its kernel is even.

    Source:
        Shen et al. 2017 (Tacotron 2), https://arxiv.org/abs/1712.05884, section 2.2.
    """

    def __init__(
        self,
        bands: int,
        *,
        channels: int = 256,
        depth: int = 5,
        kernel: int = 5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if depth < 1 or kernel < 1 or kernel % 2 == 0:
            raise UserError(f"depth {depth} must be at least 1, and kernel {kernel} odd")
        widths = [bands, *[channels] * (depth - 1), bands]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, out, kernel, padding=kernel // 2, bias=False)
            for width, out in pairwise(widths)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in widths[1:])
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Adds what it found."""
        found, real = x, mask_of(lengths, x.shape[1])
        last = len(self.norms) - 1
        for place, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            found = norm(convolution(zero_beyond(found, lengths).mT).mT, real)
            found = self.dropout(found if place == last else found.tanh())
        return x + found
