"""Floating-point operations of the fused operators, for `torch.utils.flop_counter`."""

import itertools
from typing import Any

from torch import Tensor

from headway.core.private_torch import FakeTensor


def forward_flops(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    """Those of two matrix products: scores, and weights times values.

    As in PyTorch's formulas, what masks hide counts; between packed items nothing does.
    """
    del named
    return 2 * _pairs(query, key, *rest) * (query.shape[3] + value.shape[3])


def backward_flops(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    """Those of five matrix products: scores again, and the gradients of weights, query, key and value."""
    del named
    return 2 * _pairs(query, key, *rest) * (3 * query.shape[3] + 2 * value.shape[3])


def _pairs(query: Tensor, key: Tensor, *rest: Any) -> int:
    """Pairs of a query and a key that are multiplied."""
    batch, heads, queries, _ = query.shape
    offsets, key_offsets = rest[9:11]
    if offsets is None or isinstance(offsets, FakeTensor) or offsets.is_meta:
        return batch * heads * queries * key.shape[2]
    sizes = ([b - a for a, b in itertools.pairwise(x.tolist())] for x in (offsets, key_offsets))
    return heads * sum(t * s for t, s in zip(*sizes, strict=True))
