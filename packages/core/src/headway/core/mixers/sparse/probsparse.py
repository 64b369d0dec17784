"""ProbSparse attention of the Informer."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_factor, check_heads
from headway.core.mixers.softmax.scores import split_heads
from headway.core.ops.probsparse import probsparse_attention, sample_keys
from headway.core.systems import system
from headway.core.taps import tap, wants


class _ProbSparse(TokenMixer):
    """What self- and cross-attention share: the sample, and the report of the weights."""

    factor: float
    mix_heads: bool
    cumulative: bool = False

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        query_mask: Tensor | None,
        key_mask: Tensor | None,
    ) -> Tensor:
        sample, sample_mask = sample_keys(key.shape[2], self.factor, key_mask, random=self.training)
        for name, tensor in (("queries", query), ("keys", key), ("values", value)):
            tap(self, name, tensor)

        def attention(values: Tensor, backend: str = "auto") -> Tensor:
            return probsparse_attention(
                query,
                key,
                values,
                sample=sample,
                factor=self.factor,
                sample_mask=sample_mask,
                query_mask=query_mask,
                key_mask=key_mask,
                causal=self.causal,
                cumulative=self.cumulative,
                backend=backend,
            )

        if not wants(self, "weights"):
            return attention(value)
        # With the identity as values, the output of attention is its weights.
        identity = torch.eye(key.shape[2], dtype=value.dtype, device=value.device)
        weights = attention(identity.expand(*value.shape[:2], -1, -1), "reference")
        tap(self, "weights", weights)
        if key_mask is not None:
            value = value.masked_fill(~key_mask[:, None, :, None], 0.0)
        return weights @ value

    def _tokens(self, out: Tensor, layout: Layout) -> Tensor:
        """Returns the output of the heads, (B, H, N, D), as tokens (B, N, H * D)."""
        if not self.mix_heads:
            return out.transpose(1, 2).flatten(2)
        if layout.padded:
            raise UserError(
                f"{type(self).__name__}(mix_heads=True) mixes neighbouring tokens, padding included; "
                "build it with mix_heads=False for padded batches"
            )
        return out.reshape(out.shape[0], out.shape[2], out.shape[1] * out.shape[3])


@system(
    id=104,
    name="Informer (ProbSparse attention)",
    paper="https://arxiv.org/abs/2012.07436",
    claim="equals dense attention when every query is chosen, and follows the peaked queries when few are",
    test="packages/core/tests/ops/probsparse/test_probsparse.py",
)
class ProbSparseAttention(_ProbSparse):
    """Self-attention of the few queries that prefer some keys; the others take the mean of the values.

    One sample of the keys serves all heads and queries. It is evenly spaced in evaluation, which is then
    deterministic, and drawn anew for each call in training (so that in training, as with dropout, an item
    alone and in a batch differ).

    Args:
        dim: Channels of a token.
        heads: Heads.
        factor: ``factor * ceil(ln N)`` queries attend, and as many keys are sampled; from
            ``N / ceil(ln N)`` on it is dense attention.
        head_dim: Width of a head; ``dim / heads`` if None.
        cumulative: Whether the others take the sum of the values so far, not their mean (ACEFormer); then
            their results depend on the order of the tokens.
        causal: Whether a token sees only itself and what came before; which queries attend is still
            decided over the whole sequence, as in the published code, so it cannot run step by step.
        mix_heads: Whether the output of the heads is read as tokens without putting the heads of a token
            side by side, as published decoders and widespread ports do; it takes no padding.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim).

    Raises:
        UserError: If the heads do not divide ``dim``, or ``factor`` is not positive.

    Source:
        Zhou et al. 2020, https://arxiv.org/abs/2012.07436, section 3.2.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix", "causal"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        factor: int | float = 5,
        head_dim: int | None = None,
        causal: bool = False,
        cumulative: bool = False,
        mix_heads: bool = False,
        qkv_bias: bool = True,
        out_bias: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.factor, self.causal, self.mix_heads = check_factor(factor), causal, mix_heads
        self.cumulative = cumulative
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Attends."""
        query, key, value = split_heads(self.head_dim, *self.qkv(x).chunk(3, dim=-1))
        real = layout.token_mask(x.shape[1])
        out = self._attend(query, key, value, real, real)
        return self.out_dropout(self.projection(self._tokens(out, layout)))


class ProbSparseCrossAttention(_ProbSparse):
    """ProbSparse attention to another sequence, the ``context``, as widespread Informers have it.

    The paper attends to the encoder densely (``CrossAttention``).

    Args:
        dim: Channels of a token, and of a context token.
        heads: Heads.
        factor: As in ``ProbSparseAttention``.
        head_dim: Width of a head; ``dim / heads`` if None.
        mix_heads: Whether the output of the heads is read as tokens without putting the heads of a token
            side by side, as published decoders and widespread ports do; it takes no padding.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). context: (B, M, dim). Output: (B, N, dim).

    Source:
        The decoder layer of https://github.com/Nixtla/neuralforecast and of Time-Series-Library.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        factor: int | float = 5,
        head_dim: int | None = None,
        mix_heads: bool = False,
        qkv_bias: bool = True,
        out_bias: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.factor, self.mix_heads = check_factor(factor), mix_heads
        inner = heads * self.head_dim
        self.q = nn.Linear(dim, inner, bias=qkv_bias)
        self.kv = FusedLinear(dim, {"k": inner, "v": inner}, bias=qkv_bias)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

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
            raise UserError("ProbSparseCrossAttention needs context=, the sequence to attend to")
        query, key, value = split_heads(
            self.head_dim, self.q(x), *self.kv(context).chunk(2, dim=-1)
        )
        memory = None if context_layout is None else context_layout.token_mask(context.shape[1])
        out = self._attend(query, key, value, layout.token_mask(x.shape[1]), memory)
        return self.out_dropout(self.projection(self._tokens(out, layout)))
