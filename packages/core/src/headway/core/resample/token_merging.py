"""Merging of similar tokens."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.sublayer import Sublayer
from headway.core.systems import system


@system(
    id=None,
    name="ToMe",
    paper="https://arxiv.org/abs/2210.09461",
    claim="the most similar tokens are merged to means weighted by what they stand for",
    test="packages/core/tests/parts/test_resample_and_heads.py",
)
class TokenMerging(Sublayer):
    """Merges the ``amount`` most similar pairs of tokens; the mean is weighted by what they stand for.

    The tokens are split into two sets by turns; each of the first set is joined to its most similar
    one of the second set, and only the most similar joins are made. Prefix tokens stay as they are.
    ``layout.sizes`` counts what a token stands for, ``layout.positions`` holds the weighted mean place.

    Args:
        amount: Tokens to remove; at most half of those behind the prefix are.

    Shape:
        x: (B, N, C). Output: (B, N - amount, C) and its layout.

    Source:
        Bolya et al. 2022, https://arxiv.org/abs/2210.09461, section 3. Similarity is the cosine of the
        tokens themselves instead of the mean key, so that any mixer will do.
    """

    def __init__(self, amount: int) -> None:
        super().__init__()
        if amount < 0:
            raise UserError(f"amount must not be negative, got {amount}")
        self.amount = amount

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout]:
        """Merges similar tokens."""
        layout = layout if layout is not None else Layout()
        if layout.padded or layout.offsets is not None:
            raise UserError("TokenMerging takes items without padding: batch items of equal length")
        if layout.embedding is not None:
            raise UserError("TokenMerging does not merge layout.embedding; use another position")
        batch, tokens, channels = x.shape
        amount = min(self.amount, (tokens - layout.prefix) // 2)
        if amount == 0:
            return x, layout
        sizes = layout.sizes if layout.sizes is not None else x.new_ones(batch, tokens)
        positions = layout.token_positions(tokens, x.device).expand(batch, -1, -1)
        # What moves together: value * size, place * size, size. Sums of these are merges.
        weight = sizes[..., None].to(x.dtype)
        carried = torch.cat([x * weight, positions.to(x.dtype) * weight, weight], dim=-1)
        prefix, places = carried[:, : layout.prefix], carried[:, layout.prefix :]
        unit = F.normalize(x[:, layout.prefix :].float(), dim=-1)
        score, partner = (unit[:, 0::2] @ unit[:, 1::2].mT).max(dim=-1)
        order = score.argsort(dim=-1, descending=True, stable=True)
        merged, kept = order[:, :amount], order[:, amount:].sort(dim=-1).values
        first, second = places[:, 0::2], places[:, 1::2]
        moving = first.gather(1, _columns(merged, first))
        target = partner.gather(1, merged)
        second = second.scatter_add(1, _columns(target, second), moving)
        joined = torch.cat([prefix, first.gather(1, _columns(kept, first)), second], dim=1)
        size = joined[..., -1:]
        out = joined[..., :channels] / size
        return out, layout.without_places().replace(
            positions=(joined[..., channels:-1] / size).float(), sizes=size[..., 0]
        )


def _columns(rows: Tensor, like: Tensor) -> Tensor:
    """Repeats (B, k) indices over the channels of (B, N, C), for gather and scatter."""
    return rows[..., None].expand(-1, -1, like.shape[-1])


def unmerge(values: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """Returns for each original place the value of the nearest merged token.

    Shape:
        values: (B, N). positions: (B or 1, M, axes), the original places. Output: (B, M).
    """
    if layout.positions is None:
        return values
    placed = layout.positions[:, layout.prefix :]
    nearest = torch.cdist(positions.expand(len(placed), -1, -1).float(), placed.float()).argmin(-1)
    return values[:, layout.prefix :].gather(1, nearest)
