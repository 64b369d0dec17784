"""The memory that every backend of the kernels fills."""

import torch
from torch import Tensor


def empty_outputs(projected: Tensor, positions: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Memory for the output and the log-sum-exp.

    Shape:
        (B, N, H * D), and float32 (B, windows, H, S).
    """
    batch, tokens, width = projected.shape
    out = projected.new_empty(batch, tokens, width // 3)
    lse = projected.new_empty(
        (batch, positions.shape[0], heads, positions.shape[1]), dtype=torch.float32
    )
    return out, lse
