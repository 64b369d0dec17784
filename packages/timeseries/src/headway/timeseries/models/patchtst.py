"""PatchTST: patches of a series as tokens, every series by itself."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import ScoreResidualAttention
from headway.core.mixers.softmax.score_residual_attention import shared_scores
from headway.core.norms import MaskedBatchNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.timeseries.layers import WindowNorm
from headway.timeseries.models.base import ForecastingModel, new_head


@system(
    id=None,
    name="PatchTST",
    paper="https://arxiv.org/abs/2211.14730",
    claim="a series is cut into overlapping patches; each series is forecast by itself with shared weights",
    test="packages/timeseries/tests/models/test_patchtst.py",
)
class PatchTST(ForecastingModel):
    """A transformer encoder over the patches of one series; all series share it.

    The window is normalised, its last value repeated, and cut into patches that reach its end; a linear
    layer reads the future from all of them at once.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        patch: Steps of a patch.
        stride: Steps from one patch to the next.
        repeats: How often the last value is repeated, ``stride`` times if None, or 0. Steps that do not fill
            a patch are left out at the end, or, without repeats, at the beginning.
        mixer: Builds the mixer of the patches, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        centre: What the window is centred by, its ``mean`` or its ``last`` value.
        normalization: Builds what normalises the window, ``(centre)``.
        dropout: Probability of dropping a channel of an embedded token in training.
        head_dropout: Probability of dropping a step of the normalised forecast in training.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N).

    Raises:
        UserError: If a patch does not fit into the window.

    Source:
        Nie et al. 2022, https://arxiv.org/abs/2211.14730, section 3.1.
    """

    def __init__(
        self,
        *,
        context_length: int = 336,
        horizon: int = 96,
        dim: int = 128,
        depth: int = 3,
        heads: int = 16,
        patch: int = 16,
        stride: int = 8,
        repeats: int | None = None,
        mixer: MixerFactories = ScoreResidualAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = MaskedBatchNorm,
        block: BlockFactory = PostNormBlock,
        centre: Literal["mean", "last"] = "mean",
        normalization: Callable[[Literal["mean", "last"]], WindowNorm] = WindowNorm,
        dropout: float = 0.0,
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if not 1 <= stride <= patch <= context_length:
            raise UserError(
                f"patch {patch} and stride {stride} do not fit into context_length {context_length}; "
                "they need 1 <= stride <= patch <= context_length"
            )
        repeats = stride if repeats is None else repeats
        if repeats < 0:
            raise UserError(f"repeats is {repeats}; repeat the last value 0 or more times")
        self.patch, self.stride, self.repeats, self.heads = patch, stride, repeats, heads
        spare = context_length + repeats - patch
        patches = spare // stride + 1
        # Without repeats the newest steps are all read.
        self.first = 0 if repeats else spare % stride
        self.normalization = normalization(centre)
        self.embedding = nn.Linear(patch, dim)
        self.position = nn.Parameter(torch.empty(patches, dim).uniform_(-0.02, 0.02))
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=False,
        )
        self.head = nn.Linear(dim * patches, horizon)
        self.head_dropout = Dropout(head_dropout)

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
        series = x.shape[2]
        x, statistics = self.normalization(x, mask)
        alone = x.transpose(1, 2).flatten(0, 1)
        patches = F.pad(alone[:, None], (0, self.repeats), mode="replicate")[:, 0, self.first :]
        patches = patches.unfold(1, self.patch, self.stride)
        tokens = self.dropout(self.embedding(patches) + self.position)
        tokens, _ = self.encoder(tokens, cache=shared_scores(self.encoder, tokens.shape[0]))
        forecast = self.head_dropout(self.head(tokens.transpose(1, 2).flatten(1)))
        forecast = forecast.unflatten(0, (x.shape[0], series)).transpose(1, 2)
        return self.normalization.inverse(forecast, statistics)

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with a new head."""
        super().set_horizon(horizon)
        self.head = new_head(self.head, horizon)
