"""Attention to several sets of tokens at once, and small networks of points, both for GNOT."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.blocks.block import MixerFactory
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import check_heads
from headway.core.mixers.kernelized.normalized_linear import normalized_linear
from headway.core.mixers.softmax.scores import split_heads
from headway.core.module import Module


class PointNetwork(Module):
    """A network of single points, whose hidden layers are added to what they read.

    Args:
        inputs: Numbers of a point.
        dim: Hidden channels.
        outputs: Numbers that it returns.
        layers: Hidden layers.

    Shape:
        x: (..., inputs). Output: (..., outputs).

    Source:
        Hao et al. 2023 (GNOT), https://arxiv.org/abs/2302.14376, and its code (mlp.py).
    """

    def __init__(self, inputs: int, dim: int, outputs: int, *, layers: int = 2) -> None:
        super().__init__()
        if layers < 0:
            raise UserError(f"layers must not be negative, got {layers}")
        self.enter = nn.Linear(inputs, dim)
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(layers))
        self.leave = nn.Linear(dim, outputs)
        self.activation = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Transforms each point."""
        x = self.activation(self.enter(x))
        for layer in self.layers:
            x = x + self.activation(layer(x))
        return self.leave(x)


class HeterogeneousAttention(Module):
    """Normalised linear attention of the same queries to several sets, whose results are added up.

    Each set has keys and values of its own; the queries themselves are added, too, and one projection
    reads the sum.

    Args:
        dim: Channels of a token.
        heads: Heads.
        functions: Sets.

    Shape:
        x: (B, N, dim). sets: (B, M_i, dim) each. Output: the same as x.

    Source:
        Hao et al. 2023 (GNOT), https://arxiv.org/abs/2302.14376, section 3.3 and its code, which adds where
        eq. 13 averages.
    """

    def __init__(self, dim: int, heads: int, functions: int) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, None)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.ModuleList(FusedLinear(dim, {"k": dim, "v": dim}) for _ in range(functions))
        self.projection = nn.Linear(dim, dim)

    def forward(
        self, x: Tensor, layout: Layout, sets: Sequence[Tensor], layouts: Sequence[Layout]
    ) -> Tensor:
        """Attends to all sets."""
        [query] = split_heads(self.head_dim, self.q(x))
        query = query.softmax(dim=-1)
        out = query
        for kv, tokens, places in zip(self.kv, sets, layouts, strict=True):
            real = places.token_mask(tokens.shape[1])
            key, value = split_heads(self.head_dim, *kv(tokens).chunk(2, dim=-1))
            out = out + normalized_linear(query, key, value, real)
        return self.projection(out.transpose(1, 2).flatten(2))


class AveragedMixers(Module):
    """A mixer of its own for each set, averaged: eq. 13 for any mixer that reads a context.

    Args:
        dim: Channels of a token.
        heads: Heads.
        functions: Sets.
        mixer: Builds the mixers, ``(dim, heads)``.

    Shape:
        x: (B, N, dim). sets: (B, M_i, dim) each. Output: the same as x.
    """

    def __init__(self, dim: int, heads: int, functions: int, *, mixer: MixerFactory) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(mixer(dim, heads) for _ in range(functions))

    def forward(
        self, x: Tensor, layout: Layout, sets: Sequence[Tensor], layouts: Sequence[Layout]
    ) -> Tensor:
        """Attends to each set and averages."""
        read = [
            mixer(x, layout, context=tokens, context_layout=places)
            for mixer, tokens, places in zip(self.mixers, sets, layouts, strict=True)
        ]
        return torch.stack(read).mean(dim=0)
