"""What is asked of the weights of attention, and what the answer looks like."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from headway.core.ops.attention.request import Request


class AttentionStatistics(NamedTuple):
    """What is known of the weights of attention; what was not asked for is None.

    Attributes:
        lse: Log-sum-exp of the scores of each query, (B, H, T); -inf where it sees nothing.
        entropy: Of the weights of each query in nats, (B, H, T); 0 where it sees nothing.
        received: What each key gets from all queries, (B, H, S).
        top_keys: Numbers of the keys with the largest weights, largest first, (B, H, T, top); -1 where a
            query sees fewer keys.
        top_weights: Their weights, (B, H, T, top); 0 where a query sees fewer keys.
    """

    lse: Tensor
    entropy: Tensor
    received: Tensor | None
    top_keys: Tensor | None
    top_weights: Tensor | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A checked call.

    Args:
        attention: The call of attention whose weights are looked at; its values are of no account.
        rows: What the weights of each query count in `received`, (B, H, T) at any stride.
        top: How many of the largest weights are wanted.
    """

    attention: Request
    rows: Tensor | None
    top: int
