"""Nyström attention: softmax attention from a few landmarks, without the matrix of all pairs."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import key_padding, split_heads
from headway.core.ops import attention
from headway.core.ops.kernels.operators import without_autocast
from headway.core.systems import system


@system(
    id=None,
    name="Nystromformer (Nyström attention)",
    paper="https://arxiv.org/abs/2102.03902",
    claim="landmarks, the means of segments, give softmax attention in linear time: the more of them the "
    "nearer, and with one per token exactly",
    test="packages/core/tests/parts/mixers/kernelized/test_nystrom_attention.py",
)
class NystromAttention(TokenMixer):
    """Tokens attend to landmarks, landmarks to tokens, and an inverse stands between the two.

    Queries and keys are averaged over segments of equal length, the last of them shorter where the tokens
    do not divide evenly; of a picture, over stretches of its rows. An item of no more tokens than landmarks
    gets softmax attention itself. Padding enters neither landmarks nor keys, and an item is cut into
    segments by its own number of tokens.

    Args:
        dim: Channels of a token.
        heads: Heads.
        landmarks: Segments of an item at most.
        iterations: Steps towards the inverse.
        conv: Length in tokens, odd, of a convolution of each head's values that is added to what comes
            out, padding as zeros; none if None.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the heads do not divide ``dim``, a number is below 1, or ``conv`` is even.

    Source:
        Xiong et al. 2021, https://arxiv.org/abs/2102.03902, algorithm 1. Every matrix begins its inverse
        with its own norm; the authors' code takes the largest of the batch, so that theirs depends on it.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        *,
        landmarks: int = 64,
        iterations: int = 6,
        conv: int | None = None,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
    ) -> None:
        super().__init__()
        if landmarks < 1 or iterations < 1:
            raise UserError(f"landmarks {landmarks} and iterations {iterations} must be at least 1")
        if conv is not None and (conv < 1 or conv % 2 == 0):
            raise UserError(f"conv must be odd and positive, got {conv}; use {max(conv, 0) + 1}")
        self.head_dim = check_heads(dim, heads, head_dim)
        self.landmarks, self.iterations = landmarks, iterations
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.conv = (
            nn.Conv2d(heads, heads, (conv, 1), padding=(conv // 2, 0), groups=heads, bias=False)
            if conv is not None
            else None
        )
        self.projection = nn.Linear(inner, dim, bias=out_bias)

    def mix(self, x: Tensor, layout: Layout) -> Tensor:
        """Attends by way of the landmarks."""
        tokens = x.shape[1]
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)
        query, key, value = split_heads(self.head_dim, queries, keys, values)
        hidden = key_padding(layout, None)
        # The number of tokens of an exported graph may be open: then nothing is decided here.
        if isinstance(tokens, int) and tokens <= self.landmarks:
            out = attention(query, key, value, **hidden)
        else:
            member, few = self._segments(x, layout)
            average = member.to(queries) / member.sum(-1, keepdim=True).clamp_min(1).to(queries)
            marks = [average @ part for part in (queries, keys)]
            mark_query, mark_key = split_heads(self.head_dim, *marks)
            seen = member.any(-1)[:, None]
            # As in Q K' (Q' K')^+ Q' K, from the right: nothing is as large as all pairs.
            summary = attention(mark_query, key, value, **hidden)
            with without_autocast(x):
                inverse = self._inverse(mark_query, mark_key, seen)
                weighed = (inverse @ summary.to(inverse.dtype)).to(summary.dtype)
            out = attention(query, mark_key, weighed, mask=seen[..., None, :])
            if layout.padded or not isinstance(tokens, int):
                # Tokens that are landmarks themselves: what stands before the summary is the identity.
                own = member.mT.to(summary) @ summary.transpose(1, 2).flatten(2)
                own = own.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
                out = torch.where(few[:, None, None, None], own, out)
        if self.conv is not None:
            real = layout.token_mask(tokens)
            shown = value if real is None else value.masked_fill(~real[:, None, :, None], 0.0)
            out = out + self.conv(shown)
        return self.projection(out.transpose(1, 2).flatten(2))

    def _segments(self, x: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Returns which tokens a landmark stands for, and whether an item has one landmark per token.

        Shape:
            Output: (B or 1, landmarks, N) and (B or 1,).
        """
        real = layout.token_mask(x.shape[1])
        if real is None:
            real = torch.ones(1, x.shape[1], dtype=torch.bool, device=x.device)
        position, count = real.cumsum(1) - 1, real.sum(1)
        length = ((count + self.landmarks - 1) // self.landmarks).clamp_min(1)
        segment = position // length[:, None]
        marks = torch.arange(self.landmarks, device=x.device)[:, None]
        return (segment[:, None] == marks) & real[:, None], count <= self.landmarks

    def _inverse(self, query: Tensor, key: Tensor, seen: Tensor) -> Tensor:
        """Returns about the pseudo-inverse of the landmarks' weights, at least float32.

        Shape:
            query, key: (B, H, landmarks, D). seen: (B or 1, 1, landmarks), True where a landmark has
            tokens. Output: (B, H, landmarks, landmarks).
        """
        wide = torch.promote_types(query.dtype, torch.float32)
        scores = (query.to(wide) * query.shape[-1] ** -0.5) @ key.to(wide).mT
        scores = scores.masked_fill(~seen[..., None, :], torch.finfo(wide).min)
        # Rows and columns without tokens are zero, and are so in the inverse.
        weights = scores.softmax(-1).masked_fill(~seen[..., None], 0.0)
        # Rows sum to 1, so the largest column sum is at least 1, unless an item has no tokens.
        inverse = weights.mT / weights.sum(-2).amax(-1)[..., None, None].clamp_min(1)
        one = torch.eye(self.landmarks, dtype=wide, device=weights.device)
        for _ in range(self.iterations):
            product = weights @ inverse
            inverse = (
                inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product))) / 4
            )
        return inverse
