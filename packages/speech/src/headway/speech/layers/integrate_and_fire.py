"""How many tokens were spoken, and what was heard of each: continuous integrate-and-fire."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.ops.kernels.operators import without_autocast
from headway.speech.layers.padding import mask_of, zero_beyond


class Fired(NamedTuple):
    """What was heard of each token.

    Args:
        tokens: The weighted sums of frames, zero beyond each item, (B, U, C).
        lengths: Tokens of each item, (B,).
        amount: What the weights of each item came to before they were scaled, (B,).
        starts: At which frame each token has begun in earnest, with a tenth of its weight, (B, U).
        ends: Behind which frame it is complete, (B, U).
    """

    tokens: Tensor
    lengths: Tensor
    amount: Tensor
    starts: Tensor
    ends: Tensor


class IntegrateAndFire(Module):
    """Gives each frame a weight, adds them up, and has one token each time the sum passes a threshold.

    A token is the sum of the frames between two passes by their weights; a frame at which one happens is
    shared. In training the weights are scaled so that there are as many tokens as were said; the number
    that they came to by themselves is learned beside (``amount``).

    Args:
        dim: Channels of a frame.
        window: Frames that the weight of one is made from, an odd number.
        threshold: Weight of a token.
        tail: Added behind the last frame when nobody says how many tokens there are, so that what is left
            over is a token where it is more than ``threshold - tail``.
        dropout: Probability of dropping a channel in front of the weights in training.

    Shape:
        x: (B, T, dim). lengths, target_lengths: (B,). Output: ``Fired``.

    Raises:
        UserError: If the window is even, or threshold and tail do not fit.

    Source:
        Dong and Xu 2020, https://arxiv.org/abs/1905.11235, section 3; as in Gao et al. 2022,
        https://arxiv.org/abs/2206.08317, section 2.2.
    """

    def __init__(
        self,
        dim: int,
        *,
        window: int = 3,
        threshold: float = 1.0,
        tail: float = 0.45,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(f"window is {window}; it is an odd number of frames")
        if threshold <= 0 or not 0 <= tail < threshold:
            raise UserError(f"threshold {threshold} is above 0 and tail {tail} between 0 and it")
        self.threshold, self.tail = threshold, tail
        self.convolution = nn.Conv1d(dim, dim, window, padding=window // 2, groups=dim)
        self.weight = nn.Linear(dim, 1)
        self.dropout = Dropout(dropout)

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Returns the weight of each frame, 0 to 1, and 0 beyond an item, (B, T)."""
        x = zero_beyond(x, lengths)
        near = self.convolution(x.transpose(1, 2)).transpose(1, 2) + x
        return zero_beyond(self.weight(F.relu(self.dropout(near)))[..., 0].sigmoid(), lengths)

    def forward(self, x: Tensor, lengths: Tensor, target_lengths: Tensor | None = None) -> Fired:
        """Integrates and fires; as many tokens as said, where that is said."""
        with without_autocast(x):
            weights = self.weights(x.float(), lengths)
        amount = weights.sum(1) / self.threshold
        tail = 0.0
        if target_lengths is not None:
            # An item that nobody gives weight to has nothing that could be scaled.
            weights = weights * (target_lengths / amount.clamp_min(1e-6))[:, None]
            tokens = target_lengths
        else:
            tail = self.tail
            tokens = torch.floor(amount + tail / self.threshold + 1e-6).long()
        longest = int(tokens.max()) if len(tokens) else 0
        fired, starts, ends = integrate_and_fire(
            zero_beyond(x, lengths), weights, longest, threshold=self.threshold
        )
        real = mask_of(tokens, longest)
        last = (lengths - 1).clamp_min(0)[:, None]
        starts, ends = torch.minimum(starts, last), torch.minimum(ends, last + 1)
        return Fired(fired.masked_fill(~real[..., None], 0.0), tokens, amount, starts, ends)


def integrate_and_fire(
    x: Tensor, weights: Tensor, tokens: int, *, threshold: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the sums of frames that make each token, where it begins and where it is complete.

    Token j takes of each frame what of its weight lies between j and j + 1 thresholds of the running sum.

    Args:
        x: Frames.
        weights: Of each frame, at least 0.
        tokens: Number of tokens; those that the sum does not reach have what is left, or are 0.
        threshold: Weight of a token.

    Shape:
        x: (B, T, C). weights: (B, T). Output: (B, tokens, C), (B, tokens) and (B, tokens).
    """
    # float64: a sum in float32 over a long recording is off by more than a small weight.
    total = weights.double().cumsum(1)
    before = total - weights.double()
    edges = threshold * torch.arange(tokens, device=x.device, dtype=total.dtype)[:, None]
    upper = torch.minimum(total[:, None], edges + threshold)
    share = (upper - torch.maximum(before[:, None], edges)).clamp_min(0.0)
    # Sums in other orders may stay just below the edge that they should reach.
    starts = (total[:, None] < edges + 0.1 * threshold).sum(2)
    ends = (total[:, None] < edges + threshold - 1e-6).sum(2) + 1
    frames = x.shape[1]
    return share.to(x.dtype) @ x, starts.clamp_max(max(0, frames - 1)), ends.clamp_max(frames)
