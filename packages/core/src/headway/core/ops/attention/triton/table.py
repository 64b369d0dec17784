"""The gradient of a table of biases that scores read through an index.

Nothing of the size of the scores is kept: each program adds the tiles of its share up in registers, as long
as the index stays the same, and then adds every entry's sum to a row of partial sums of its own. A tile
meets few of the entries (relative positions change by one from pair to pair), and only those are looked for.
"""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import load_plane
from headway.core.ops.attention.triton.tile_gradient import visit_tile


@triton.jit
def table_kernel(
    query,
    key,
    value,
    grad_out,
    lse,
    delta,
    partial,
    visits,
    repeats,
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
    """One program per head and share of the visits, whose partial sums begin at zero.

    The index has one plane for `repeats` items. `visits` is how many tiles of scores a share holds; they
    are numbered so that those under one tile of the index follow each other.
    """
    blocks_s = tl.cdiv(shape.S, BLOCK_S)
    total = tl.cdiv(shape.T, BLOCK_T) * blocks_s * shape.B
    program = tl.program_id(0)
    head = (program % shape.H).to(tl.int64)
    share = program // shape.H
    entries = rules.table.entries
    partial += program.to(tl.int64) * entries
    begin = share * visits
    end = tl.minimum(begin + visits, total)
    for tile in range(begin // repeats, tl.cdiv(end, repeats)):
        plane_b = tile // (total // shape.B)
        start_t = (tile // blocks_s) % (total // shape.B // blocks_s) * BLOCK_T
        start_s = tile % blocks_s * BLOCK_S
        sums = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
        for visit in range(
            tl.maximum(tile * repeats, begin), tl.minimum((tile + 1) * repeats, end)
        ):
            batch = plane_b + visit % repeats
            sums += visit_tile(
                query,
                key,
                value,
                grad_out,
                lse,
                delta,
                start_t,
                start_s,
                batch.to(tl.int64),
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
        rows = start_t + tl.arange(0, BLOCK_T)
        columns = start_s + tl.arange(0, BLOCK_S)
        exists = (rows < shape.T)[:, None] & (columns < shape.S)[None, :]
        numbers = load_plane(
            rules.table.numbers, plane_b, 0, rows[:, None], columns[None, :], exists
        ).to(tl.int32)
        low = tl.min(tl.min(tl.where(exists, numbers, entries), axis=1), axis=0)
        high = tl.max(tl.max(tl.where(exists, numbers + 1, 0), axis=1), axis=0)
        for entry in range(tl.maximum(low, 0), tl.minimum(high, entries)):
            found = tl.sum(tl.sum(tl.where(numbers == entry, sums, 0.0), axis=1), axis=0)
            tl.store(partial + entry, tl.load(partial + entry) + found)
        # What one thread has stored the others may read in the next turn.
        tl.debug_barrier()
