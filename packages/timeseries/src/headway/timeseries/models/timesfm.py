"""TimesFM: a decoder over patches of any series, trained once for all."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.blocks.residual import NormFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.norms import LayerNorm, RMSNorm
from headway.core.ops.tracing import readable
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.timeseries.layers.scaled_query import ScaledQueryAttention
from headway.timeseries.models.base import ForecastingModel

Causal = partial(ScaledQueryAttention, causal=True)
Rectified = partial(MLP, hidden_dim=1280, activation=nn.ReLU)
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST = 1e-6  # what a series is divided by at least
ENOUGH = 3  # observed values of a patch that make its mean and deviation count


class TwoNormBlock(PreNormBlock):
    """A pre-norm block whose feed-forward has a layer norm, whatever norm its mixer has."""

    affine = True

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactories = Causal,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = RMSNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            dim,
            heads,
            mixer=mixer,  # pyright: ignore[reportArgumentType]
            feedforward=feedforward,
            norm=norm,
            layer_scale=layer_scale,
            drop_path=drop_path,
        )
        self.feedforward.norm = LayerNorm(dim, eps=1e-6)


class ResidualLayers(Module):
    """Two linear layers with a SiLU between them, beside a third.

    Args:
        inputs: Channels that it reads.
        hidden: Channels between the two.
        outputs: Channels that it writes.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.skip = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms."""
        return self.fc2(F.silu(self.fc1(x))) + self.skip(x)


@system(
    id=None,
    name="TimesFM",
    paper="https://arxiv.org/abs/2310.10688",
    claim="a causal decoder over patches; what is missing at the start of a window is as if not there",
    test="packages/timeseries/tests/models/test_timesfm.py",
)
class TimesFM(ForecastingModel):
    """Quantiles of each series by itself, from patches that see only what came before them.

    A series is normalised by the first patch that has three observed values. The last token gives the
    next ``output`` steps at once; for a longer horizon its means are appended, and it reads on.

    Args:
        context_length: Steps that the model reads, a multiple of ``patch``.
        horizon: Steps that it forecasts.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        patch: Steps of a patch.
        output: Steps that are forecast at once.
        hidden: Channels between the layers that read a patch, and those that write a forecast.
        quantiles: Levels of the quantiles.
        frequencies: Kinds of series that it tells apart.
        frequency: The kind of all series that it is given: 0 for steps up to a day, 1 for weeks and months,
            2 for longer ones.
        mixer: Builds the mixers, ``(dim, heads)``, causal; a sequence is cycled over the depth.
        feedforward: Builds the feed-forwards, ``(dim)``.
        norm: Builds the norms of the mixers, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N, quantiles).

    Raises:
        UserError: If the context is not of whole patches, or the frequency is not one of the known.

    Source:
        Das et al. 2023, https://arxiv.org/abs/2310.10688.
    """

    def __init__(
        self,
        *,
        context_length: int = 512,
        horizon: int = 128,
        dim: int = 1280,
        depth: int = 20,
        heads: int = 16,
        patch: int = 32,
        output: int = 128,
        hidden: int = 1280,
        quantiles: Sequence[float] = LEVELS,
        frequencies: int = 3,
        frequency: int = 0,
        mixer: MixerFactories = Causal,
        feedforward: FeedForwardFactory = Rectified,
        norm: NormFactory = RMSNorm,
        block: BlockFactory = TwoNormBlock,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        if patch < 1 or output < 1 or context_length % patch:
            raise UserError(
                f"context_length {context_length} must be a multiple of patch {patch}, and output "
                f"{output} at least 1"
            )
        if not 0 <= frequency < frequencies:
            raise UserError(f"frequency {frequency} must lie between 0 and {frequencies - 1}")
        self.patch, self.output, self.frequency = patch, output, frequency
        self.quantiles = tuple(quantiles)
        self.embedding = ResidualLayers(2 * patch, hidden, dim)
        self.kind = nn.Embedding(frequencies, dim)
        self.decoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=False,
        )
        self.head = ResidualLayers(dim, hidden, output * (1 + len(self.quantiles)))

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the quantiles."""
        return self.means_and_quantiles(x, mask=mask, static=static)[..., 1:]

    def means_and_quantiles(
        self, x: Tensor, *, mask: Tensor | None = None, static: Tensor | None = None
    ) -> Tensor:
        """Returns the mean, as the model says it, and behind it the quantiles.

        Shape:
            Output: (B, horizon, N, 1 + quantiles).
        """
        self.check(x, static)
        seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        series, seen = (part.transpose(1, 2).flatten(0, 1) for part in (x, seen))
        series = series.masked_fill(~seen, 0.0)
        # Whether something is missing is asked of the numbers; a graph knows it only where no mask is given.
        whole = mask is None or (readable(mask) and bool(mask.all()))
        found: list[Tensor] = []
        for done in range(0, self.horizon, self.output):
            if done:
                ahead = found[-1][..., 0]
                series = torch.cat([series, ahead], dim=1)[:, -self.context_length :]
                known = torch.ones_like(ahead, dtype=torch.bool)
                seen = torch.cat([seen, known], dim=1)[:, -self.context_length :]
            found.append(self._next(series, seen, whole=whole))
        answer = torch.cat(found, dim=1)[:, : self.horizon]
        return answer.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)

    def _next(self, series: Tensor, seen: Tensor, *, whole: bool) -> Tensor:
        """Returns what comes next, (M, output, 1 + quantiles), of series (M, context_length)."""
        number = self.context_length // self.patch
        patches, known = (part.unflatten(1, (number, self.patch)) for part in (series, seen))
        mean, scale = first_statistics(patches, known)
        normal = ((patches - mean[:, None]) / scale[:, None]).masked_fill(~known, 0.0)
        tokens = self.embedding(torch.cat([normal, (~known).to(normal.dtype)], dim=2))
        tokens = tokens + self.kind.weight[self.frequency]
        layout = Layout() if whole else Layout(valid=known.any(dim=2))
        tokens, _ = self.decoder(tokens, layout)
        answer = self.head(tokens[:, -1]).unflatten(1, (self.output, 1 + len(self.quantiles or ())))
        return answer * scale[..., None] + mean[..., None]


def first_statistics(patches: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and deviation of the first patch with three observed values, the last one without any.

    Shape:
        patches, known: (M, P, patch). Output: (M, 1) each.
    """
    enough = known.sum(dim=2) >= ENOUGH
    place = torch.where(enough.any(dim=1), enough.int().argmax(dim=1), patches.shape[1] - 1)
    rows = torch.arange(patches.shape[0], device=patches.device)
    values, seen = patches[rows, place], known[rows, place]
    count = seen.sum(dim=1, keepdim=True).clamp_min(1)
    mean = values.masked_fill(~seen, 0.0).sum(dim=1, keepdim=True) / count
    centred = (values - mean).masked_fill(~seen, 0.0)
    return mean, (centred.square().sum(dim=1, keepdim=True) / count).sqrt().clamp_min(LEAST)
