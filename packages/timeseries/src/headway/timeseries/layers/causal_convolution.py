"""Convolutions that see no future, and the embedding of the LMUFormer made of them."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.cache import RecurrentCache
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import FeedForward
from headway.core.feedforward.base import hidden_width
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.norms import MaskedBatchNorm


class CausalConvolution(Module):
    """A convolution over the last steps, all at once or in pieces of any length.

    Args:
        inputs: Channels that it reads.
        outputs: Channels that it writes.
        window: Steps that it sees, the newest included.

    Shape:
        x: (B, N, inputs). Output: (B, N, outputs).
    """

    def __init__(self, inputs: int, outputs: int, window: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, window, bias=False)

    def forward(self, x: Tensor, cache: RecurrentCache | None = None) -> Tensor:
        """Convolves; remembers the last steps in the cache."""
        before = self.convolution.kernel_size[0] - 1
        positions = x.transpose(1, 2)
        if cache is None:
            return self.convolution(F.pad(positions, (before, 0))).transpose(1, 2)
        positions = torch.cat([cache.state.to(positions.dtype), positions], dim=2)
        cache.state = positions[:, :, positions.shape[2] - before :]
        cache.lengths = cache.lengths + x.shape[1]
        return self.convolution(positions).transpose(1, 2)

    def init_cache(self, batch: int) -> RecurrentCache:
        """Returns zeros before the first step."""
        weight = self.convolution.weight
        return RecurrentCache(weight.new_zeros(batch, weight.shape[1], weight.shape[2] - 1))


class ConvolutionalEmbedding(Module):
    """Causal convolutions with ReLU and batch norm between the values and the tokens.

    The last one is added to what it reads, in the place of positions.

    Args:
        features: Values of a step.
        dim: Channels of a token.
        depth: Convolutions before the last.
        window: Steps that each of them sees.

    Shape:
        x: (B, N, features). Output: (B, N, dim).

    Raises:
        UserError: If a size is below 1.

    Source:
        Liu et al. 2024, https://arxiv.org/abs/2402.04882, section 4.2. There each convolution sees one step
        of the future; here none does, so that the model can follow a stream.
    """

    def __init__(self, features: int, dim: int, *, depth: int = 4, window: int = 3) -> None:
        super().__init__()
        for name, value in (("depth", depth), ("window", window)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        widths = [features] + [dim] * depth
        self.convolutions = nn.ModuleList(
            CausalConvolution(inputs, outputs, window) for inputs, outputs in pairwise(widths)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(dim) for _ in range(depth))
        self.position = CausalConvolution(dim, dim, window)

    def forward(
        self,
        x: Tensor,
        caches: list[RecurrentCache] | None = None,
        layout: Layout | None = None,
    ) -> Tensor:
        """Returns the tokens."""
        real = layout.token_mask(x.shape[1]) if layout is not None else None
        own = iter(caches) if caches is not None else None
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x, next(own) if own is not None else None).relu(), real)
        return x + self.position(x, next(own) if own is not None else None)

    def init_cache(self, batch: int) -> list[RecurrentCache]:
        """Returns a cache for each convolution."""
        parts = [*self.convolutions, self.position]
        return [part.init_cache(batch) for part in parts if isinstance(part, CausalConvolution)]


class ConvolutionalChannelMixer(FeedForward):
    """Two convolutions over single steps, each with a batch norm and an activation.

    Args:
        dim: Channels of a token.
        mlp_ratio: Hidden width as a multiple of ``dim``.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Liu et al. 2024, https://arxiv.org/abs/2402.04882, section 4.3.
    """

    def __init__(self, dim: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = hidden_width(dim, None, mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.hidden_norm = MaskedBatchNorm(hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.norm = MaskedBatchNorm(dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Transforms each token."""
        real = layout.token_mask(x.shape[1]) if layout is not None else None
        hidden = self.dropout(F.gelu(self.hidden_norm(self.fc1(x), real)))
        return self.dropout(self.norm(self.fc2(hidden), real).relu())
