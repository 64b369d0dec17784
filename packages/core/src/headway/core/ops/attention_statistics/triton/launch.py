"""Launches the kernels of statistics; the operands are those of attention."""

import torch
import triton
from torch import Tensor

from headway.core.ops.attention.triton.launch import LAUNCHER, Launcher
from headway.core.ops.attention.triton.options import (
    constants_of,
    options_of,
    shape_of,
)
from headway.core.ops.attention.triton.packing import blocks_of
from headway.core.ops.attention_statistics.request import AttentionStatistics, Question
from headway.core.ops.attention_statistics.triton.received import received_kernel
from headway.core.ops.attention_statistics.triton.rows import rows_kernel
from headway.core.ops.kernels.machine import on_device
from headway.core.ops.kernels.memory import dense_rows
from headway.core.ops.kernels.rows import rows_of


def statistics(question: Question, launcher: Launcher = LAUNCHER) -> AttentionStatistics:
    """One look at the scores for what is known of queries, and one more for what keys receive."""
    request = question.attention
    query, key = dense_rows(request.query), dense_rows(request.key)
    batch, heads, queries, keys = request.shape
    floats = {"dtype": torch.float32, "device": query.device}
    lse = torch.full(request.shape[:3], -torch.inf, **floats)
    entropy = torch.zeros(request.shape[:3], **floats)
    slots = triton.next_power_of_2(question.top) if question.top else 0
    top_keys = torch.full((*request.shape[:3], slots), -1, dtype=torch.int32, device=query.device)
    top_scores = torch.full((*request.shape[:3], slots), -torch.inf, **floats)
    received = None
    options, shape, constants = options_of(request), shape_of(request), constants_of(request)
    for name in ("DV", "BLOCK_DV"):
        constants.pop(name)
    rows = (rows_of(query), rows_of(key))
    with on_device(query):
        if lse.numel() and keys:
            tile = launcher.tile("forward", request)
            blocks, count = blocks_of(request.offsets, queries, tile.t)
            launcher.start(
                "rows",
                rows_kernel,
                count * heads * batch,
                (*rows, lse, entropy, top_keys, top_scores, options, shape, blocks),
                {**constants, "TOP": slots, "BLOCK_T": tile.t, "BLOCK_S": tile.s},
                tile,
            )
        if question.rows is not None:
            received = torch.zeros((batch, heads, keys), **floats)
            if lse.numel() and keys:
                tile = launcher.tile("forward", request)
                blocks, count = blocks_of(request.key_offsets, keys, tile.s)
                launcher.start(
                    "received",
                    received_kernel,
                    count * heads * batch,
                    (
                        *rows,
                        lse,
                        question.rows,
                        received,
                        *question.rows.stride(),
                        *(options, shape, blocks),
                    ),
                    {**constants, "BLOCK_T": tile.t, "BLOCK_S": tile.s},
                    tile,
                )
    positions, weights = _sorted(top_keys, top_scores, lse, question.top)
    return AttentionStatistics(lse, entropy, received, positions, weights)


def _sorted(
    keys: Tensor, scores: Tensor, lse: Tensor, top: int
) -> tuple[Tensor | None, Tensor | None]:
    """The largest weights, largest first."""
    if not top:
        return None, None
    most, order = scores.sort(dim=-1, descending=True, stable=True)
    finite = lse.masked_fill(lse == -torch.inf, 0.0)[..., None]
    weights = torch.exp(most - finite)
    return keys.gather(-1, order)[..., :top].long(), weights[..., :top]
