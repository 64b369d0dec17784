"""Times `headway.core.ops.deformable_attention` on the CPU against transformers' form of grid_sample.

One thread, process CPU time, the contestants in turn over many rounds; a ratio is headway's least time
divided by that of the peer, so below one headway wins. Outputs and gradients are compared first.
"""

import argparse
from collections.abc import Callable

import torch
from attention import BOTH, FORWARD, measure
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import (
    MultiScaleDeformableAttention,
)

from headway.core.ops import deformable_attention

LEVELS = [(64, 64), (32, 32), (16, 16), (8, 8)]
TOKENS = sum(rows * columns for rows, columns in LEVELS)
HEADS, WIDTH, POINTS = 8, 32, 4
# Queries: those of a decoder, and all tokens in an encoder. Ratios to stay under, by work.
TARGETS = {300: {FORWARD: 1.0, BOTH: 1.0}, TOKENS: {FORWARD: 0.75, BOTH: 1.0}}


def ours(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return deformable_attention(value, locations, weights, levels=LEVELS)


def theirs(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    sizes = torch.tensor([rows * columns for rows, columns in LEVELS])
    starts = sizes.cumsum(0) - sizes
    shapes = torch.tensor(LEVELS)
    attend = MultiScaleDeformableAttention()
    return attend(value, shapes, LEVELS, starts, locations, weights, 64)


def inputs(queries: int) -> list[Tensor]:
    torch.manual_seed(0)
    shape = (1, queries, HEADS, len(LEVELS), POINTS)
    weights = torch.randn(shape).flatten(3).softmax(dim=-1).view(shape)
    given = [torch.randn(1, TOKENS, HEADS, WIDTH), torch.rand(*shape, 2), weights]
    return [x.requires_grad_() for x in given]


def runner(
    attend: Callable[..., Tensor], tensors: list[Tensor], grad: Tensor, work: str
) -> Callable[[], object]:
    def forward() -> Tensor:
        with torch.no_grad():
            return attend(*tensors)

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(attend(*tensors), tensors, grad)

    return forward if work == FORWARD else both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'queries':>8} {'work':<17} {'headway':>10} {'grid_sample':>12} {'ratio':>6} target")
    for queries, targets in TARGETS.items():
        tensors = inputs(queries)
        grad = torch.randn(1, queries, HEADS * WIDTH)
        outputs = [attend(*tensors) for attend in (ours, theirs)]
        torch.testing.assert_close(*outputs, atol=1e-4, rtol=1e-4)
        first, second = (torch.autograd.grad(out, tensors, grad) for out in outputs)
        # Not of the locations: on the border of two cells their gradient has two values.
        torch.testing.assert_close(first[::2], second[::2], atol=1e-3, rtol=1e-3)
        for work, target in targets.items():
            functions = [runner(attend, tensors, grad, work) for attend in (ours, theirs)]
            mine, other = (min(found) for found in measure(functions, arguments.seconds))
            print(
                f"{queries:>8} {work:<17} {mine * 1e3:>8.2f}ms {other * 1e3:>10.2f}ms "
                f"{mine / other:>6.2f} {target:>6.2f}{'' if mine <= target * other else '  short'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
