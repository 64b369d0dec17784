"""The gradient of the rows of distances.

A program owns a block of distances and visits the pairs that have them, in fixed order: a tile has queries
and distances for its axes instead of queries and keys, so that each pair is met by one program and the
product under the gradient needs no shift. What is shifted is the products of queries and gradients with
keys and values.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.scores import (
    Limits,
    in_rows,
    key_count,
    query_limits,
    tile_scores,
)
from headway.core.ops.attention.triton.shift import along_distances, distance_rows
from headway.core.ops.attention.triton.statistics import load_statistics
from headway.core.ops.attention.triton.tile_gradient import grad_of_weights
from headway.core.ops.kernels.rows import head_of, load_rows, store_rows


@triton.jit
def distance_kernel(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    partial,
    own_heads,
    visits,
    rules,
    shape,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DV: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per share of the items and heads that meet one block of BLOCK_S distances.

    `own_heads` is how many heads the rows of distances have, H or 1; `visits` is how many pairs of an item
    and a head each share holds.
    """
    count = shape.T + shape.S - 1
    blocks = tl.cdiv(count, BLOCK_S)
    program = tl.program_id(0)
    begin = (program % blocks) * BLOCK_S
    own_head = (program // blocks) % own_heads
    share = program // (blocks * own_heads)
    loop_h = shape.H // own_heads
    total = shape.B * loop_h
    distances = distance_rows(rules, begin, own_head.to(tl.int64), shape, D, BLOCK_D, BLOCK_S)
    first_t = tl.maximum(shape.T - begin - BLOCK_S, 0)
    last_t = tl.minimum(shape.T, count - begin)
    column = tl.arange(0, BLOCK_S)[None, :]
    sums = tl.zeros((BLOCK_S, BLOCK_D), tl.float32)
    for visit in range(share * visits, tl.minimum((share + 1) * visits, total)):
        batch = (visit // loop_h).to(tl.int64)
        # Either the block names the head and the visit says 0, or the other way round.
        head = (own_head + visit % loop_h).to(tl.int64)
        line = (batch * shape.H + head) * shape.T
        exist = key_count(rules.lengths, batch, shape.S)
        for start in range(first_t, last_t, BLOCK_T):
            rows = start + tl.arange(0, BLOCK_T)
            limits = query_limits(rows, shape.T, batch, shape, rules)
            # The key that the first row and the first distance mean.
            first = start + begin - (shape.T - 1)
            own = first + tl.arange(0, BLOCK_T)
            seen = tl.maximum(limits.low, own) < tl.minimum(limits.high, own + BLOCK_S)
            if tl.max(seen.to(tl.int32), axis=0) != 0:
                sums += _visit(
                    query,
                    key,
                    value,
                    grad_out,
                    lse + line,
                    delta + line,
                    distances,
                    rows,
                    own[:, None] + column,
                    first,
                    exist,
                    limits,
                    batch,
                    head,
                    rules,
                    shape,
                    GROUPS,
                    D,
                    BLOCK_D,
                    DV,
                    BLOCK_DV,
                    BLOCK_T,
                    BLOCK_S,
                    PRECISION,
                )
    plane = share * own_heads + own_head
    partial += plane.to(tl.int64) * count * D
    positions = (begin + tl.arange(0, BLOCK_S)).to(tl.int64)
    store_rows(partial, positions, count, D, sums, D, BLOCK_D)


@triton.jit
def _visit(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    distances,
    rows,
    columns,
    first,
    exist,
    limits,
    batch,
    head,
    rules,
    shape,
    GROUPS: tl.constexpr,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    DV: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What the pairs of a block of queries give to a block of distances."""
    rows_64 = rows.to(tl.int64)
    query_start, grad_start = head_of(query, batch, head), head_of(grad_out, batch, head)
    key_start = head_of(key, batch, head // GROUPS)
    value_start = head_of(value, batch, head // GROUPS)
    own = rules.relative.query
    relative = load_rows(head_of(own, batch, head), rows_64, shape.T, own.stride_n, D, BLOCK_D)
    sums, deltas = load_statistics(lse, delta, rows, shape.T)
    limits = in_rows(limits, rules)
    # There is no key before the first one.
    high = tl.where(columns < 0, columns, limits.high)
    scores, _ = tile_scores(
        along_distances(
            load_rows(query_start, rows_64, shape.T, query.stride_n, D, BLOCK_D),
            key_start,
            first,
            exist,
            key.stride_n,
            D,
            BLOCK_D,
            BLOCK_T,
            BLOCK_S,
            PRECISION,
        ),
        rows[:, None],
        columns,
        Limits(limits.low, high, limits.shift),
        batch,
        head,
        rules,
        tl.dot(relative, tl.trans(distances), input_precision=PRECISION),
    )
    weights = tl.exp2(scores - sums[:, None])
    grad_weights = along_distances(
        load_rows(grad_start, rows_64, shape.T, grad_out.stride_n, DV, BLOCK_DV),
        value_start,
        first,
        exist,
        value.stride_n,
        DV,
        BLOCK_DV,
        BLOCK_T,
        BLOCK_S,
        PRECISION,
    )
    gradient = grad_of_weights(
        weights, grad_weights, deltas, rows[:, None], columns, batch, head, rules, shape
    )
    return tl.dot(tl.trans(gradient.to(relative.dtype)), relative, input_precision=PRECISION)
