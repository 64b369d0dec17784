"""Attention with narrow queries and values of full width."""

from typing import ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import TokenMixer
from headway.core.mixers.softmax.scores import attend, key_padding, split_heads


class ChannelAttention(TokenMixer):
    """Attention whose queries and keys are narrow, while the heads share the full width of the values.

    There is no output projection: the linear layer behind it does its work. With whole series as tokens
    this is the channel-wise attention of SAMformer.

    Args:
        dim: Channels of a token (steps of a window).
        heads: Heads, a divisor of ``dim``.
        head_dim: Width of queries and keys.
        dropout: Probability of dropping an attention weight in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Ilbert et al. 2024, https://arxiv.org/abs/2402.10198, eq. 1 and 3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self, dim: int, heads: int = 1, *, head_dim: int = 16, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if dim % heads:
            raise UserError(f"dim {dim} cannot be divided among {heads} heads; use a divisor")
        self.heads, self.head_dim, self.dropout = heads, head_dim, dropout
        self.q = nn.Linear(dim, heads * head_dim)
        self.k = nn.Linear(dim, heads * head_dim)
        self.v = nn.Linear(dim, dim)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        bias: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Attends."""
        query, key = split_heads(self.head_dim, self.q(x), self.k(x))
        (value,) = split_heads(x.shape[2] // self.heads, self.v(x))
        options = {"bias": bias, **key_padding(layout, mask)}
        out = attend(self, query, key, value, self.dropout, options)
        return out.transpose(1, 2).flatten(2)
