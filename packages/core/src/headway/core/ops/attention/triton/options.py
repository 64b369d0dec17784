"""Builds the groups of arguments that kernels get, from a request; the one place that knows how."""

import math
from typing import Any

import torch
from torch import Tensor

from headway.core.ops.attention.request import Request
from headway.core.ops.attention.triton.operands import (
    Dropout,
    Options,
    Plane,
    Relative,
    Shape,
    Table,
)
from headway.core.ops.attention.triton.packing import packing_of
from headway.core.ops.kernels.constants import padded, precision
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of

Constants = dict[str, int | bool | str]


def shape_of(request: Request) -> Shape:
    """The sizes of the scores."""
    return Shape(*request.shape)


def options_of(request: Request) -> Options:
    """All that stands between products and scores."""
    _, _, queries, keys = request.shape
    left, right = request.window or (None, None)
    scale = request.scale
    return Options(
        bias=_plane(request.bias, request),
        mask=_plane(None if request.mask is None else request.mask.view(torch.uint8), request),
        lengths=request.lengths,
        packing=packing_of(request),
        shift=0 if request.causal == "top-left" else keys - queries,
        left=left,
        right=0 if request.causal else right,
        scale=1.0 if isinstance(scale, Tensor) else scale,
        scales=scale.contiguous() if isinstance(scale, Tensor) else None,
        slopes=None if request.alibi_slopes is None else request.alibi_slopes.contiguous(),
        table=_table(request),
        relative=_relative(request),
        softcap=request.softcap,
        sinks=None if request.sinks is None else request.sinks.contiguous(),
        dropout=_dropout(request),
    )


def constants_of(request: Request) -> Constants:
    """What kernels are compiled for."""
    query, key, value = request.query, request.key, request.value
    width, value_width = query.shape[3], value.shape[3]
    return {
        "GROUPS": query.shape[1] // key.shape[1],
        "D": width,
        "BLOCK_D": padded(width),
        "DV": value_width,
        "BLOCK_DV": padded(value_width),
        "PRECISION": precision(query),
    }


def _plane(tensor: Tensor | None, request: Request) -> Plane | None:
    if tensor is None:
        return None
    strides: list[Any] = list(tensor.expand(request.shape).stride())
    return Plane(tensor, *strides)


def _table(request: Request) -> Table | None:
    table, index = request.table, request.index
    if table is None or index is None:
        return None
    # Every head reads it: half the bytes are worth a copy.
    index = (index[:, None] if index.dim() == 3 else index).int()
    plane = _plane(index, request)
    assert plane is not None
    return Table(table, table.stride(0), table.stride(1), table.shape[0], plane)


def _relative(request: Request) -> Relative | None:
    query, key = request.relative_query, request.distance_key
    if query is None or key is None:
        return None
    key = dense_rows(key.expand(query.shape[1], -1, -1)[None])
    return Relative(rows_of(dense_rows(query)), rows_of(key))


def _dropout(request: Request) -> Dropout | None:
    if request.dropout == 0.0:
        return None
    assert isinstance(request.seed, Tensor)
    # Draws from here on stay; they are whole numbers below 2**32. Passed as 32 bits with a sign.
    threshold = math.ceil(request.dropout * 2.0**32) - 1
    signed = threshold - 2**32 if threshold >= 2**31 else threshold
    return Dropout(request.seed, signed, 1.0 / (1.0 - request.dropout))
