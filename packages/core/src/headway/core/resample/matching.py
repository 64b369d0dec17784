"""Which tokens are merged, and the merging itself."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout


@dataclass(frozen=True, eq=False, kw_only=True)
class Groups:
    """Which tokens become one.

    Args:
        index: The merged token that each token goes into; they stand in the order of the tokens that
            stay. Padding goes nowhere (any number).
        reads: The merged token whose result each token gets back.
        tokens: Merged tokens of a row.
        lengths: How many of them are real; all if None.
        seats: True for the tokens that give a merged one its position; if None the position is the mean.

    Shape:
        index, reads, seats: (B, N). lengths: (B,).
    """

    index: Tensor
    reads: Tensor
    tokens: int
    lengths: Tensor | None = None
    seats: Tensor | None = None


class Matching(ABC):
    """Decides which tokens are merged.

    Attributes:
        causal: Whether what a token gets back depends on itself and on earlier tokens alone.
    """

    causal: bool = False

    @abstractmethod
    def __call__(self, x: Tensor, layout: Layout) -> Groups | None:
        """Returns the groups, or None if every token stays as it is."""


class MostSimilar(Matching):
    """The most similar pairs of the whole item.

    The tokens behind the prefix are split into two sets by turns; each of the first set is matched with
    its most similar one of the second set, and only the most similar matches are merged. Padding is
    neither counted nor matched.

    Args:
        amount: Tokens to remove from each item; at most half of those behind the prefix are.
        ratio: The share of the tokens behind the prefix to remove instead, at most 0.5.

    Raises:
        UserError: If both or neither are given, or one is out of range.

    Source:
        Bolya et al. 2022, https://arxiv.org/abs/2210.09461, section 3. Similarity is the cosine of the
        tokens themselves instead of the mean key, so that any mixer will do.
    """

    def __init__(self, *, amount: int | None = None, ratio: float | None = None) -> None:
        if (amount is None) == (ratio is None):
            raise UserError("give how many tokens to merge, either as amount or as ratio")
        if amount is not None and amount < 0:
            raise UserError(f"amount must not be negative, got {amount}")
        if ratio is not None and not 0.0 <= ratio <= 0.5:
            raise UserError(f"ratio must be between 0 and 0.5 (tokens merge in pairs), got {ratio}")
        self.amount, self.ratio = amount, ratio

    def __call__(self, x: Tensor, layout: Layout) -> Groups | None:
        """Matches the two sets."""
        _refuse_packing(layout)
        batch, tokens, _ = x.shape
        positions = tokens - layout.prefix
        removed = self._removed(positions)
        if removed == 0:
            return None
        order = _real_first(layout, tokens)
        unit = _unit(x, order)[:, layout.prefix :]
        scores = unit[:, 0::2] @ unit[:, 1::2].mT
        count = _count(layout, tokens)
        wanted = None
        if count is not None:
            # Tokens behind the end of a row: of the second set nobody's partner, of the first the last.
            ends = (count - layout.prefix)[:, None]
            rank = torch.arange(positions, device=x.device)
            scores = scores.masked_fill((rank[1::2] >= ends)[:, None], -torch.inf)
            scores = scores.masked_fill((rank[0::2] >= ends)[..., None], -torch.inf)
            wanted = self._removed_of(ends.clamp_min(0))
        score, partner = scores.max(dim=-1)
        best = score.argsort(dim=-1, descending=True, stable=True)
        chosen = torch.arange(best.shape[1], device=x.device) < (
            removed if wanted is None else wanted
        )
        merges = torch.zeros_like(best, dtype=torch.bool).scatter(1, best, chosen.expand_as(best))
        goes = torch.zeros(batch, tokens, dtype=torch.bool, device=x.device)
        goes[:, layout.prefix :: 2] = merges
        target = torch.arange(tokens, device=x.device).repeat(batch, 1)
        target[:, layout.prefix :: 2] = torch.where(
            merges, layout.prefix + 1 + 2 * partner, target[:, layout.prefix :: 2]
        )
        seat = (~goes).cumsum(dim=1) - 1
        index = seat.gather(1, target)
        if order is not None:
            index = torch.zeros_like(index).scatter(1, order, index)
        return Groups(
            index=index,
            reads=index,
            # An item with fewer tokens keeps no more than one with all of them.
            tokens=tokens - removed,
            lengths=None if count is None or wanted is None else count - wanted[:, 0],
        )

    def _removed(self, tokens: int) -> int:
        if self.amount is not None:
            return min(self.amount, tokens // 2)
        assert self.ratio is not None
        return int(self.ratio * tokens)

    def _removed_of(self, tokens: Tensor) -> Tensor:
        if self.amount is not None:
            return (tokens // 2).clamp_max(self.amount)
        assert self.ratio is not None
        return (self.ratio * tokens.double()).long()


class Neighbours(Matching):
    """Pairs of neighbours, decided without looking ahead.

    Behind the prefix the second and third token of three in a row, counted from an even position, become
    one if each resembles the one before it. The merged token sits at the later position. The earlier position
    reads the merged token before it, which holds the first of the three: whatever a token gets back is
    known when it comes, even whether it was merged.

    Args:
        threshold: The least cosine of the angle between neighbours that count as similar; with -1 all
            are, with more than 1 none.
    """

    causal = True

    def __init__(self, *, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, x: Tensor, layout: Layout) -> Groups | None:
        """Compares neighbours."""
        _refuse_packing(layout)
        tokens = x.shape[1]
        order = _real_first(layout, tokens)
        unit = _unit(x, order)
        similar = torch.zeros(x.shape[:2], dtype=torch.bool, device=x.device)
        similar[:, 1:] = (unit[:, 1:] * unit[:, :-1]).sum(-1) >= self.threshold
        similar[:, : layout.prefix + 1] = False
        count = _count(layout, tokens)
        if count is not None:
            similar &= torch.arange(tokens, device=x.device) < count[:, None]
        rank = torch.arange(tokens, device=x.device) - layout.prefix
        # What position 2i reads is known at 2i; whether it is merged with 2i + 1, only then.
        held = similar & (rank % 2 == 0)
        goes = torch.zeros_like(held)
        goes[:, :-1] = held[:, :-1] & similar[:, 1:]
        ends = (~goes).cumsum(dim=1)
        index = ends - 1 + goes.long()
        # A held position reads the last token that ended before it.
        reads = torch.where(held, ends - 2 + goes.long(), index)
        kept = ends[:, -1] if count is None else count - goes.sum(dim=1)
        seats = ~goes
        if order is not None:
            index, reads = (torch.zeros_like(v).scatter(1, order, v) for v in (index, reads))
            seats = torch.zeros_like(seats).scatter(1, order, seats)
        return Groups(index=index, reads=reads, tokens=int(kept.max()), lengths=kept, seats=seats)


class Adjacent(Matching):
    """Neighbours of a sequence that resemble each other.

    The tokens behind the prefix are split into two sets by turns; each of the first set is matched with the
    more similar one of its two neighbours, and merged if the match is among the most similar ones of the
    item, or similar enough. Padding is neither counted nor matched.

    Args:
        ratio: The share of the tokens behind the prefix to remove, at most 0.5.
        threshold: The least cosine of the angle between neighbours that are merged, instead.

    Raises:
        UserError: If both or neither are given, or one is out of range.
    """

    def __init__(self, *, ratio: float | None = None, threshold: float | None = None) -> None:
        if (ratio is None) == (threshold is None):
            raise UserError("give which neighbours to merge, either by ratio or by threshold")
        if ratio is not None and not 0.0 <= ratio <= 0.5:
            raise UserError(f"ratio must be between 0 and 0.5 (tokens merge in pairs), got {ratio}")
        if threshold is not None and not -1.0 <= threshold <= 1.0:
            raise UserError(f"threshold is a cosine, between -1 and 1, got {threshold}")
        self.ratio, self.threshold = ratio, threshold

    def most_of(self, tokens: Tensor) -> Tensor:
        """Returns how many of so many tokens behind the prefix go at most."""
        if self.ratio is None:
            return torch.minimum((tokens + 1) // 2, tokens - 1).clamp_min(0)
        return torch.minimum((self.ratio * tokens.double()).long(), tokens // 2)

    def __call__(self, x: Tensor, layout: Layout) -> Groups | None:
        """Compares neighbours."""
        _refuse_packing(layout)
        batch, tokens, _ = x.shape
        order = _real_first(layout, tokens)
        unit = _unit(x, order)[:, layout.prefix :]
        places = unit.shape[1]
        if places < 2:
            return None
        count = _count(layout, tokens)
        ends = torch.full((batch,), tokens, device=x.device) if count is None else count
        ends = (ends - layout.prefix).clamp_min(0)
        rank = torch.arange(places, device=x.device)
        # Of each place: how much it resembles the one behind it, where both are real.
        alike = (unit[:, 1:] * unit[:, :-1]).sum(-1)
        alike = alike.masked_fill(rank[1:] >= ends[:, None], -torch.inf)
        edge = alike.new_full((batch, 1), -torch.inf)
        left, right = torch.cat([edge, alike], 1), torch.cat([alike, edge], 1)
        first = rank % 2 == 0
        score = torch.maximum(left, right).masked_fill(~first, -torch.inf)
        if self.threshold is not None:
            goes = score >= self.threshold
        else:
            best = score.argsort(dim=1, descending=True, stable=True)
            chosen = rank < self.most_of(ends)[:, None]
            goes = torch.zeros_like(chosen).scatter(1, best, chosen)
        place = torch.arange(tokens, device=x.device).repeat(batch, 1)
        partner = place[:, layout.prefix :] + torch.where(right >= left, 1, -1)
        target = place.clone()
        target[:, layout.prefix :] = torch.where(goes, partner, target[:, layout.prefix :])
        stays = torch.ones(batch, tokens, dtype=torch.bool, device=x.device)
        stays[:, layout.prefix :] = ~goes
        index = (stays.cumsum(dim=1) - 1).gather(1, target)
        if order is not None:
            index = torch.zeros_like(index).scatter(1, order, index)
        kept = (ends + layout.prefix) - goes.sum(dim=1)
        return Groups(
            index=index,
            reads=index,
            tokens=self._tokens(kept, tokens, layout),
            lengths=None if count is None and self.threshold is None else kept,
        )

    def _tokens(self, kept: Tensor, tokens: int, layout: Layout) -> int:
        """Returns how many tokens the longest row may keep; by a ratio that needs no look at the values."""
        if self.ratio is None:
            return int(kept.max())
        places = tokens - layout.prefix
        return tokens - min(int(self.ratio * places), places // 2)


def join(x: Tensor, layout: Layout, groups: Groups) -> tuple[Tensor, Layout]:
    """Merges tokens to means that are weighted by what the tokens stand for.

    Shape:
        x: (B, N, C). Output: (B, groups.tokens, C) and its layout with ``positions`` and ``sizes``;
        whatever the padding was, it is ``lengths`` afterwards.
    """
    batch, tokens, _ = x.shape
    sizes = layout.sizes
    sizes = x.new_ones(batch, tokens) if sizes is None else sizes.to(x.dtype)
    positions = layout.token_positions(tokens, x.device).expand(batch, -1, -1)
    real = layout.token_mask(tokens)
    if real is not None:
        x, sizes = x.masked_fill(~real[..., None], 0.0), sizes.masked_fill(~real, 0.0)
        positions = positions.masked_fill(~real[..., None], 0.0)
    seats = sizes
    if groups.seats is not None:
        seats = (groups.seats if real is None else groups.seats & real).to(x.dtype)
    index = groups.index
    index = index if real is None else index.masked_fill(~real, 0)

    def total(values: Tensor) -> Tensor:
        return _rows_added(values, index, groups.tokens)

    size, seat = total(sizes[..., None]), total(seats[..., None])
    summed = total(positions * seats[..., None].to(positions.dtype))
    out = total(x * sizes[..., None]) / size.clamp_min(1.0)
    return out, Layout(
        prefix=layout.prefix,
        lengths=groups.lengths,
        positions=summed / seat.clamp_min(1.0).to(summed.dtype),
        sizes=size[..., 0].clamp_min(1.0),
    )


def give_back(merged: Tensor, layout: Layout, groups: Groups) -> Tensor:
    """Returns for each token what the merged token that it reads became, and zero for padding.

    Args:
        merged: What became of the merged tokens.
        layout: The layout of the tokens before they were merged.
        groups: How they were merged.

    Shape:
        merged: (B, groups.tokens, C). Output: (B, N, C).
    """
    batch, tokens = groups.reads.shape
    real = layout.token_mask(tokens)
    reads = groups.reads if real is None else groups.reads.masked_fill(~real, 0)
    rows = _flat(reads, groups.tokens)
    out = merged.flatten(0, 1).index_select(0, rows).unflatten(0, (batch, tokens))
    return out if real is None else out.masked_fill(~real[..., None], 0.0)


def _rows_added(values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Adds the rows (B, N, C) that have the same index: (B, rows, C)."""
    batch, _, channels = values.shape
    zeros = values.new_zeros(batch * rows, channels)
    # Whole rows at once: many times faster on a CPU than scatter_add over all channels.
    added = zeros.index_add(0, _flat(index, rows), values.flatten(0, 1))
    return added.unflatten(0, (batch, rows))


def _flat(index: Tensor, rows: int) -> Tensor:
    """Returns row numbers (B, N) of each item as those of one long table, (B * N,)."""
    starts = torch.arange(index.shape[0], device=index.device) * rows
    return (index + starts[:, None]).flatten()


def _real_first(layout: Layout, tokens: int) -> Tensor | None:
    """Returns the order (B, N) that puts real tokens in front, or None where they are."""
    if layout.valid is None:
        return None
    return (~layout.valid).to(torch.uint8).argsort(dim=1, stable=True)


def _count(layout: Layout, tokens: int) -> Tensor | None:
    """Returns how many tokens of each item are real, prefix counted, or None where all are."""
    mask = layout.token_mask(tokens)
    return None if mask is None else mask.sum(dim=1)


def _unit(x: Tensor, order: Tensor | None) -> Tensor:
    """Returns the directions of the tokens, real ones in front; nothing is learned through them."""
    x = x.detach()
    if order is not None:
        x = x.gather(1, order[..., None].expand_as(x))
    return F.normalize(x.float(), dim=-1)


def _refuse_packing(layout: Layout) -> None:
    if layout.offsets is not None:
        raise UserError("tokens of packed items cannot be merged; pad the items (lengths) instead")
    if layout.embedding is not None:
        raise UserError("merging tokens does not merge layout.embedding; use another position")
