"""Linear attention to another set of tokens, with normalised queries and keys."""

from typing import ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import split_heads
from headway.core.systems import system


def normalized_linear(
    query: Tensor, key: Tensor, value: Tensor, real: Tensor | None = None
) -> Tensor:
    """Returns values weighed by products of softmaxes over channels, in linear time.

    Args:
        query: Queries, normalised already.
        key: Keys, not normalised.
        value: Values.
        real: True for keys that count; None if all do.

    Shape:
        query: (B, H, N, D), adding up to 1 over D. key, value: (B, H, M, D). real: (B, M). Output: as query.

    Source:
        Hao et al. 2023 (GNOT), https://arxiv.org/abs/2302.14376, eq. 9 to 11.
    """
    key = key.softmax(dim=-1)
    if real is not None:
        key = key.masked_fill(~real[:, None, :, None], 0.0)
    total = query @ key.sum(dim=2)[..., None]
    # A set without a member gives nothing.
    return query @ (key.transpose(2, 3) @ value) / total.clamp_min(1e-20)


@system(
    id=512,
    name="GNOT (normalised linear attention)",
    paper="https://arxiv.org/abs/2302.14376",
    claim="softmax over the channels of queries and keys: weights that add up to 1, in linear time",
    test="packages/core/tests/parts/mixers/kernelized/test_normalized_linear.py",
)
class NormalizedLinearCrossAttention(TokenMixer):
    """Attention whose weights are products of queries and keys that are softmaxes over their own channels.

    The weights of a query are positive and add up to 1, and are never made: keys and values are summed
    first. With ``context=x`` it is self-attention. The normalised queries are added before the output
    projection, as in the authors' code.

    Args:
        dim: Channels of a token.
        heads: Heads.
        context_dim: Channels of a context token; ``dim`` if None.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        query_residual: Whether the normalised queries are added to what was read.

    Shape:
        x: (B, N, dim). context: (B, M, context_dim). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Hao et al. 2023 (GNOT), https://arxiv.org/abs/2302.14376, eq. 9 to 11.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        query_residual: bool = True,
    ) -> None:
        super().__init__()
        self.query_residual = query_residual
        self.head_dim = check_heads(dim, heads, head_dim)
        inner = heads * self.head_dim
        self.q = nn.Linear(dim, inner, bias=qkv_bias)
        self.kv = FusedLinear(context_dim or dim, {"k": inner, "v": inner}, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
        *,
        context: Tensor | None,
        context_layout: Layout | None,
    ) -> Tensor:
        """Attends to the context."""
        if context is None:
            raise UserError(
                "NormalizedLinearCrossAttention needs context=, the set to attend to (x itself, perhaps)"
            )
        real = None if context_layout is None else context_layout.token_mask(context.shape[1])
        if real is not None:
            context = context.masked_fill(~real[..., None], 0.0)
        [query] = split_heads(self.head_dim, self.q(x))
        key, value = split_heads(self.head_dim, *self.kv(context).chunk(2, dim=-1))
        query = query.softmax(dim=-1)
        out = normalized_linear(query, key, value, real)
        if self.query_residual:
            out = out + query
        return self.projection(out.transpose(1, 2).flatten(2))
