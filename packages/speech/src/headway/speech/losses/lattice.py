"""Sums over the paths of a lattice of frames and tokens, and what each arc has in them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Arc = tuple[int, int]
"""Frames and tokens that an arc moves on."""


def lattice_score(
    weights: Tensor, arcs: Sequence[Arc], lengths: Tensor, target_lengths: Tensor
) -> Tensor:
    """Returns the logarithm of the summed probability of all paths, (B,).

    A path begins at frame 0 and token 0 and ends at the lengths of its item. Its last arc is one that moves
    in time alone: an arc that writes a token ends at a frame of the item. The gradient of an arc is the
    probability that a path takes it; forwards and backwards run over diagonals of equal frame + token, and
    nothing but the arcs is kept in between.

    Args:
        weights: Log-probability of each arc where it begins. Beyond an item it may be anything, even NaN.
        arcs: Frames and tokens (0 or 1) that each arc moves on; each moves at all.
        lengths: Frames of each item.
        target_lengths: Tokens of each item.

    Shape:
        weights: (B, A, T, U + 1). lengths, target_lengths: (B,). Output: (B,), in float32 at least.
    """
    return _scored(weights, tuple(arcs), lengths, target_lengths)


def lattice_score_reference(
    weights: Tensor, arcs: Sequence[Arc], lengths: Tensor, target_lengths: Tensor
) -> Tensor:
    """The same in plain PyTorch, differentiable to any order; the oracle of ``lattice_score``."""
    skewed = _skewed(weights, arcs, lengths, target_lengths)
    alphas = _forwards(skewed, arcs)
    return alphas[lengths + target_lengths, torch.arange(len(lengths)), target_lengths]


class _Score(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, arcs: tuple[Arc, ...], lengths: Tensor, target_lengths: Tensor
    ) -> Tensor:
        lengths, target_lengths = lengths.long(), target_lengths.long()
        items = torch.arange(len(lengths), device=weights.device)
        skewed = _skewed(weights, arcs, lengths, target_lengths)
        alphas = _forwards(skewed, arcs)
        total = alphas[lengths + target_lengths, items, target_lengths]
        if ctx.needs_input_grad[0]:
            betas = _backwards(skewed, arcs, lengths, target_lengths)
            taken = _taken(skewed, arcs, alphas, betas, total)
            ctx.save_for_backward(_straight(taken, weights.shape[2]).to(weights.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyright: ignore
        (taken,) = ctx.saved_tensors
        return taken * grad.to(taken.dtype)[:, None, None, None], None, None, None


# Its steps are as many as frames and tokens: a graph of them would be made anew for every batch.
_scored: Callable[..., Tensor] = torch.compiler.disable(_Score.apply)  # pyright: ignore


def _skewed(
    weights: Tensor, arcs: Sequence[Arc], lengths: Tensor, target_lengths: Tensor
) -> Tensor:
    """Returns the weights by diagonal, (N, A, B, U + 1), -inf where there is no arc."""
    batch, kinds, frames, places = weights.shape
    device = weights.device
    wide = torch.promote_types(weights.dtype, torch.float32)
    u = torch.arange(places, device=device)
    t = torch.arange(frames + places - 1, device=device)[:, None] - u  # (N, U + 1)
    rows = t.clamp(0, frames - 1)[None, None].expand(batch, kinds, -1, -1)
    skewed = weights.gather(2, rows).to(wide).permute(2, 1, 0, 3)
    moved = torch.tensor(arcs, device=device)
    landed = t[:, None, None] + moved[:, 0].view(1, -1, 1, 1)
    # An arc that writes a token lands on a frame, one of time alone also at the end.
    last = lengths.view(1, 1, -1, 1) - (moved[:, 1] > 0).long().view(1, -1, 1, 1)
    real = (t >= 0)[:, None, None] & (t[:, None, None] < lengths.view(1, 1, -1, 1))
    real = real & (landed <= last)
    real = real & (u + moved[:, 1].view(1, -1, 1, 1) <= target_lengths.view(1, 1, -1, 1))
    return skewed.masked_fill(~real, -torch.inf)


def _straight(skewed: Tensor, frames: int) -> Tensor:
    """Undoes ``_skewed``: (N, A, B, U + 1) to (B, A, T, U + 1)."""
    _, kinds, batch, places = skewed.shape
    t = torch.arange(frames, device=skewed.device)[:, None]
    rows = t + torch.arange(places, device=skewed.device)
    return skewed.permute(2, 1, 0, 3).gather(2, rows[None, None].expand(batch, kinds, -1, -1))


def _shifted(row: Tensor, by: int) -> Tensor:
    """Moves (B, U + 1) by tokens, forwards or (negative) backwards; -inf comes in."""
    if by == 0:
        return row
    blank = torch.full_like(row[:, :1], -torch.inf)
    return torch.cat([blank, row[:, :-1]] if by > 0 else [row[:, 1:], blank], dim=1)


def _forwards(skewed: Tensor, arcs: Sequence[Arc]) -> Tensor:
    """Returns the log-probability of reaching each node, (N + 1, B, U + 1)."""
    diagonals, _, batch, places = skewed.shape
    first = skewed.new_full((batch, places), -torch.inf)
    first[:, 0] = 0.0
    alphas = [first]
    for n in range(1, diagonals + 1):
        ways = [
            _shifted(alphas[n - dt - du] + skewed[n - dt - du, kind], du)
            for kind, (dt, du) in enumerate(arcs)
            if n >= dt + du
        ]
        alphas.append(_log_sum(ways))
    return torch.stack(alphas)


def _backwards(
    skewed: Tensor, arcs: Sequence[Arc], lengths: Tensor, target_lengths: Tensor
) -> Tensor:
    """Returns the log-probability of the end from each node, (N + 1, B, U + 1)."""
    diagonals, _, batch, places = skewed.shape
    items = torch.arange(batch, device=skewed.device)
    betas = skewed.new_full((diagonals + 1, batch, places), -torch.inf)
    betas[lengths + target_lengths, items, target_lengths] = 0.0
    for n in range(diagonals - 1, -1, -1):
        ways = [betas[n]] + [
            skewed[n, kind] + _shifted(betas[n + dt + du], -du)
            for kind, (dt, du) in enumerate(arcs)
            if n + dt + du <= diagonals
        ]
        betas[n] = _log_sum(ways)
    return betas


def _taken(
    skewed: Tensor, arcs: Sequence[Arc], alphas: Tensor, betas: Tensor, total: Tensor
) -> Tensor:
    """Returns the probability that a path takes each arc, (N, A, B, U + 1); 0 where there is no path."""
    diagonals, places = skewed.shape[0], skewed.shape[3]
    reachable = torch.isfinite(total)
    offset = total.where(reachable, torch.zeros_like(total))[None, :, None]
    for kind, (dt, du) in enumerate(arcs):
        after = betas.new_full((diagonals, *betas.shape[1:]), -torch.inf)
        moved = betas[dt + du :, :, du:]
        after[: len(moved), :, : places - du] = moved
        # Written over the weights, which nobody needs again.
        skewed[:, kind] = (skewed[:, kind] + alphas[:diagonals] + after - offset).exp()
    return skewed.masked_fill_(~reachable[None, None, :, None], 0.0)


def _log_sum(ways: list[Tensor]) -> Tensor:
    # A node that nothing reaches: the gradient of logsumexp over -inf alone is NaN, so such a
    # node is summed over zeros and set to -inf afterwards.
    stacked = torch.stack(ways)
    dead = torch.isneginf(stacked).all(0)
    summed = stacked.masked_fill(dead[None], 0.0).logsumexp(0)
    return summed.masked_fill(dead, -torch.inf)


def per_token(nats: Tensor, target_lengths: Tensor) -> Tensor:
    """Returns the mean over items of the loss of a token; an item that cannot be had (inf) costs nothing.

    Shape:
        nats, target_lengths: (B,). Output: ().
    """
    nats = nats.masked_fill(torch.isinf(nats), 0.0)
    return (nats / target_lengths.clamp_min(1)).mean()
