"""ACEFormer: the slow part of a series, distilled by channels."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import CrossAttention, ProbSparseAttention
from headway.core.systems import system
from headway.timeseries.layers import SeriesEmbedding, WindowNorm
from headway.timeseries.layers.aliased_modes import AliasedEnvelopes, SlowPart
from headway.timeseries.layers.channel_distilling import AttentionFedBlock, ChannelDistilling
from headway.timeseries.models.base import ForecastingModel

CumulativeProbSparse = partial(ProbSparseAttention, cumulative=True)


@system(
    id=157,
    name="ACEFormer",
    paper="https://arxiv.org/abs/2404.07969",
    claim="reads the slow part of a series; distilling halves channels and keeps every moment, whose "
    "position is told anew at each level, and tokens that do not attend take the sum of the values so far",
    test="packages/timeseries/tests/models/test_aceformer.py",
)
class ACEFormer(ForecastingModel):
    """ProbSparse blocks between distillings of the channels, then blocks that read the distilled tokens.

    The window is normalised; zeros stand in the place of the future, and are answered in one pass. It is
    the network of the authors' code but for its data: they scale a window to 0 to 1 (here ``normalization``
    does it), sample keys for each query, in evaluation too (here once for all, evenly), and take the fast
    part off the target as well (here the forecast is of the series).

    Args:
        variates: Series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        dim: Channels of a token, a multiple of ``2 ** depth``.
        depth: Levels of distilling.
        decoder_depth: Blocks behind them.
        heads: Heads of the mixers; they must divide the channels of every level.
        envelopes: Builds what takes the fast part off the window (``SlowPart``) or puts envelopes beside the
            series (``AliasedEnvelopes``); with None the series stand alone.
        mixer: Builds the mixers of the levels, ``(dim, heads)``.
        cross: Builds the mixers behind them, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``; if None, the published ones: ReLU, ``4 * dim``
            hidden channels at every level, four times the width behind them.
        normalization: Builds what normalises the window.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        x, mask: (B, context_length, variates). Output: (B, horizon, variates). A missing value is read as the
        mean of its window.

    Raises:
        UserError: If the channels cannot be halved as often.

    Source:
        Li et al. 2023, https://arxiv.org/abs/2404.07969.
    """

    def __init__(
        self,
        *,
        variates: int,
        context_length: int = 25,
        horizon: int = 5,
        dim: int = 64,
        depth: int = 3,
        decoder_depth: int = 2,
        heads: int = 8,
        envelopes: Callable[[], AliasedEnvelopes] | None = SlowPart,
        mixer: MixerFactory = CumulativeProbSparse,
        cross: MixerFactory = CrossAttention,
        feedforward: FeedForwardFactory | None = None,
        normalization: Callable[[], WindowNorm] = WindowNorm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if dim % 2**depth:
            raise UserError(
                f"dim {dim} cannot be halved {depth} times; use a multiple of {2**depth}"
            )
        self.variates = variates
        self.normalization = normalization()
        self.envelopes = envelopes() if envelopes is not None else None
        inputs = variates * (self.envelopes.factor if self.envelopes is not None else 1)
        self.embedding = SeriesEmbedding(inputs, dim, bias=True, dropout=dropout)
        tokens = context_length + horizon
        wide = feedforward or partial(MLP, hidden_dim=4 * dim, activation=nn.ReLU)
        own = feedforward or partial(MLP, activation=nn.ReLU)
        widths = [dim // 2**level for level in range(depth + 1)]
        self.levels = nn.ModuleList(
            AttentionFedBlock(width, heads, mixer=mixer, feedforward=wide) for width in widths[:-1]
        )
        self.distillings = nn.ModuleList(ChannelDistilling(tokens, width) for width in widths[:-1])
        self.decoder = nn.ModuleList(
            AttentionFedBlock(widths[-1], heads, mixer=cross, feedforward=own)
            for _ in range(decoder_depth)
        )
        self.head = nn.Linear(widths[-1], variates)

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
        x, statistics = self.normalization(x, mask)
        if self.envelopes is not None:
            x = self.envelopes(x)
        tokens = self.embedding(F.pad(x, (0, 0, 0, self.horizon)))
        for level, distilling in zip(self.levels, self.distillings, strict=True):
            tokens = distilling(level(tokens))
        distilled = tokens
        for block in self.decoder:
            tokens = block(tokens, distilled)
        forecast = self.head(tokens[:, -self.horizon :])
        return self.normalization.inverse(forecast, statistics)

    def set_horizon(self, horizon: int) -> None:
        """Refuses: positions are learned for each step, those of the future included.

        Raises:
            UserError: If it is another horizon.
        """
        if horizon != self.horizon:
            raise UserError(
                f"this ACEFormer was built for a horizon of {self.horizon}, not {horizon}: its positions are "
                f"learned; train one with horizon={horizon}"
            )
