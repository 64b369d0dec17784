"""Times `headway.core.ops.attention` on the CPU against what it stands on or replaces.

One thread, process CPU time, the contestants in turn, the least time of each; a ratio above one
means that headway is faster. Before they are timed, outputs and gradients are compared.
"""

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from headway.core.ops import attention

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


def bare(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The floor under every plain call."""
    return F.scaled_dot_product_attention(query, key, value)


def padded_by_mask(lengths: Tensor) -> Function:
    """What one writes for key lengths without headway."""

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mask = torch.arange(key.shape[2]) < lengths[:, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])

    return call


def unpacked(bounds: list[int]) -> Function:
    """Packed items as a padded batch with a mask."""
    starts, ends = torch.tensor(bounds[:-1]), torch.tensor(bounds[1:])
    sizes = ends - starts
    places = torch.arange(int(sizes.max()))
    inside = places < sizes[:, None]
    into = (starts[:, None] + places).clamp(max=bounds[-1] - 1).flatten()
    back = inside.flatten().nonzero().flatten()
    attend = padded_by_mask(sizes)

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        shape = (query.shape[1], *inside.shape, query.shape[3])
        padded = [
            x[0].index_select(1, into).view(shape).transpose(0, 1) for x in (query, key, value)
        ]
        out = attend(*padded).transpose(0, 1).flatten(1, 2)
        return out.index_select(1, back)[None]

    return call


def cases() -> list[tuple[str, tuple[int, ...], torch.dtype, Function, Function]]:
    vision, windows = (8, 6, 197, 64), (128, 3, 49, 32)
    found: list[tuple[str, tuple[int, ...], torch.dtype, Function, Function]] = []
    found.extend(
        (f"plain {shape}", shape, torch.float32, attention, bare)
        for shape in (vision, windows, (64, 4, 20, 16))
    )
    found.extend(
        (f"plain {shape} {dtype}", shape, dtype, attention, bare)
        for shape in (vision, windows)
        for dtype in (torch.bfloat16, torch.float16)
    )
    generator = torch.Generator().manual_seed(0)
    for shape in (vision, (16, 4, 512, 64), (32, 4, 64, 32), (64, 4, 20, 16)):
        keys = shape[2]
        lengths = torch.randint(keys // 4, keys + 1, (shape[0],), generator=generator)
        found.append(
            (
                f"lengths {shape}",
                shape,
                torch.float32,
                lambda q, k, v, lengths=lengths: attention(q, k, v, lengths=lengths),
                padded_by_mask(lengths),
            )
        )
    for count, longest, heads in ((16, 512, 4), (64, 197, 6)):
        sizes = torch.randint(longest // 4, longest + 1, (count,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
        shape = (1, heads, int(offsets[-1]), 64)
        found.append(
            (
                f"packed {count} x <={longest}",
                shape,
                torch.float32,
                lambda q, k, v, offsets=offsets: attention(q, k, v, offsets=offsets),
                unpacked(offsets.tolist()),
            )
        )
    return found


def measure(functions: list[Function], inputs: list[Tensor], backward: bool, seconds: float):
    """The least CPU time of each function in seconds, taken in turn."""
    grad = torch.ones_like(functions[0](*inputs))

    def once(function: Function, repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            if backward:
                torch.autograd.grad(function(*inputs), inputs, grad)
            else:
                with torch.no_grad():
                    function(*inputs)
        return (time.process_time() - start) / repeats

    repeats = max(1, int(0.02 / once(functions[0], 1)))
    best = [float("inf")] * len(functions)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, function in enumerate(functions):
            best[number] = min(best[number], once(function, repeats))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    parser.add_argument("--only", default="", help="part of the name of the cases to run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':<40} {'work':<18} {'headway':>10} {'peer':>10} {'ratio':>6}")
    for name, shape, dtype, ours, theirs in cases():
        if arguments.only not in name:
            continue
        torch.manual_seed(0)
        inputs = [torch.randn(shape).to(dtype).requires_grad_() for _ in range(3)]
        tolerance = 2e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(ours(*inputs), theirs(*inputs), atol=tolerance, rtol=tolerance)
        for backward in (False, True):
            mine, other = measure([ours, theirs], inputs, backward, arguments.seconds)
            work = "forward+backward" if backward else "forward"
            print(
                f"{name:<40} {work:<18} {mine * 1e3:>8.2f}ms {other * 1e3:>8.2f}ms"
                f" {other / mine:>6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
