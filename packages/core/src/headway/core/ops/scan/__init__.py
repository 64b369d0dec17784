"""First-order linear recurrences: the associative scan, and the selective scan of state spaces."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.ops.kernels.machine import reason_against as reason_against_device
from headway.core.ops.kernels.operators import without_autocast
from headway.core.ops.scan import native, operator, reference
from headway.core.ops.scan.recurrence import scan_rows
from headway.core.ops.tracing import settled
from headway.core.private_torch import in_transform

__all__ = ["associative_scan", "reason_against", "selective_scan"]
_MOST_STATES = 256


def associative_scan(
    decay: Tensor,
    added: Tensor,
    *,
    state: Tensor | None = None,
    dim: int = -1,
    backend: str = "auto",
) -> Tensor:
    """``h[t] = decay[t] * h[t - 1] + added[t]`` along one axis, in 2 sqrt(N) steps instead of N.

    Any number of derivatives: the gradient is the same scan, backwards.

    Args:
        decay: What is left of the state at each position; broadcast to `added`.
        added: What each position adds.
        state: The state before the first position; zero if None.
        dim: The axis.
        backend: "auto", "reference" (position by position), "chunked" or "triton".

    Shape:
        decay broadcastable to added (any shape); state: that of added without `dim`. Output: as added.

    Raises:
        UserError: If the shapes do not fit, or the backend cannot do what is asked for.

    Source:
        Blelloch 1990, "Prefix sums and their applications", section 1.4.
    """
    if backend not in ("auto", "reference", "chunked", "triton"):
        raise UserError(f"backend is {backend!r}; use 'auto', 'reference', 'chunked' or 'triton'")
    if not -added.ndim <= dim < added.ndim:
        raise UserError(f"dim {dim} is not an axis of a tensor of {added.ndim} axes")
    try:
        decay = decay.expand(added.shape)
    except RuntimeError:
        raise UserError(
            f"decay {tuple(decay.shape)} cannot be broadcast to added {tuple(added.shape)}"
        ) from None
    decay, added = decay.movedim(dim, -1), added.movedim(dim, -1)
    if state is not None:
        if state.shape != added.shape[:-1]:
            raise UserError(
                f"state {tuple(state.shape)} must be {tuple(added.shape[:-1])}: added without `dim`"
            )
        first = decay[..., :1] * state[..., None]
        # Not a slice of the others: it would bind a free number of positions.
        added = added + F.pad(first, (0, added.shape[-1] - 1))
    reason = _reason_against_triton(added)
    if backend == "auto":
        backend = "triton" if added.is_cuda and reason is None else "chunked"
    elif backend == "triton" and reason is not None:
        raise UserError(reason)
    if added.numel() == 0:
        return torch.zeros_like(added).movedim(-1, dim)
    rows = [x.reshape(-1, x.shape[-1]) for x in (decay, added)]
    if backend == "reference" or _sees_through(added):
        found = reference.associative_scan(*rows)
    else:
        found = scan_rows(*rows, False, backend)
    return found.view(added.shape).movedim(-1, dim)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    softplus: bool = False,
    state: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A diagonal state space whose step, input and output depend on the token.

    ``h[t] = exp(delta[t] A) h[t - 1] + delta[t] u[t] B[t]`` and ``y[t] = C[t] . h[t] + D u[t]``, times
    ``silu(z[t])``. States are kept in float32 at least and never written for all tokens; the backward
    pass makes them again, chunk by chunk. A step is a scan of one token with the state of those before.

    Args:
        u: Input.
        delta: Step of each token and channel, positive (or any number with `softplus`).
        A: Rates, negative; not the logarithms.
        B: How the input enters the states.
        C: How the states give the output.
        D: Weight of the input in the output; none if None.
        z: Gate of the output; none if None.
        delta_bias: Added to the step before `softplus`.
        softplus: Whether the step is the softplus of what is given.
        state: The states before the first token; zero if None.
        backend: "auto", "reference" (token by token), "scan" (all states by `associative_scan`), "native"
            (C++) or "triton".

    Returns:
        The output, and the states after the last token.

    Shape:
        u, delta, z (N tokens, D channels): (B, N, D); A (D, S); B, C (B, N, S); D, delta_bias (D,);
        state (B, D, S). Output: (B, N, D) and (B, D, S).

    Raises:
        UserError: If the shapes do not fit, or the backend cannot do what is asked for.

    Source:
        Gu and Dao 2023, https://arxiv.org/abs/2312.00752, algorithm 2 and section 3.3.
    """
    _check(u, delta, A, B, C, state, backend)
    kept = u.dtype
    dtype = torch.promote_types(u.dtype, torch.float32)
    with without_autocast(u):
        delta = delta.to(dtype)
        if delta_bias is not None:
            delta = delta + delta_bias.to(dtype)
        if softplus:
            delta = F.softplus(delta)
        if state is None:
            state = u.new_zeros((u.shape[0], *A.shape), dtype=dtype)
        wide = (u.to(dtype), delta, A.to(dtype), B.to(dtype), C.to(dtype), state.to(dtype))
        chosen = _choose(wide[0], wide[2], backend)
        if chosen == "reference":
            out, last = reference.selective_scan(*wide)
        elif chosen == "scan":
            out, last = _by_associative_scan(*wide)
        else:
            out, last = operator.selective_scan_forward(*wide, chosen)
        if D is not None:
            out = out + D.to(dtype) * wide[0]
        if z is not None:
            out = out * F.silu(z.to(dtype))
    return out.to(kept), last


def reason_against(u: Tensor, A: Tensor, backend: str) -> str | None:
    """Why "native" or "triton" cannot run the selective scan, with the remedy, or None if it can."""
    if backend == "native":
        return native.reason_against(u, A)
    if A.shape[1] > _MOST_STATES:
        return f"triton: {A.shape[1]} states per channel are above {_MOST_STATES}; use 'scan'"
    return _reason_against_triton(u)


def _by_associative_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    if not u.shape[1]:
        return torch.zeros_like(u), state
    decay = (delta[..., None] * A).exp()
    added = (delta * u)[..., None] * settled(B)[:, :, None]
    states = associative_scan(decay, added, state=state, dim=1)
    return (settled(states) * settled(C)[:, :, None]).sum(dim=-1), states[:, -1]


def _reason_against_triton(x: Tensor) -> str | None:
    if x.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"triton: {x.dtype} has no kernel; use backend='auto'"
    return reason_against_device(x.device)


def _sees_through(x: Tensor) -> bool:
    """Whether torch.func differentiates plain functions by itself."""
    return in_transform() and x.requires_grad


def _choose(u: Tensor, A: Tensor, backend: str) -> str:
    if backend == "auto":
        exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()
        one = isinstance(u.shape[1], int) and u.shape[1] == 1
        if one or in_transform():
            return "reference"
        if exporting:
            return "scan"
        best = "native" if u.is_cpu else "triton"
        return best if reason_against(u, A, best) is None else "scan"
    if backend in ("native", "triton"):
        reason = reason_against(u, A, backend)
        if reason is not None:
            raise UserError(reason)
    return backend


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor | None,
    backend: str,
) -> None:
    backends = ("auto", "reference", "scan", "native", "triton")
    if backend not in backends:
        raise UserError(f"backend is {backend!r}; use one of {list(backends)}")
    if u.ndim != 3 or delta.shape != u.shape:
        raise UserError(f"u {tuple(u.shape)} and delta {tuple(delta.shape)} must be (B, N, D)")
    if A.ndim != 2 or A.shape[0] != u.shape[2]:
        raise UserError(f"A {tuple(A.shape)} must be (D, S) with D = {u.shape[2]}")
    wanted = (*u.shape[:2], A.shape[1])
    if B.shape != wanted or C.shape != wanted:
        raise UserError(
            f"B {tuple(B.shape)} and C {tuple(C.shape)} must be (B, N, S) = {tuple(wanted)}"
        )
    if state is not None and state.shape != (u.shape[0], *A.shape):
        raise UserError(f"state {tuple(state.shape)} must be (B, D, S) = {(u.shape[0], *A.shape)}")
