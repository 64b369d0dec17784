"""An encoder over the moments of a window, of any mixer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.timeseries.layers import SeriesEmbedding, WindowNorm, interpolated
from headway.timeseries.models.base import ForecastingModel


class MomentEncoder(ForecastingModel):
    """Reconstructs a window: one token for each moment, blocks of any mixer, one answer for each token.

    The window is normalised by its known values. A missing value is read as the straight line between its
    known neighbours, the token is told that it is missing, and the answer is what the line lacks.

    Args:
        variates: Series.
        context_length: Steps that the model reads and answers with.
        dim: Channels of a token, even.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the moments, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). marks: (B, context_length, marks). Output: as x.
    """

    def __init__(
        self,
        *,
        variates: int,
        context_length: int = 96,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        marks: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(context_length=context_length, horizon=context_length)
        self.variates, self.marks = variates, marks
        self.normalization = WindowNorm()
        self.embedding = SeriesEmbedding(2 * variates, dim, marks=marks, dropout=dropout)
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm, block=block
        )
        self.head = nn.Linear(dim, variates)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the reconstruction; the future is that of the window, so its marks are not read again."""
        self.check(x, static)
        self.check_marks(x, marks, future_marks)
        x, statistics = self.normalization(x, mask)
        known = torch.ones_like(x)
        if mask is not None:
            x, known = interpolated(x, mask), mask.to(x.dtype)
        tokens, _ = self.encoder(self.embedding(torch.cat([x, known], dim=2), marks))
        answer = self.head(tokens)
        if mask is not None:
            answer = answer + x.masked_fill(mask, 0.0)
        return self.normalization.inverse(answer, statistics)

    def set_horizon(self, horizon: int) -> None:
        """Raises unless the horizon stays: an answer belongs to a moment of the window."""
        if horizon != self.context_length:
            raise UserError(
                f"a MomentEncoder answers with the {self.context_length} steps that it reads, asked was a "
                f"horizon of {horizon}; use Transformer to forecast"
            )
