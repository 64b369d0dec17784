"""The associative scan as a torch.library operator whose gradient is the same operator, backwards."""

import math
from typing import Any

import torch
from torch import Tensor

from headway.core.ops.kernels.operators import fold_into_batch, register_flops


@torch.library.custom_op("headway::associative_scan", mutates_args=())
def scan_rows(decay: Tensor, added: Tensor, reverse: bool, backend: str) -> Tensor:
    """``h[t] = decay[t] * h[t - 1] + added[t]`` along rows (M, N); backwards, h[t + 1] takes its place."""
    if backend == "triton":
        from headway.core.ops.scan.triton import launch

        return launch.associative_scan(decay, added, reverse)
    if reverse:
        return chunked(decay.flip(1), added.flip(1)).flip(1)
    return chunked(decay, added)


@scan_rows.register_fake
def _(decay: Tensor, added: Tensor, reverse: bool, backend: str) -> Tensor:
    return added.new_empty(added.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    decay, _, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(decay, output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    decay, out = ctx.saved_tensors
    # What comes after a token depends on it by the decay of the next one.
    later, earlier = (1, 0) if not ctx.reverse else (0, 1)
    grad_added = scan_rows(_shifted(decay, later), grad.contiguous(), not ctx.reverse, ctx.backend)
    return grad_added * _shifted(out, earlier), grad_added, None, None


def _shifted(x: Tensor, later: int) -> Tensor:
    """The neighbour of each entry, the next (1) or the one before (0); zero at the end."""
    end = torch.zeros_like(x[:, :1])
    return torch.cat([x[:, 1:], end] if later else [end, x[:, :-1]], dim=1)


scan_rows.register_autograd(_differentiate, setup_context=_save)
fold_into_batch(scan_rows)


def chunked(decay: Tensor, added: Tensor) -> Tensor:
    """All chunks token by token at once, then their ends one after the other: 2 sqrt(N) steps."""
    rows, tokens = added.shape
    size = max(1, math.isqrt(max(tokens - 1, 0)) + 1)
    count = -(-tokens // size)
    extra = count * size - tokens
    padding = torch.nn.functional.pad
    # Time first, so that every step reads and writes whole rows.
    a = padding(decay, (0, extra)).T.reshape(count, size, rows).contiguous()
    h = padding(added, (0, extra)).T.reshape(count, size, rows).clone()
    total = a.clone()
    for step in range(1, size):
        h[:, step].addcmul_(a[:, step], h[:, step - 1])
        total[:, step].mul_(total[:, step - 1])
    for chunk in range(1, count):
        h[chunk].addcmul_(total[chunk], h[chunk - 1, -1])
    return h.view(count * size, rows)[:tokens].T.contiguous()


def _flops(decay: Any, *_: Any, **__: Any) -> int:
    return 2 * decay[0] * decay[1]


register_flops(scan_rows, _flops)
