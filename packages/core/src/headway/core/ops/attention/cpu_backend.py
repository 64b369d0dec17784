"""The C++ backend as the dispatch sees it; compiles once a request is for it."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops import native
from headway.core.ops.attention import operands, operator
from headway.core.ops.attention.native import launch
from headway.core.ops.attention.request import Request
from headway.core.ops.attention.sdpa_training import multiplies_bfloat16
from headway.core.ops.tracing import readable
from headway.core.private_torch import has_dispatch_mode

_DTYPES = (torch.float32, torch.bfloat16)
# Multiplications of queries with keys below which other costs than the kernel's decide.
SMALL = 2**20
# The same with dropout, for which PyTorch's path on the CPU keeps three tensors of the scores' size.
SMALL_DROPPED = 2**16


def reason_against(request: Request) -> str | None:
    """Why this backend cannot take the request, with the remedy, or None if it can."""
    if not request.query.is_cpu:
        return f"native kernels are for the CPU, not {request.query.device}; use backend='auto'"
    if request.query.dtype not in _DTYPES:
        return f"native: {request.query.dtype} has no kernel; use float32 or bfloat16, or 'sdpa'"
    if request.softcap is not None:
        return "native has no softcap; use backend='reference'"
    # A graph is not the place to start a compiler; its operator does so when it runs.
    return None if torch.compiler.is_compiling() else native.reason_against(launch.SOURCE)


def is_fastest(request: Request) -> bool:
    """Whether a request on the CPU is one that PyTorch's kernels are slower at."""
    query = request.query
    # Asked first: sizes that are compared while a graph is made would be bound by it.
    if not readable(query):
        return False
    if query.dtype == torch.bfloat16 and multiplies_bfloat16() and not _bias_learns(request):
        return False
    batch, heads, queries, keys = request.shape
    small = SMALL_DROPPED if request.dropout else SMALL
    return batch * heads * queries * keys * query.shape[3] >= small


def attention(request: Request) -> tuple[Tensor, Tensor]:
    """The output and the log-sum-exp of a request that `reason_against` lets pass.

    Shape:
        (B, H, T, Dv) and float32 (B, H, T).
    """
    if (
        not readable(request.query)
        # Whoever watches operators (flop counters, selective checkpoints, fake tensors) sees one.
        or has_dispatch_mode()
    ):
        return operator.attention(request)
    return _Direct.apply(*operands.arguments(request))


def _bias_learns(request: Request) -> bool:
    """Whether SDPA would take its unfused path for the sake of a gradient."""
    given = (request.bias, request.table)
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given)


class _Direct(torch.autograd.Function):
    """The operator without its registration, which costs as much as a small problem."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        out, lse = launch.forward(operands.request_of(*arguments))
        count = len(operands.TENSORS)
        ctx.save_for_backward(*arguments[:count], out, lse)
        ctx.numbers = arguments[count:]
        ctx.set_materialize_grads(False)
        return out, lse

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            # Asked for with create_graph: the operator's gradients have gradients themselves.
            return operator.differentiate_forward(ctx, *grads)
        return operator.first_gradients(ctx, grads, launch.backward)
