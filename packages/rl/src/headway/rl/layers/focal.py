"""The focal loss: what is known well counts less."""

from torch import Tensor


def focal_loss(logits: Tensor, wanted: Tensor, focus: float) -> Tensor:
    """Returns the cross-entropy of choices, times the missing probability to a power.

    Args:
        logits: Of the choices, (..., N).
        wanted: The right ones, (...) int64.
        focus: The power; 0 for the cross-entropy itself.

    Shape:
        Output: (...).

    Source:
        Lin et al. 2017, https://arxiv.org/abs/1708.02002, eq. 4.
    """
    likely = logits.log_softmax(dim=-1).gather(-1, wanted[..., None])[..., 0]
    return -((1 - likely.exp()) ** focus) * likely
