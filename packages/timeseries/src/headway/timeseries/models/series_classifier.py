"""Classes of whole series, from an encoder of any mixer."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.heads.pooling import PoolingLayer
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions.sinusoidal import SinusoidalPosition
from headway.core.stacks import Encoder
from headway.timeseries.layers import zero_unknown


class SeriesClassifier(Module):
    """A convolution makes tokens of stretches of a series, blocks of any mixer and a pooling read them.

    Args:
        features: Values of a step.
        num_classes: Classes.
        dim: Channels of a token, even.
        depth: Number of blocks.
        heads: Heads of the mixers.
        window: Steps that a token reads, odd.
        stride: Steps from one token to the next.
        mixer: Builds the mixer, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``.
        pooling: Builds the pooling, ``(dim)``.
        dropout: Probability of dropping a channel of a token, and of the pooled vector, in training.

    Shape:
        x, mask: (B, T, features), any T. lengths: (B,). Output: (B, num_classes).

    Raises:
        UserError: If ``window`` is even or a size is below 1.
    """

    def __init__(
        self,
        *,
        features: int,
        num_classes: int,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        window: int = 3,
        stride: int = 1,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        block: BlockFactory = PreNormBlock,
        pooling: Callable[[int], PoolingLayer] = AveragePooling,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(f"window is {window}; a token reads an odd number of steps, such as 3")
        if stride < 1:
            raise UserError(f"stride is {stride}; tokens are at least 1 step apart")
        self.features, self.num_classes, self.stride = features, num_classes, stride
        self.embedding = nn.Conv1d(features, dim, window, stride=stride, padding=window // 2)
        self.position = SinusoidalPosition(dim)
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm, block=block
        )
        self.head = ClassificationHead(dim, num_classes, pooling=pooling, dropout=dropout)

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Returns the logits.

        Args:
            x: The series; what stands behind their ends and in the place of missing values does not matter.
            lengths: Steps of each right-padded series; None if all are real.
            mask: True where a value was observed; None if all were.
        """
        check_series(self, x, self.features)
        tokens = self.embedding(zero_unknown(x, mask, lengths).transpose(1, 2)).transpose(1, 2)
        layout = Layout()
        if lengths is not None:
            layout = Layout(lengths=(lengths - 1) // self.stride + 1)
        positions = Layout(positions=Layout().token_positions(tokens.shape[1], x.device))
        tokens = tokens + self.position(positions, tokens.shape[1]).to(tokens.dtype)
        tokens, after = self.encoder(self.dropout(tokens), layout)
        return self.head(tokens, after)


def check_series(model: nn.Module, x: Tensor, features: int) -> None:
    """Raises if ``x`` cannot be a batch of series with so many values of a step."""
    if x.ndim != 3 or x.shape[2] != features or not x.shape[1]:
        raise UserError(
            f"this {type(model).__name__} reads series (B, T, {features}), got {tuple(x.shape)}; build it "
            "with features= the number of channels"
        )
