"""What the backward kernels know of each row: its log-sum-exp and what all its gradients share."""

import triton
import triton.language as tl

from headway.core.ops.kernels.rows import LOG2E, head_of, load_rows


@triton.jit
def delta_kernel(
    out,
    grad_out,
    grad_lse,
    lse,
    delta,
    shape,
    DV: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    """The part of the gradient of the scores that is the same for a whole row."""
    blocks = tl.cdiv(shape.T, BLOCK_T)
    program = tl.program_id(0)
    rows = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    head = ((program // blocks) % shape.H).to(tl.int64)
    batch = (program // (blocks * shape.H)).to(tl.int64)
    line = (batch * shape.H + head) * shape.T
    rows_64 = rows.to(tl.int64)
    out_block = load_rows(head_of(out, batch, head), rows_64, shape.T, out.stride_n, DV, BLOCK_DV)
    grad_block = load_rows(
        head_of(grad_out, batch, head), rows_64, shape.T, grad_out.stride_n, DV, BLOCK_DV
    )
    sums = tl.sum(out_block.to(tl.float32) * grad_block.to(tl.float32), axis=1)
    if grad_lse is not None:
        sums -= tl.load(grad_lse + line + rows, mask=rows < shape.T, other=0.0)
    # The log-sum-exp of an empty row is a constant, whatever gradient reaches it.
    empty = tl.load(lse + line + rows, mask=rows < shape.T, other=0.0) == float("-inf")
    tl.store(delta + line + rows, tl.where(empty, 0.0, sums), mask=rows < shape.T)


@triton.jit
def load_statistics(lse, delta, rows, end):
    """Log-sum-exp in units of log 2 and delta; an empty or missing row gets weights of zero."""
    sums = tl.load(lse + rows, mask=rows < end, other=float("-inf"))
    sums = tl.where(sums == float("-inf"), float("inf"), sums * LOG2E)
    return sums, tl.load(delta + rows, mask=rows < end, other=0.0)
