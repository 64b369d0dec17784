"""Beam search: the most likely sequences that a few candidates side by side can find."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.generation.generate import CausalModel, Prompts
from headway.core.module import evaluating


class Beams(NamedTuple):
    """The candidates of each prompt, the best in front.

    Args:
        tokens: Prompt included, (count, beams, longest), filled up with ``padding``.
        lengths: Tokens of each, (count, beams).
        log_likelihoods: Of the tokens behind the prompt, (count, beams); ``-inf`` where there are fewer
            sequences than beams.
        finished: Whether a candidate ended by itself, (count, beams).
    """

    tokens: Tensor
    lengths: Tensor
    log_likelihoods: Tensor
    finished: Tensor


@torch.no_grad()
def beam_search(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    max_length: int,
    beams: int = 4,
    length_penalty: float = 0.0,
    batch_size: int = 256,
    padding: int = 0,
    device: torch.device | None = None,
    conditions: Mapping[str, Tensor | None] | None = None,
) -> Beams:
    """Continues each prompt by its most likely sequences.

    A candidate that has ended stays among the beams as long as its likelihood is one of the highest.

    Args:
        model: As for ``generate``.
        prompts: At least one token each, such as the start token.
        end: The token that ends a sequence.
        max_length: Most tokens of a sequence, prompt included.
        beams: Candidates of each prompt.
        length_penalty: The result is sorted by the log-likelihood over this power of the number of new
            tokens; 0 prefers short ones, 1 is the mean of a token. The search itself goes by the sum.
        batch_size: Most rows decoded at a time, beams counted.
        padding: Fills the result up to the longest sequence.
        device: The model's device; the CPU if None.
        conditions: As for ``generate``.

    Raises:
        UserError: If there are no beams, or the prompts are such as ``generate`` refuses.
    """
    if beams < 1:
        raise UserError(f"beams is {beams}; a search needs at least 1")
    given = Prompts(
        prompts, max_length=max_length, padding=padding, device=device, conditions=conditions
    )
    count, at_once = len(prompts), max(1, batch_size // beams)
    parts = []
    with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        for first in range(0, count, at_once):
            rows = torch.arange(first, min(first + at_once, count), device=device)
            parts.append(_search(model, given, rows, end, max_length, beams, padding))
    tokens, lengths, scores = (torch.cat(part) for part in zip(*parts, strict=True))
    worth = scores
    if length_penalty:
        new = lengths - given.lengths[:, None]
        worth = scores / new.clamp_min(1).to(scores) ** length_penalty
    order = worth.argsort(dim=1, descending=True, stable=True)
    lengths, scores = lengths.gather(1, order), scores.gather(1, order)
    tokens = tokens.gather(1, order[..., None].expand_as(tokens))[..., : int(lengths.max())]
    last = tokens.gather(2, lengths[..., None] - 1)[..., 0]
    return Beams(tokens, lengths, scores, (last == end) & (lengths > given.lengths[:, None]))


def _search(
    model: CausalModel,
    given: Prompts,
    rows: Tensor,
    end: int,
    max_length: int,
    beams: int,
    padding: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns tokens (P, K, max_length), lengths (P, K) and log-likelihoods (P, K) of some prompts."""
    device, prompts = given.tokens.device, len(rows)
    each = torch.arange(prompts, device=device).repeat_interleave(beams)
    cache = model.init_cache(prompts, max_length)
    given.read(model, rows, cache)
    cache.select(each)
    told = given.told(rows[each])
    tokens = torch.full((prompts * beams, max_length), padding, device=device)
    tokens[:, : given.longest] = given.tokens[rows[each]]
    lengths = given.lengths[rows[each]]
    # In the beginning all beams of a prompt are the same one: only the first may go on.
    scores = torch.full((prompts, beams), -math.inf, device=device)
    scores[:, 0] = 0.0
    ended = torch.zeros(prompts * beams, dtype=torch.bool, device=device)
    every = torch.arange(prompts * beams, device=device)
    while not bool((ended | (lengths == max_length)).all()):
        last = tokens[every, lengths - 1]
        logits = model(last[:, None], cache=cache, **told)[:, -1].float().log_softmax(dim=-1)
        size = logits.shape[1]
        # What has ended goes on as itself, by one token that costs nothing.
        done = ended | (lengths == max_length)
        logits[done] = -math.inf
        logits[done, 0] = 0.0
        totals = (scores.flatten()[:, None] + logits).view(prompts, beams * size)
        scores, best = totals.topk(beams, dim=1)
        from_row = (each[::beams, None] * beams + best // size).flatten()
        chosen = (best % size).flatten()
        tokens, lengths, done = tokens[from_row], lengths[from_row], done[from_row]
        ended = ended[from_row]
        cache.reorder(from_row)
        going = ~done
        tokens[every[going], lengths[going]] = chosen[going]
        lengths = lengths + going
        ended = ended | (going & (chosen == end))
        # A row that is done is never asked again, and must not run out of its cache.
        fresh = (going & (ended | (lengths == max_length))).nonzero()[:, 0]
        if len(fresh):
            cache.reset(fresh)
    return tokens.view(prompts, beams, -1), lengths.view(prompts, beams), scores
