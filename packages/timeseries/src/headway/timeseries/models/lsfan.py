"""L-SFAN: convolutions over time and sensors, and attention among the sensors."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from headway.core.blocks.block import MixerFactory
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.heads.classification import classifier
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import MaskedBatchNorm
from headway.core.systems import system
from headway.timeseries.layers import zero_unknown
from headway.timeseries.models.series_classifier import check_series


@system(
    id=236,
    name="L-SFAN",
    paper="https://arxiv.org/abs/2406.16913",
    claim="pooled over time alone, sensors stay apart, and attention relates those that no filter spans",
    test="packages/timeseries/tests/models/test_lsfan.py",
)
class LSFAN(Module):
    """A small classifier of sensor readings: 2-D convolutions, pooling over time, attention over sensors.

    The readings are a picture of one channel, time by sensors. After the convolutions each sensor is averaged
    over time alone, so that it remains a token of its own; the tokens inform each other by attention, beside
    which they go on as they are, and a linear layer reads all of them.

    Args:
        features: Sensors.
        num_classes: Classes.
        channels: Channels of the convolutions, one after the other.
        window: Steps that a filter spans, odd.
        reach: Sensors that a filter spans, odd.
        heads: Heads of the mixer.
        mixer: Builds the mixer of the sensors, ``(dim, heads)``.
        dropout: Probability of dropping a number that the linear layer reads, in training.

    Shape:
        x, mask: (B, T, features), any T. lengths: (B,). Output: (B, num_classes).

    Raises:
        UserError: If there is no convolution, or a filter spans an even number of steps or sensors.

    Source:
        Ortigoso-Narro et al. 2024, https://arxiv.org/abs/2406.16913: 2-D filters over time and sensors,
        pooling along time, multi-head self-attention over what is left. Its abstract and summaries were
        read; the number and size of the filters, the path around the attention and the layer behind it
        could not be verified and are choices of this module.
    """

    def __init__(
        self,
        *,
        features: int,
        num_classes: int,
        channels: Sequence[int] = (16, 32),
        window: int = 5,
        reach: int = 3,
        heads: int = 4,
        mixer: MixerFactory = SelfAttention,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not channels:
            raise UserError("channels is empty; give the width of at least one convolution")
        for name, value in (("window", window), ("reach", reach)):
            if value < 1 or value % 2 == 0:
                raise UserError(f"{name} is {value}; a filter spans an odd number, such as 3")
        self.features, self.num_classes = features, num_classes
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (window, reach), padding=(window // 2, reach // 2))
            for inputs, outputs in pairwise((1, *channels))
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in channels)
        self.mixer = mixer(channels[-1], heads)
        self.dropout = Dropout(dropout)
        self.head = classifier(channels[-1] * features, num_classes)

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Returns the logits.

        Args:
            x: The readings; what stands behind their ends and in the place of missing values does not
                matter.
            lengths: Steps of each right-padded series; None if all are real.
            mask: True where a value was observed; None if all were.
        """
        check_series(self, x, self.features)
        maps = zero_unknown(x, mask, lengths)[:, None]
        real = None
        if lengths is not None:
            steps = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
            real = steps[:, None, :, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = _normalized(norm, convolution(maps), real).relu()
            if real is not None:
                # As the zeros behind the end of a series that stands alone.
                maps = maps.masked_fill(~real, 0.0)
        count = x.shape[1] if lengths is None else lengths[:, None, None]
        sensors = (maps.sum(dim=2) / count).transpose(1, 2)
        sensors = sensors + self.mixer(sensors)
        return self.head(self.dropout(sensors.flatten(1)))


def _normalized(norm: nn.Module, maps: Tensor, real: Tensor | None) -> Tensor:
    """Applies a norm of tokens to each position of maps, (B, C, T, N)."""
    tokens = maps.flatten(2).transpose(1, 2)
    positions = None if real is None else real.expand(-1, 1, -1, maps.shape[3]).flatten(1)
    return norm(tokens, positions).transpose(1, 2).unflatten(2, maps.shape[2:])
