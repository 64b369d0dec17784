"""Launches the kernels."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.decode.triton.kernels import merge_kernel, split_kernel
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.tiles import tile_for

# Keys per split; a constant, so that sums do not depend on the device.
SPLIT = 256
_LOG2E = 1.4426950408889634


def decode_attention(
    query: Tensor, keys: Tensor, values: Tensor, lengths: Tensor, window: int | None, scale: float
) -> Tensor:
    """Runs the kernels; as the reference."""
    query, keys, values = (x if x.stride(3) == 1 else x.contiguous() for x in (query, keys, values))
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
    exact = not single or torch.get_float32_matmul_precision() == "highest"
    padded = triton.next_power_of_2(max(channels, width))
    tile = tile_for("decode", "split", arch=architecture(query), single=single, width=padded)
    constants = {
        "GROUPS": groups,
        "E": width,
        "BLOCK_E": max(16, triton.next_power_of_2(width)),
        "BLOCK_T": max(16, triton.next_power_of_2(rows)),
    }
    split: Any = split_kernel
    merge: Any = merge_kernel
    with on_device(query):
        split[(batch * kv_heads * splits,)](
            *(query, keys, values, lengths, partial, tops, totals),
            *(scale * _LOG2E, kv_heads, tokens, rows, size, splits),
            0 if window is None else window,
            *query.stride()[:3],
            *keys.stride()[:3],
            *values.stride()[:3],
            **constants,
            D=channels,
            BLOCK_D=max(16, triton.next_power_of_2(channels)),
            BLOCK_S=tile.s,
            SPLIT=SPLIT,
            HAS_WINDOW=window is not None,
            PRECISION="ieee" if exact else "tf32",
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
        merge[(batch * kv_heads,)](
            *(partial, tops, totals, out, kv_heads, tokens, rows, splits),
            *out.stride()[:3],
            **constants,
            num_warps=4,
        )
    return out
