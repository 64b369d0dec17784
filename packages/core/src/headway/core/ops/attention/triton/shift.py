"""Products of queries with rows of distances, moved to where their pairs stand in a tile of scores.

A tile of BLOCK_T queries and BLOCK_S keys meets BLOCK_T + BLOCK_S - 1 distances. Their rows are multiplied in
chunks as wide as the tile. In each row of the tile every column of exactly one chunk is needed, so the chunks
are merged first, and then the row is turned: nothing wider than the tile is gathered. The gradient goes
the same way back.
"""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import head_of, load_rows


@triton.jit
def load_inside(start, rows, count, stride, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """As `load_rows`, with zeros for rows before the first one too."""
    rows = tl.where(rows < 0, count, rows).to(tl.int64)
    return load_rows(start, rows, count, stride, D, BLOCK_D)


@triton.jit
def query_rows(rules, rows, end, batch, head, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The queries of the second product; None without one."""
    block = None
    if rules.relative is not None:
        query = rules.relative.query
        block = load_rows(
            head_of(query, batch, head), rows.to(tl.int64), end, query.stride_n, D, BLOCK_D
        )
    return block


@triton.jit
def distance_rows(
    rules, first, head, shape, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK: tl.constexpr
):
    """BLOCK rows of distances from `first` on; zeros where there are none."""
    key = rules.relative.key
    rows = first + tl.arange(0, BLOCK)
    start = key.start + head * key.stride_h
    return load_inside(start, rows, shape.T + shape.S - 1, key.stride_n, D, BLOCK_D)


@triton.jit
def first_distance(start_t, start_s, shape, BLOCK_T: tl.constexpr):
    """The row of distances of a tile's last query and first key."""
    return start_s - start_t + shape.T - BLOCK_T


@triton.jit
def shifted(
    block,
    rules,
    start_t,
    start_s,
    head,
    shape,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What the second product adds to a tile of scores, queries first; None without one."""
    tile = None
    if rules.relative is not None:
        first = first_distance(start_t, start_s, shape, BLOCK_T)
        steps = tl.arange(0, BLOCK_S)[None, :] + tl.arange(0, BLOCK_T)[:, None] - (BLOCK_T - 1)
        merged = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
        for chunk in range((BLOCK_T + BLOCK_S - 1) // BLOCK_S + 1):
            columns = distance_rows(
                rules, first + chunk * BLOCK_S, head, shape, D, BLOCK_D, BLOCK_S
            )
            products = tl.dot(block, tl.trans(columns), input_precision=PRECISION)
            merged = tl.where(_in_chunk(steps, chunk, BLOCK_S), products, merged)
        turn = tl.arange(0, BLOCK_S)[None, :] - tl.arange(0, BLOCK_T)[:, None] + (BLOCK_T - 1)
        tile = tl.gather(merged, turn & (BLOCK_S - 1), axis=1)
    return tile


@triton.jit
def shifted_columns(
    block,
    rules,
    start_t,
    start_s,
    head,
    shape,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The same for a tile whose second axis is that of the queries."""
    tile = None
    if rules.relative is not None:
        first = first_distance(start_t, start_s, shape, BLOCK_T)
        steps = tl.arange(0, BLOCK_S)[:, None] + tl.arange(0, BLOCK_T)[None, :] - (BLOCK_T - 1)
        merged = tl.zeros((BLOCK_S, BLOCK_T), tl.float32)
        for chunk in range((BLOCK_T + BLOCK_S - 1) // BLOCK_S + 1):
            columns = distance_rows(
                rules, first + chunk * BLOCK_S, head, shape, D, BLOCK_D, BLOCK_S
            )
            products = tl.dot(columns, tl.trans(block), input_precision=PRECISION)
            merged = tl.where(_in_chunk(steps, chunk, BLOCK_S), products, merged)
        turn = tl.arange(0, BLOCK_S)[:, None] - tl.arange(0, BLOCK_T)[None, :] + (BLOCK_T - 1)
        tile = tl.gather(merged, turn & (BLOCK_S - 1), axis=0)
    return tile


@triton.jit
def shifted_back(
    gradient,
    rules,
    start_t,
    start_s,
    head,
    shape,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """What a tile of gradients, queries first, gives to the queries of the second product."""
    first = first_distance(start_t, start_s, shape, BLOCK_T)
    steps = tl.arange(0, BLOCK_S)[None, :] + tl.arange(0, BLOCK_T)[:, None] - (BLOCK_T - 1)
    merged = tl.gather(gradient, steps & (BLOCK_S - 1), axis=1)
    sums = tl.zeros((BLOCK_T, BLOCK_D), tl.float32)
    for chunk in range((BLOCK_T + BLOCK_S - 1) // BLOCK_S + 1):
        columns = distance_rows(rules, first + chunk * BLOCK_S, head, shape, D, BLOCK_D, BLOCK_S)
        part = tl.where(_in_chunk(steps, chunk, BLOCK_S), merged, 0.0).to(columns.dtype)
        sums += tl.dot(part, columns, input_precision=PRECISION)
    return sums


@triton.jit
def along_distances(
    block,
    start,
    first,
    count,
    stride,
    D: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_P: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Products of a block of rows with keys, by distance: row i and column j take key `first` + i + j."""
    row, column = tl.arange(0, BLOCK_T)[:, None], tl.arange(0, BLOCK_P)[None, :]
    merged = tl.zeros((BLOCK_T, BLOCK_P), tl.float32)
    for chunk in range((BLOCK_T + BLOCK_P - 1) // BLOCK_P + 1):
        rows = first + chunk * BLOCK_P + tl.arange(0, BLOCK_P)
        keys = load_inside(start, rows, count, stride, D, BLOCK_D)
        products = tl.dot(block, tl.trans(keys), input_precision=PRECISION)
        merged = tl.where(_in_chunk(column - row, chunk, BLOCK_P), products, merged)
    return tl.gather(merged, (row + column) & (BLOCK_P - 1), axis=1)


@triton.jit
def _in_chunk(steps, chunk, BLOCK: tl.constexpr):
    """Where a column of a chunk belongs to a pair of the tile."""
    place = steps + chunk * BLOCK
    return (place >= 0) & (place < BLOCK)
