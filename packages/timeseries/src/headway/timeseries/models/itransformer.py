"""iTransformer: attention among series instead of moments."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.timeseries.layers import InvertedEmbedding, WindowNorm, series_layout
from headway.timeseries.layers.torch_norm import TorchLayerNorm
from headway.timeseries.models.base import ForecastingModel, new_head


@system(
    id=489,
    name="iTransformer",
    paper="https://arxiv.org/abs/2310.06625",
    claim="a series is one token: forecasts permute with the series, and one series informs another",
    test="packages/timeseries/tests/models/test_itransformer.py",
)
class ITransformer(ForecastingModel):
    """A transformer encoder whose tokens are whole series.

    Each window of a series is normalised, embedded as one token, and exchanges information with the
    other series; a linear layer reads its future from its token. The number of series is free, and
    their order does not matter. Calendar marks and covariates become tokens of their own, and so does each
    static feature. Of the future of a mark or covariate nothing is read unless ``future`` is set.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixer of the series, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        normalize: Whether each window is centred and scaled by its own statistics, and the forecast
            back.
        normalization: Builds what does it.
        dropout: Probability of dropping a channel of an embedded token in training.
        future: Whether the future of marks and covariates is read: it is added to the token of its past.
        static: Number of static features.

    Shape:
        x, mask: (B, context_length, N). marks: (B, context_length, M). future_marks: (B, horizon, K), of the
        first K marks. static: (B, static). Output: (B, horizon, N). A series
        of which nothing was observed is padding: it changes no other one.

    Source:
        Liu et al. 2023, https://arxiv.org/abs/2310.06625.
    """

    def __init__(
        self,
        *,
        context_length: int = 96,
        horizon: int = 96,
        dim: int = 256,
        depth: int = 2,
        heads: int = 8,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = TorchLayerNorm,
        block: BlockFactory = PostNormBlock,
        normalize: bool = True,
        normalization: Callable[[], WindowNorm] = WindowNorm,
        dropout: float = 0.0,
        future: bool = False,
        static: int = 0,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        self.normalization = normalization() if normalize else None
        self.embedding = InvertedEmbedding(context_length, dim, dropout=dropout)
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm, block=block
        )
        self.future = nn.Linear(horizon, dim, bias=False) if future else None
        self.static = StaticTokens(static, dim) if static else None
        self.head = nn.Linear(dim, horizon)
        kinds = {"historical": True, "future": future, "static": bool(static)}
        self.covariates = frozenset(kind for kind, read in kinds.items() if read)

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
        self.check(x, static if self.static is None else None)
        series = x.shape[2]
        statistics = None
        if self.normalization is not None:
            x, statistics = self.normalization(x, mask)
        elif mask is not None:
            x = x.masked_fill(~mask, 0.0)
        tokens = self.embedding(_beside(x, marks))
        if self.future is not None and future_marks is not None:
            ahead = self.future(future_marks.to(x.dtype).transpose(1, 2))
            behind = tokens.shape[1] - series - ahead.shape[1]
            tokens = tokens + nn.functional.pad(ahead, (0, 0, series, behind))
        if self.static is not None:
            tokens = torch.cat([tokens, self.static(static)], dim=1)
        tokens, _ = self.encoder(tokens, series_layout(mask, tokens.shape[1] - series))
        forecast = self.head(tokens[:, :series]).transpose(1, 2)
        if self.normalization is not None and statistics is not None:
            forecast = self.normalization.inverse(forecast, statistics)
        return forecast

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with a new head."""
        super().set_horizon(horizon)
        self.head = new_head(self.head, horizon)
        if self.future is not None:
            old = self.future.weight
            self.future = nn.Linear(horizon, len(old), bias=False).to(old.device, old.dtype)


class StaticTokens(nn.Module):
    """One token for each static feature: a learned direction times its value, and a learned position.

    Args:
        features: Number of features.
        dim: Channels of a token.

    Shape:
        static: (B, features). Output: (B, features, dim).

    Raises:
        UserError: If the features are not there, or of another number.
    """

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.empty(features, dim).uniform_(-0.1, 0.1))
        self.place = nn.Parameter(torch.empty(features, dim).uniform_(-0.1, 0.1))

    def forward(self, static: Tensor | None) -> Tensor:
        """Returns the tokens."""
        features = len(self.direction)
        if static is None or static.shape[1] != features:
            given = "none" if static is None else static.shape[1]
            raise UserError(
                f"this model was built for {features} static features, got {given}; build it with "
                "static= their number"
            )
        return static.to(self.direction.dtype)[..., None] * self.direction + self.place


def _beside(x: Tensor, marks: Tensor | None) -> Tensor:
    """Puts the marks behind the series, as further series."""
    return x if marks is None else torch.cat([x, marks.to(x.dtype)], dim=2)
