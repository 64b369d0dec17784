"""Self-attention with a bias of distances that every query opens or closes."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.softmax.self_attention import SelfAttention, add_bias
from headway.core.positions import BucketedBias
from headway.core.systems import system

# Buckets and reach of the published models.
FAR_BUCKETS = partial(BucketedBias, buckets=320, max_distance=800)
# Each gate is a sum of so many projections.
SUMMED = 4


@system(
    id=None,
    name="WavLM",
    paper="https://arxiv.org/abs/2110.13900",
    claim="what a token holds opens and closes its bias of distances; with copied weights the model is that "
    "of transformers, and without gates it is another one",
    test="packages/speech/tests/models/test_wav2vec2.py",
)
class GatedBiasAttention(SelfAttention):
    """Softmax attention whose scores get a learned bias of distances, scaled by two gates of the query.

    Of the channels of each head, before any projection, come an update gate ``a`` and a reset gate ``b``; the
    bias counts ``a (b s - 1) + 2`` times, with ``s`` learned for each head.

    Args:
        dim: Channels of a token.
        heads: Heads, a divisor of ``dim``.
        relative: Builds the biases of distances, ``(heads, head_dim)``.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). bias, mask: broadcastable to (B, heads, N, N). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2110.13900, section 3.1.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "offsets", "sizes"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        relative: Callable[[int, int], BucketedBias] = FAR_BUCKETS,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, heads, dropout=dropout, out_dropout=out_dropout)
        self.relative = relative(heads, self.head_dim)
        self.gates = nn.Linear(self.head_dim, 2 * SUMMED)
        self.strength = nn.Parameter(torch.ones(heads))

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        bias: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
    ) -> Tensor:
        """Attends."""
        if cache is not None:
            raise UserError(
                "GatedBiasAttention reads whole sequences; use SelfAttention to decode step by step"
            )
        bias = add_bias(bias, self._gate(x) * self._distances(x, layout))
        return super().mix(x, layout, bias=bias, mask=mask, cache=None)

    def _gate(self, x: Tensor) -> Tensor:
        """Returns how much the bias of each query counts, (B, heads, N, 1)."""
        each = x.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
        both = self.gates(each).unflatten(-1, (2, SUMMED)).sum(dim=-1).sigmoid()
        update, reset = both.chunk(2, dim=-1)
        return update * (reset * self.strength[:, None, None] - 1) + 2

    def _distances(self, x: Tensor, layout: Layout) -> Tensor:
        """Returns the biases, (B or 1, heads, N, N)."""
        positions = layout.token_positions(x.shape[1], x.device)
        index = self.relative.index(positions, positions)
        return self.relative.table.to(x.dtype)[index].permute(0, 3, 1, 2)
