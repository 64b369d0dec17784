"""Memory for what the kernels of every device give back."""

from typing import NamedTuple

import torch
from torch import Tensor


class Wanted(NamedTuple):
    """Which gradients are wanted beside those of query, key and value."""

    bias: bool = False
    slopes: bool = False
    table: bool = False
    scales: bool = False
    sinks: bool = False
    relative: bool = False
    distances: bool = False


def empty_rows(like: Tensor) -> Tensor:
    """Memory for a (B, H, N, D) tensor laid out as (B, N, H, D), so that heads merge for free."""
    batch, heads, tokens, width = like.shape
    return like.new_empty((batch, tokens, heads, width)).transpose(1, 2)


def empty_outputs(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for the output and the log-sum-exp."""
    batch, heads, queries, _ = query.shape
    out = query.new_empty((batch, queries, heads, value.shape[3])).transpose(1, 2)
    return out, query.new_empty(query.shape[:3], dtype=torch.float32)
