"""Calls the C++ kernels: memory for the results and the sums behind them; no checks of arguments."""

import ctypes
import dataclasses
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops import native
from headway.core.ops.attention.native.structures import Gradients, Problem, point, problem_of
from headway.core.ops.attention.request import Request
from headway.core.ops.attention.results import Wanted, empty_outputs, empty_rows

SOURCE = Path(__file__).with_name("attention.cpp")
# Partial sums of the gradient of a bias: at most so many, in at most so many numbers. Both are
# constants, so that the order of the sums does not depend on the machine.
_PARTS, _PARTIAL = 16, 2**22
# Elements of a bias that is gathered from a table, 64 MiB; a larger one is looked up pair by pair.
_GATHERED = 2**24
# Columns that the widest vectors write at once.
_VECTOR = 32


def forward(request: Request) -> tuple[Tensor, Tensor]:
    """Runs the forward kernel.

    Shape:
        (B, H, T, Dv), laid out as (B, T, H, Dv), and float32 (B, H, T).
    """
    plain = _plain(request)
    out, lse = empty_outputs(request.query, request.value)
    if request.offsets is not None:
        # Tokens that belong to no item are not visited.
        out.zero_()
        lse.fill_(-torch.inf)
    problem, kept = problem_of(plain, out, lse)
    native.library(SOURCE).attention_forward(ctypes.byref(problem), _narrow(request))
    del kept
    return (out, lse) if request.sinks is None else _with_sinks(out, lse, request.sinks)


def backward(
    request: Request,
    grad_out: Tensor,
    grad_lse: Tensor | None,
    out: Tensor,
    lse: Tensor,
    wanted: Wanted,
) -> tuple[Tensor, ...]:
    """Runs the backward kernel.

    Returns:
        Gradients of query, key, value, bias, slopes, table, scales, sinks, relative queries and distances;
        of the last seven those that are not wanted are empty, and the last two are never wanted here.
    """
    plain = _plain(request)
    grads = [empty_rows(x) for x in (plain.query, plain.key, plain.value)]
    if request.offsets is not None or request.lengths is not None:
        for grad in grads:
            grad.zero_()
    problem, kept = problem_of(plain, _rows(out), lse)
    grad_out = _rows(grad_out)
    gradients = Gradients()
    point(gradients, "grad", grad_out)
    if grad_lse is not None:
        grad_lse = grad_lse.float().contiguous()
        gradients.grad_lse = grad_lse.data_ptr()
    for name, grad in zip(("query", "key", "value"), grads, strict=True):
        point(gradients, name, grad)
    arguments = (ctypes.byref(problem), ctypes.byref(gradients), _narrow(request))
    run = native.library(SOURCE).attention_backward
    others = {name: request.query.new_empty(0) for name in Wanted._fields}
    slopes = None
    if wanted.slopes:
        slopes = torch.zeros(problem.items or problem.batch, problem.heads)
        gradients.slopes = slopes.data_ptr()
    in_kernel = wanted.table and plain.table is not None
    dense = wanted.bias or (wanted.table and not in_kernel)
    gradients.parts = _parts(problem, plain.bias if dense else None, in_kernel)
    entries = None
    if in_kernel:
        entries = torch.zeros(gradients.parts, problem.heads, problem.entries)
        gradients.table = entries.data_ptr()
    if dense:
        assert plain.bias is not None
        partial = _partial(plain.bias, problem, gradients)
        run(*arguments)
        sums = _summed(partial, plain.bias, problem, gradients)
        if request.bias is not None and wanted.bias:
            others["bias"] = sums.sum_to_size(request.bias.shape).to(request.bias.dtype)
        if wanted.table and not in_kernel:
            others["table"] = _table_sums(request, sums)
    else:
        run(*arguments)
    if entries is not None and request.table is not None:
        others["table"] = entries.sum(dim=0).T.to(request.table.dtype)
    if request.alibi_slopes is not None and slopes is not None:
        others["slopes"] = slopes.sum(dim=0).to(request.alibi_slopes.dtype)
    if request.sinks is not None and wanted.sinks:
        shares = torch.exp(request.sinks.float()[:, None] - lse)
        sums = (out.float() * grad_out.float()).sum(dim=-1)
        sums = sums if grad_lse is None else sums - grad_lse
        others["sinks"] = -(shares * sums).sum(dim=(0, 2)).to(request.sinks.dtype)
    del kept
    if isinstance(request.scale, Tensor):
        scales = request.scale.to(grads[0].dtype)[:, None, None]
        if wanted.scales:
            sums = (grads[0].float() * request.query.float()).sum(dim=(0, 2, 3))
            others["scales"] = sums.to(request.scale.dtype)
        grads[0] = grads[0].mul_(scales)
    return *grads, *(others[name] for name in Wanted._fields)


def _with_sinks(out: Tensor, lse: Tensor, sinks: Tensor) -> tuple[Tensor, Tensor]:
    """The share that sinks take of results without them."""
    total = torch.logaddexp(lse, sinks.float()[:, None])
    return out.mul_(torch.exp(lse - total)[..., None]), total


def _plain(request: Request) -> Request:
    """The same with what the kernels do not know folded into what they do."""
    query, scale = request.query, request.scale
    if isinstance(scale, Tensor):
        query, scale = query * scale.to(query.dtype)[:, None, None], 1.0
    bias = None if request.bias is None else request.bias.float()
    table, index = request.table, request.index
    if table is not None and index is not None:
        if index.numel() * len(table.T) <= _GATHERED:
            entries = F.embedding(index.long(), table.float()).movedim(-1, -3)
            bias = entries.contiguous() if bias is None else bias + entries
            table = index = None
        else:
            _check_entries(index, len(table))
    return dataclasses.replace(
        request,
        query=_rows(query),
        key=_rows(request.key),
        value=_rows(request.value),
        scale=scale,
        bias=bias,
        table=table,
        index=index,
    )


def _check_entries(index: Tensor, count: int) -> None:
    least, most = (int(x) for x in index.aminmax())
    if least < 0 or most >= count:
        raise UserError(
            f"index holds numbers from {least} to {most}, the table has {count} entries; use 0 to {count - 1}"
        )


def _parts(problem: Problem, bias: Tensor | None, in_kernel: bool) -> int:
    """In how many parts of the batch the gradients that items share are summed."""
    numbers = problem.heads * problem.entries if in_kernel else 0
    if bias is not None:
        if bias.dim() == 4 and bias.shape[0] > 1:
            return 1
        numbers = max(numbers, bias.numel())
    return max(1, min(_PARTS, problem.items or problem.batch, _PARTIAL // max(numbers, 1)))


def _partial(bias: Tensor, problem: Problem, gradients: Gradients) -> Tensor:
    """Zeros into which the gradient of the bias is summed, in several parts of the batch."""
    sizes = (*(1,) * (4 - bias.dim()), *bias.shape)
    padded = -(-sizes[3] // _VECTOR) * _VECTOR if sizes[3] > 1 else 1
    if problem.items and padded > 1:
        # Items begin anywhere, and whole vectors are written beyond the last column of each.
        padded += _VECTOR
    numbers = math.prod(sizes[:3]) * padded
    partial = torch.zeros(gradients.parts, numbers)
    gradients.bias = partial.data_ptr()
    gradients.bias_items, gradients.bias_heads, gradients.bias_rows, gradients.bias_columns = sizes
    gradients.bias_padded = padded
    return partial


def _summed(partial: Tensor, bias: Tensor, problem: Problem, gradients: Gradients) -> Tensor:
    columns, padded = gradients.bias_columns, gradients.bias_padded
    if gradients.parts == 1 and padded == columns:
        return partial.view(bias.shape)
    total = torch.empty(bias.shape)
    rows = partial.shape[1] // padded
    native.library(SOURCE).attention_bias_gradient(
        ctypes.c_void_p(partial.data_ptr()),
        ctypes.c_void_p(total.data_ptr()),
        *map(ctypes.c_long, (gradients.parts, rows, columns, padded, problem.threads)),
    )
    return total


def _table_sums(request: Request, dense: Tensor) -> Tensor:
    """The gradient of each entry of the table: sums over its positions, in their order."""
    assert request.table is not None
    assert request.index is not None
    heads, index = request.query.shape[1], request.index
    shape = (index.shape[0] if index.dim() == 3 else 1, heads, *index.shape[-2:])
    dense = dense[None].sum_to_size(shape) if dense.dim() == 3 else dense.sum_to_size(shape)
    sums = torch.zeros(request.table.shape)
    sums.index_add_(0, index.flatten().long(), dense.movedim(1, -1).reshape(-1, heads))
    return sums.to(request.table.dtype)


def _narrow(request: Request) -> int:
    return int(request.query.dtype == torch.bfloat16)


def _rows(tensor: Tensor) -> Tensor:
    """The tensor, or a copy, whose rows are contiguous."""
    return tensor if tensor.stride(3) == 1 or tensor.shape[3] == 1 else tensor.contiguous()
