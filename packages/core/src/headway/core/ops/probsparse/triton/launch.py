"""Launches the kernel."""

from typing import Any

import torch
import triton
from torch import Tensor

from headway.core.ops.kernels.constants import padded, precision
from headway.core.ops.kernels.machine import architecture, on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of
from headway.core.ops.kernels.tiles import tile_for
from headway.core.ops.probsparse.triton.measure import measure_kernel


def measure(
    query: Tensor, key: Tensor, sample: Tensor, sample_mask: Tensor | None, counts: Tensor
) -> Tensor:
    """Runs the kernel; as `blocked.measure`."""
    query, key = dense_rows(query), dense_rows(key)
    batch, heads, queries, width = query.shape
    out = query.new_empty((batch, heads, queries), dtype=torch.float32)
    if out.numel() == 0:
        return out
    single = query.dtype == torch.float32
    wide = triton.next_power_of_2(width)
    tile = tile_for("probsparse", "measure", arch=architecture(query), single=single, width=wide)
    kernel: Any = measure_kernel
    with on_device(query):
        kernel[(triton.cdiv(queries, tile.t) * heads * batch,)](
            *(rows_of(query), rows_of(key), sample.contiguous()),
            None if sample_mask is None else sample_mask.contiguous().view(torch.uint8),
            *(counts.float(), out, heads, queries, sample.shape[1]),
            D=width,
            BLOCK_D=padded(width),
            BLOCK_T=tile.t,
            BLOCK_S=tile.s,
            PRECISION=precision(query),
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return out
