"""The draws of seeded dropout, taken out of the kernels of attention."""

import triton
import triton.language as tl

from headway.core.ops.attention.triton.operands import Dropout, Shape
from headway.core.ops.attention.triton.scores import kept


@triton.jit
def draws_kernel(out, seed, threshold, line, keys, BLOCK: tl.constexpr):
    rows, columns = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    shape = Shape(1, 1, BLOCK, keys)
    stays = kept(rows, columns, line, shape, Dropout(seed, threshold, 2.0))
    tl.store(out + rows * BLOCK + columns, stays.to(tl.int32))
