"""What forecasters with an encoder and a decoder that answers in one pass share."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.stacks.stack import Stack
from headway.timeseries.models.base import ForecastingModel

# Marks and dropout are given by keyword; see `SeriesEmbedding`.
EmbeddingFactory = Callable[[int, int], nn.Module]


class EncoderDecoderForecaster(ForecastingModel):
    """One token for each moment; the decoder reads the last steps and zeros in the place of the future.

    A subclass builds ``encoder``, ``decoder`` and ``head``.

    Args:
        variates: Series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        start: Steps of the window that the decoder reads.
        dim: Channels of a token, even.
        embedding: Builds the embedding of moments, ``(variates, dim, marks=, dropout=)``.
        marks: Calendar marks of a moment; 0 for none.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). marks: (B, context_length, marks). future_marks:
        (B, horizon, marks). Output: (B, horizon, variates). A missing value is read as 0, the mean of
        scaled series.

    Raises:
        UserError: If ``start`` is not between 1 and ``context_length``, or marks are not as announced.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, section 3.4.
    """

    encoder: Stack
    decoder: nn.Module
    head: nn.Linear

    def __init__(
        self,
        *,
        variates: int,
        context_length: int,
        horizon: int,
        start: int,
        dim: int,
        embedding: EmbeddingFactory,
        marks: int,
        dropout: float,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if not 1 <= start <= context_length:
            raise UserError(f"start {start} must lie between 1 and context_length {context_length}")
        self.variates, self.start, self.marks = variates, start, marks
        make: Any = embedding
        self.embedding = make(variates, dim, marks=marks, dropout=dropout)
        self.decoder_embedding = make(variates, dim, marks=marks, dropout=dropout)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast."""
        self.check(x, static)
        self.check_marks(x, marks, future_marks)
        if mask is not None:
            x = x.masked_fill(~mask, 0.0)
        future = x.new_zeros(x.shape[0], self.horizon, self.variates)
        asked = torch.cat([x[:, -self.start :], future], dim=1)
        asked_marks = self.asked_marks(marks, future_marks)
        memory, memory_layout = self.encoder(self.embedding(x, marks))
        tokens, _ = self.decoder(
            self.decoder_embedding(asked, asked_marks),
            context=memory,
            context_layout=memory_layout,
        )
        return self.head(tokens[:, -self.horizon :])

    def asked_marks(self, marks: Tensor | None, future_marks: Tensor | None) -> Tensor | None:
        """Returns the marks of what the decoder reads; None for a model without."""
        if not self.marks:
            return None
        known, coming = cast(Tensor, marks), cast(Tensor, future_marks)
        return torch.cat([known[:, -self.start :], coming], dim=1)
