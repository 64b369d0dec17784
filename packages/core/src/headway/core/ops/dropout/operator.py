"""Dropout as a torch.library operator: its gradient is itself, with the same seed."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.dropout import native, reference
from headway.core.ops.kernels.operators import register_flops


@torch.library.custom_op("headway::dropout", mutates_args=())
def seeded_dropout(x: Tensor, seed: Tensor, rate: float) -> Tensor:
    """Dropout whose draws are a function of the seed and of the elements' numbers."""
    if native.reason_against(x) is None:
        return native.dropout(x, int(seed), rate)
    return reference.dropout(x, seed, rate).contiguous()


@seeded_dropout.register_fake
def _(x: Tensor, seed: Tensor, rate: float) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.rate = inputs[2]


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (seed,) = ctx.saved_tensors
    return seeded_dropout(grad, seed, ctx.rate), None, None


seeded_dropout.register_autograd(_differentiate, setup_context=_save)


@seeded_dropout.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], x: Tensor, seed: Tensor, rate: float
) -> tuple[Tensor, int]:
    """Items of a mapped batch with one seed drop the same; those with seeds of their own do not."""
    items, seeds = (
        given.unbind(dim) if dim is not None else (given,) * info.batch_size
        for given, dim in zip((x, seed), in_dims[:2], strict=True)
    )
    out = [seeded_dropout(item, own, rate) for item, own in zip(items, seeds, strict=True)]
    return torch.stack(out), 0


register_flops(seeded_dropout, lambda *_, **__: 0)
