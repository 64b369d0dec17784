"""The gradient of the bias, summed over the axes along which it was broadcast.

A program owns one tile of the bias and visits, in a fixed order, every tile of scores that read it;
where few tiles are read often, a fixed number of programs share one and leave partial sums.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.tile_gradient import visit_tile


@triton.jit
def bias_kernel(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    partial,
    bias_b,
    bias_h,
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
    ONE_T: tl.constexpr,
    ONE_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per share of the visits to one tile of the bias.

    `bias_b` and `bias_h` are the sizes of the bias, B or 1 and H or 1; ONE_T and ONE_S say that it
    has a single row or column; `visits` is how many tiles of scores each share holds.
    """
    blocks_t = tl.cdiv(shape.T, BLOCK_T)
    blocks_s = tl.cdiv(shape.S, BLOCK_S)
    own_t = 1 if ONE_T else blocks_t
    own_s = 1 if ONE_S else blocks_s
    program = tl.program_id(0)
    tile_s = program % own_s
    tile_t = (program // own_s) % own_t
    tile_h = (program // (own_s * own_t)) % bias_h
    tile_b = (program // (own_s * own_t * bias_h)) % bias_b
    share = program // (own_s * own_t * bias_h * bias_b)
    loop_s = blocks_s // own_s if ONE_S else 1
    loop_t = blocks_t // own_t if ONE_T else 1
    loop_h = shape.H // bias_h
    total = (shape.B // bias_b) * loop_h * loop_t * loop_s
    sums = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
    for visit in range(share * visits, tl.minimum((share + 1) * visits, total)):
        block_s = tile_s + visit % loop_s
        block_t = tile_t + (visit // loop_s) % loop_t
        # Either the tile names the head and the visit says 0, or the other way round.
        head = tile_h + (visit // (loop_s * loop_t)) % loop_h
        batch = tile_b + visit // (loop_s * loop_t * loop_h)
        sums += visit_tile(
            query,
            key,
            value,
            grad_out,
            lse,
            delta,
            block_t * BLOCK_T,
            block_s * BLOCK_S,
            batch.to(tl.int64),
            head.to(tl.int64),
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

    width_t = 1 if ONE_T else shape.T
    width_s = 1 if ONE_S else shape.S
    plane = (share * bias_b + tile_b) * bias_h + tile_h
    partial += plane.to(tl.int64) * width_t * width_s
    rows = tile_t * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tile_s * BLOCK_S + tl.arange(0, BLOCK_S)
    if ONE_T and ONE_S:
        tl.store(partial, tl.sum(tl.sum(sums, axis=1), axis=0))
    elif ONE_T:
        tl.store(partial + columns, tl.sum(sums, axis=0), mask=columns < shape.S)
    elif ONE_S:
        tl.store(partial + rows, tl.sum(sums, axis=1), mask=rows < shape.T)
    else:
        pointers = partial + rows.to(tl.int64)[:, None] * shape.S + columns[None, :]
        tl.store(pointers, sums, mask=(rows < shape.T)[:, None] & (columns < shape.S)[None, :])
