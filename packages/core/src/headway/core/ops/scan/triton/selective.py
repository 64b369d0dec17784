"""The selective scan forward and backward."""

import triton
import triton.language as tl


@triton.jit
def scan_kernel(
    u,
    delta,
    rates,
    inputs,
    outputs,
    state,
    out,
    last,
    N,
    D,
    S,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """One program per BLOCK_T channels of an item: token by token, states in registers."""
    blocks = tl.cdiv(D, BLOCK_T)
    program = tl.program_id(0)
    batch_64 = (program // blocks).to(tl.int64)
    channels = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    states = tl.arange(0, BLOCK_S)
    own, some = channels < D, states < S
    both = own[:, None] & some[None, :]
    matrix = channels[:, None] * S + states[None, :]
    rate = tl.load(rates + matrix, mask=both, other=0.0)
    h = tl.load(state + batch_64 * D * S + matrix, mask=both, other=0.0)
    u += batch_64 * N * D
    delta += batch_64 * N * D
    out += batch_64 * N * D
    inputs += batch_64 * N * S
    outputs += batch_64 * N * S
    for token in range(0, N):
        step = tl.load(delta + token * D + channels, mask=own, other=0.0)
        x = tl.load(u + token * D + channels, mask=own, other=0.0)
        b = tl.load(inputs + token * S + states, mask=some, other=0.0)
        c = tl.load(outputs + token * S + states, mask=some, other=0.0)
        h = tl.exp(step[:, None] * rate) * h + (step * x)[:, None] * b[None, :]
        tl.store(out + token * D + channels, tl.sum(h * c[None, :], axis=1), mask=own)
    tl.store(last + batch_64 * D * S + matrix, h, mask=both)


@triton.jit
def gradient_kernel(
    u,
    delta,
    rates,
    inputs,
    outputs,
    state,
    grad,
    grad_last,
    starts,
    chunk_states,
    grad_u,
    grad_delta,
    grad_rates,
    grad_inputs,
    grad_outputs,
    grad_state,
    N,
    D,
    S,
    CHUNKS,
    CHUNK: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """One program per BLOCK_T channels of an item.

    The states at the start of each chunk are made first; then, from the last chunk to the first, those
    within it, and from them the gradients. Gradients of `inputs` and `outputs` are summed over the
    channels of the program alone, each into its own place.
    """
    blocks = tl.cdiv(D, BLOCK_T)
    program = tl.program_id(0)
    program_64, batch_64 = program.to(tl.int64), (program // blocks).to(tl.int64)
    channels = (program % blocks) * BLOCK_T + tl.arange(0, BLOCK_T)
    states = tl.arange(0, BLOCK_S)
    own, some = channels < D, states < S
    both = own[:, None] & some[None, :]
    matrix = channels[:, None] * S + states[None, :]
    # The program's own memory: tiles of states, whole.
    tile = tl.arange(0, BLOCK_T)[:, None] * BLOCK_S + states[None, :]
    starts += program_64 * CHUNKS * BLOCK_T * BLOCK_S
    chunk_states += program_64 * CHUNK * BLOCK_T * BLOCK_S
    rate = tl.load(rates + matrix, mask=both, other=0.0)
    h = tl.load(state + batch_64 * D * S + matrix, mask=both, other=0.0)
    dh = tl.load(grad_last + batch_64 * D * S + matrix, mask=both, other=0.0)
    u += batch_64 * N * D
    delta += batch_64 * N * D
    grad += batch_64 * N * D
    grad_u += batch_64 * N * D
    grad_delta += batch_64 * N * D
    inputs += batch_64 * N * S
    outputs += batch_64 * N * S
    grad_inputs += program_64 * N * S
    grad_outputs += program_64 * N * S
    for chunk in range(0, CHUNKS):
        tl.store(starts + chunk * BLOCK_T * BLOCK_S + tile, h)
        last = tl.minimum((chunk + 1) * CHUNK, N)
        for token in range(chunk * CHUNK, last):  # pyright: ignore[reportArgumentType]
            step = tl.load(delta + token * D + channels, mask=own, other=0.0)
            x = tl.load(u + token * D + channels, mask=own, other=0.0)
            b = tl.load(inputs + token * S + states, mask=some, other=0.0)
            h = tl.exp(step[:, None] * rate) * h + (step * x)[:, None] * b[None, :]
    # What one thread wrote another may read.
    tl.debug_barrier()
    drate = tl.zeros((BLOCK_T, BLOCK_S), tl.float32)
    for number in range(0, CHUNKS):
        chunk = CHUNKS - 1 - number
        first = chunk * CHUNK
        count = tl.minimum(CHUNK, N - first)
        h = tl.load(starts + chunk * BLOCK_T * BLOCK_S + tile)
        for position in range(0, count):
            tl.store(chunk_states + position * BLOCK_T * BLOCK_S + tile, h)
            token = first + position
            step = tl.load(delta + token * D + channels, mask=own, other=0.0)
            x = tl.load(u + token * D + channels, mask=own, other=0.0)
            b = tl.load(inputs + token * S + states, mask=some, other=0.0)
            h = tl.exp(step[:, None] * rate) * h + (step * x)[:, None] * b[None, :]
        tl.debug_barrier()
        for back in range(0, count):
            position = count - 1 - back
            token = first + position
            step = tl.load(delta + token * D + channels, mask=own, other=0.0)
            x = tl.load(u + token * D + channels, mask=own, other=0.0)
            dy = tl.load(grad + token * D + channels, mask=own, other=0.0)
            b = tl.load(inputs + token * S + states, mask=some, other=0.0)
            c = tl.load(outputs + token * S + states, mask=some, other=0.0)
            before = tl.load(chunk_states + position * BLOCK_T * BLOCK_S + tile)
            decay = tl.exp(step[:, None] * rate)
            now = decay * before + (step * x)[:, None] * b[None, :]
            dh += dy[:, None] * c[None, :]
            dc = tl.sum(dy[:, None] * now, axis=0)
            db = tl.sum(dh * (step * x)[:, None], axis=0)
            tl.store(grad_outputs + token * S + states, dc, mask=some)
            tl.store(grad_inputs + token * S + states, db, mask=some)
            along = tl.sum(dh * b[None, :], axis=1)
            change = dh * before * decay
            moved = tl.sum(change * rate, axis=1)
            drate += change * step[:, None]
            tl.store(grad_u + token * D + channels, along * step, mask=own)
            tl.store(grad_delta + token * D + channels, moved + along * x, mask=own)
            dh *= decay
        tl.debug_barrier()
    tl.store(grad_rates + batch_64 * D * S + matrix, drate, mask=both)
    tl.store(grad_state + batch_64 * D * S + matrix, dh, mask=both)
