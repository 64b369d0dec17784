"""Launches the kernels."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.decode.triton.kernels import Sizes, merge_kernel, split_kernel
from headway.core.ops.kernels.constants import padded, precision
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import tile_for

# Keys per split; a constant, so that sums do not depend on the device.
SPLIT = 256
_LOG2E = 1.4426950408889634


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, window: int | None, scale: float
) -> Tensor:
    """Runs the kernels; as the reference."""
    query, keys, values = (dense_rows(x) for x in (query, keys, values))
    batch, heads, tokens, channels = query.shape
    kv_heads, size, width = values.shape[1:]
    out = query.new_empty((batch, tokens, heads, width)).transpose(1, 2)
    if out.numel() == 0:
        return out
    groups = heads // kv_heads
    rows, splits = groups * tokens, max(1, triton.cdiv(size, SPLIT))
    shape = (batch * kv_heads, splits, rows)
    partial = query.new_empty((*shape, width), dtype=torch.float32)
    tops, totals = (query.new_empty(shape, dtype=torch.float32) for _ in range(2))
    single = query.dtype == torch.float32
    wider = triton.next_power_of_2(max(channels, width))
    tile = tile_for("decode", "split", arch=architecture(query), single=single, width=wider)
    constants = {
        "GROUPS": groups,
        "E": width,
        "BLOCK_E": padded(width),
        "BLOCK_T": padded(rows),
    }
    sizes = Sizes(kv_heads, tokens, rows, size, splits)
    split: Any = split_kernel
    merge: Any = merge_kernel
    with on_device(query):
        split[(batch * kv_heads * splits,)](
            *(rows_of(query), rows_of(keys), rows_of(values), lengths),
            *(partial, tops, totals, scale * _LOG2E, sizes, window),
            **constants,
            D=channels,
            BLOCK_D=padded(channels),
            BLOCK_S=tile.s,
            SPLIT=SPLIT,
            PRECISION=precision(query),
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        merge[(batch * kv_heads,)](
            *(partial, tops, totals, rows_of(out), sizes),
            **constants,
            num_warps=4,
        )
    return out
