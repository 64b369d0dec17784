"""Small kernels, some of them wrong on purpose."""

import triton
import triton.language as tl


@triton.jit
def double_kernel(source, out, count, BLOCK: tl.constexpr):
    """Twice the source; it believes what it is told about the size."""
    places = tl.arange(0, BLOCK)
    values = tl.load(source + places, mask=places < count, other=0.0)
    tl.store(out + places, 2 * values, mask=places < count)


@triton.jit
def own_kernel(out):
    """Each program writes its own place."""
    program = tl.program_id(0)
    tl.store(out + program, program.to(tl.float32))


@triton.jit
def last_kernel(out):
    """All programs write the first place: the last one wins."""
    tl.store(out, tl.program_id(0).to(tl.float32))
