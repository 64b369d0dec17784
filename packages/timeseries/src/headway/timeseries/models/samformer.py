"""SAMformer: one layer of attention among series, trained towards flat minima."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.blocks.block import MixerFactory
from headway.core.systems import system
from headway.timeseries.layers import ChannelAttention, WindowNorm, series_layout
from headway.timeseries.models.base import ForecastingModel, new_head


@system(
    id=124,
    name="SAMformer",
    paper="https://arxiv.org/abs/2402.10198",
    claim="one layer of channel-wise attention on a residual branch before a linear forecast, trained with "
    "sharpness-aware minimisation",
    test="packages/timeseries/tests/models/test_samformer.py",
)
class SAMformer(ForecastingModel):
    """Normalised windows, one layer of attention among the series, one linear layer to the future.

    Train it with the optimiser ``SAM`` (``headway.core.training``): with plain Adam the attention stays
    where it began, says the paper. The number of series is free unless the normalisation is an
    ``AffineWindowNorm`` that learns for each of them, as in the authors' code.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        heads: Heads of the mixer.
        mixer: Builds the mixer of the series, ``(context_length, heads)``.
        normalization: Builds what normalises the window.

    Shape:
        x, mask: (B, context_length, N). Output: (B, horizon, N). A series of which nothing was observed is
        padding: it changes no other one.

    Source:
        Ilbert et al. 2024, https://arxiv.org/abs/2402.10198.
    """

    def __init__(
        self,
        *,
        context_length: int = 512,
        horizon: int = 96,
        heads: int = 1,
        mixer: MixerFactory = ChannelAttention,
        normalization: Callable[[], WindowNorm] = WindowNorm,
    ) -> None:
        super().__init__(context_length=context_length, horizon=horizon)
        self.normalization = normalization()
        self.mixer = mixer(context_length, heads)
        self.head = nn.Linear(context_length, horizon)

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
        x, statistics = self.normalization(x, mask)
        tokens = x.transpose(1, 2)
        tokens = tokens + self.mixer(tokens, series_layout(mask))
        return self.normalization.inverse(self.head(tokens).transpose(1, 2), statistics)

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with a new head."""
        super().set_horizon(horizon)
        self.head = new_head(self.head, horizon)
