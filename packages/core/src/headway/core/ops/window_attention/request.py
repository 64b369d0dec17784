"""One call of window attention as a checked value."""

from dataclasses import dataclass

from torch import Tensor

from headway.core.ops.window_attention.plan import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """The arguments of one call; see `headway.core.ops.window_attention`.

    Args:
        projected: Queries, keys and values of all tokens, (B, N, 3 * H * D).
        heads: Heads.
        plan: Where the tokens are in the windows.
        scale: Factor of the scores.
        bias: Added to the scores of each window, (H, S, S).
        padding: Queries, keys and values of positions without a token, (3 * H * D,).
    """

    projected: Tensor
    heads: int
    plan: Plan
    scale: float
    bias: Tensor | None = None
    padding: Tensor | None = None
