"""Alignments of a text with speech: each token owns a stretch of steps, in order, without gaps."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.speech.layers.padding import zero_beyond

# Log-likelihood of what cannot be.
NEVER = -1e9


def alignment_loss(scores: Tensor, tokens: Tensor, steps: Tensor) -> Tensor:
    """Returns the negative log-likelihood of all alignments, for each step, (B,).

    It is CTC without a blank and with a token of its own for each place of the text: scores are shared out
    among the tokens of a step first, and what they sum to is put back, so that the gradient is that of the
    alignments' sum.

    Args:
        scores: Log-likelihood of each step if it belonged to each token.
        tokens: Tokens of each item, (B,).
        steps: Steps of each item, (B,), not fewer than its tokens.

    Shape:
        scores: (B, T, U). Output: (B,).

    Source:
        Zeng et al. 2020 (AlignTTS), https://arxiv.org/abs/2003.01950, section 2.3.
    """
    batch, _, width = scores.shape
    place = torch.arange(width, device=scores.device)
    scores = scores.float().masked_fill(place >= tokens[:, None, None], NEVER)
    shared = F.pad(scores, (1, 0), value=NEVER).log_softmax(dim=2)
    targets = (place + 1).expand(batch, width)
    apart = F.ctc_loss(shared.transpose(0, 1), targets, steps, tokens, blank=0, reduction="none")
    together = zero_beyond(scores.logsumexp(dim=2), steps).sum(dim=1)
    return (apart - together) / steps


@torch.no_grad()
def best_durations(scores: Tensor, tokens: Tensor, steps: Tensor) -> Tensor:
    """Returns how many steps each token owns in the likeliest alignment; at least one, and all in all.

    Args:
        scores: Log-likelihood of each step if it belonged to each token.
        tokens: Tokens of each item, (B,).
        steps: Steps of each item, (B,), not fewer than its tokens.

    Shape:
        scores: (B, T, U). Output: (B, U) int64, 0 behind the tokens.
    """
    batch, longest, width = scores.shape
    scores = scores.float()
    best = scores.new_full((batch, width), -torch.inf)
    best[:, 0] = scores[:, 0, 0]
    moved = torch.zeros(batch, longest, width, dtype=torch.bool, device=scores.device)
    for step in range(1, longest):
        before = F.pad(best[:, :-1], (1, 0), value=-torch.inf)
        moved[:, step] = before > best
        best = torch.maximum(best, before) + scores[:, step]
    durations = torch.zeros(batch, width, dtype=torch.int64, device=scores.device)
    token = tokens - 1
    item = torch.arange(batch, device=scores.device)
    for step in range(longest - 1, -1, -1):
        real = step < steps
        durations[item, token] += real
        token = token - (real & moved[item, step, token]).long()
    return durations


def uniform_durations(tokens: Tensor, steps: Tensor, width: int) -> Tensor:
    """Returns durations that share the steps out evenly, (B, width); all in all they are the steps."""
    place = torch.arange(width + 1, device=tokens.device).clamp_max(tokens[:, None])
    borders = torch.div(place * steps[:, None], tokens[:, None], rounding_mode="floor")
    return borders.diff(dim=1)


def spread(x: Tensor, durations: Tensor, steps: int | None = None) -> Tensor:
    """Returns each token as often as its duration says, zeros behind.

    Args:
        x: Tokens.
        durations: Steps of each.
        steps: Steps of the result; those of the longest item if None.

    Shape:
        x: (B, U, C). durations: (B, U). Output: (B, steps, C).

    Source:
        Ren et al. 2019 (FastSpeech), section 3.2 (length regulator).
    """
    ends = durations.cumsum(dim=1)
    size = steps
    if size is None:
        size = int(ends[:, -1].max()) if len(x) else 1
    step = torch.arange(size, device=x.device)
    token = torch.searchsorted(ends, step.expand(len(x), size).contiguous(), right=True)
    found = x.gather(1, token.clamp_max(x.shape[1] - 1)[..., None].expand(-1, -1, x.shape[2]))
    return found.masked_fill((step >= ends[:, -1:])[..., None], 0)


def token_means(x: Tensor, durations: Tensor, weight: Tensor | None = None) -> Tensor:
    """Returns the mean of values over the steps of each token, 0 where it owns none.

    Args:
        x: Values of the steps.
        durations: Steps of each token.
        weight: Of each step; 1 if None.

    Shape:
        x: (B, T). durations: (B, U). weight: (B, T). Output: (B, U).
    """
    ends = durations.cumsum(dim=1).clamp_max(x.shape[1])
    weight = torch.ones_like(x) if weight is None else weight

    def sums(values: Tensor) -> Tensor:
        total = F.pad(values.cumsum(dim=1), (1, 0)).gather(1, F.pad(ends, (1, 0)))
        return total.diff(dim=1)

    return sums(x * weight) / sums(weight).clamp_min(1e-6)
