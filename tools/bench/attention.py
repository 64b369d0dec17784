"""Times `headway.core.ops.attention` on the CPU against what it stands on or replaces.

One thread, process CPU time, the contestants in turn over many rounds; a ratio above one means that
headway is faster than the fastest peer, by the least time of each and by the median. Before they are
timed, outputs and gradients are compared.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from headway.core.ops import attention

Attend = Callable[..., Tensor]
FORWARD, BOTH = "forward", "forward+backward"


@dataclass(frozen=True)
class Case:
    """One line of a table.

    Args:
        name: What it is.
        shape: Batch, heads, tokens, head width.
        ours: Called with query, key, value and, if there is one, the bias.
        peers: The same by others, by name.
        target: The ratio to reach.
        dtype: Of the inputs.
        bias: Shape of a bias.
        learned: Whether the bias has a gradient.
        works: Forward, or forward and backward, or both in turn.
    """

    name: str
    shape: tuple[int, int, int, int]
    ours: Attend
    peers: dict[str, Attend]
    target: float
    dtype: torch.dtype = torch.float32
    bias: tuple[int, ...] | None = None
    learned: bool = False
    works: tuple[str, ...] = field(default=(FORWARD, BOTH))


def with_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    return attention(query, key, value, bias=bias)


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def unfused_sdpa(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def eager(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    scores = query @ key.mT * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ value


def upcast(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    wide = eager(query.float(), key.float(), value.float(), None if bias is None else bias.float())
    return wide.to(query.dtype)


def masked(mask: Tensor) -> dict[str, Attend]:
    """Peers that are given the pairs that may meet."""

    def by_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def by_hand(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.mT * query.shape[-1] ** -0.5
        return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1) @ value

    return {"sdpa": by_sdpa, "eager": by_hand}


def plain(shape: tuple[int, int, int, int]) -> Case:
    return Case(f"none {shape}", shape, attention, {"sdpa": sdpa, "eager": eager}, 0.9)


def constant_bias(shape: tuple[int, int, int, int]) -> Case:
    _, heads, tokens, _ = shape
    peers = {"sdpa": sdpa, "eager": eager}
    return Case(f"bias {shape}", shape, with_bias, peers, 0.9, bias=(1, heads, tokens, tokens))


def causal(shape: tuple[int, int, int, int]) -> Case:
    peers = masked(torch.ones(shape[2], shape[2], dtype=torch.bool).tril())
    peers["sdpa"] = lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return Case(f"causal {shape}", shape, lambda *x: attention(*x, causal=True), peers, 0.9)


def lengths(shape: tuple[int, int, int, int]) -> Case:
    keys = shape[2]
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(keys // 4, keys + 1, (shape[0],), generator=generator)
    mask = (torch.arange(keys) < sizes[:, None])[:, None, None]
    name, ours = f"lengths {shape}", lambda *x: attention(*x, lengths=sizes)
    return Case(name, shape, ours, masked(mask), 0.9)


def shapes() -> Iterator[Case]:
    """What the domains call: each at least 0.90, the geometric mean at least 1.0."""
    yield plain((224, 4, 16, 16))
    yield lengths((64, 4, 16, 32))
    yield plain((128, 3, 49, 32))
    yield constant_bias((128, 3, 49, 32))
    yield causal((64, 4, 64, 32))
    yield plain((8, 6, 197, 64))
    yield constant_bias((8, 6, 197, 64))
    yield lengths((8, 4, 256, 64))
    yield causal((4, 4, 512, 64))
    yield lengths((4, 4, 1024, 64))
    yield causal((1, 4, 1024, 64))
    yield plain((1, 2, 4096, 64))


def learned() -> Iterator[Case]:
    """A bias with gradient, dense or by a table."""
    peers = {"sdpa": sdpa, "eager": eager}
    for shape, target in (
        ((128, 3, 49, 32), 1.25),
        ((8, 6, 197, 64), 1.1),
        ((1, 2, 4096, 64), 1.0),
    ):
        bias = (1, shape[1], shape[2], shape[2])
        yield Case(
            f"bias {shape}", shape, with_bias, peers, target, bias=bias, learned=True, works=(BOTH,)
        )
    side, heads = 7, 3
    rows = torch.arange(side * side) // side
    columns = torch.arange(side * side) % side
    index = (
        (rows[:, None] - rows + side - 1) * (2 * side - 1) + columns[:, None] - columns + side - 1
    )

    def by_table(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
        return attention(query, key, value, table=table, index=index)

    def gathered(attend: Attend) -> Attend:
        return lambda q, k, v, table: attend(
            q, k, v, F.embedding(index, table).movedim(-1, 0)[None]
        )

    yield Case(
        "table (128, 3, 49, 32)",
        (128, heads, 49, 32),
        by_table,
        {name: gathered(attend) for name, attend in peers.items()},
        1.25,
        bias=((2 * side - 1) ** 2, heads),
        learned=True,
        works=(BOTH,),
    )


def narrow() -> Iterator[Case]:
    """Training in bfloat16."""
    peers = {"sdpa": sdpa, "sdpa-math": unfused_sdpa, "eager": eager, "upcast": upcast}
    for shape, target in (((128, 3, 49, 32), 1.3), ((8, 6, 197, 64), 1.3), ((1, 4, 1024, 64), 1.7)):
        # The target speaks of peers in bfloat16; the detour through float32 stands beside them.
        named = {name: peer for name, peer in peers.items() if name != "upcast"}
        options = {"dtype": torch.bfloat16, "works": (BOTH,)}
        yield Case(f"bfloat16 {shape}", shape, attention, named, target, **options)
        yield Case(
            f"bfloat16 {shape}, upcast eager", shape, attention, {"upcast": upcast}, 0.9, **options
        )


def packed() -> Iterator[Case]:
    """Items in one row without padding, against a padded batch with a mask."""
    generator = torch.Generator().manual_seed(0)
    for count, longest, heads, target in ((16, 512, 4, 1.4), (64, 197, 6, 1.4), (64, 64, 4, 1.3)):
        sizes = torch.randint(int(0.3 * longest), longest + 1, (count,), generator=generator)
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), sizes.cumsum(0)])
        total = int(offsets[-1])
        places = torch.arange(int(sizes.max()))
        inside = places < sizes[:, None]
        into = (offsets[:-1, None] + places).clamp(max=total - 1).flatten()
        back = inside.flatten().nonzero().flatten()
        mask = inside[:, None, None]

        def padded(query: Tensor, key: Tensor, value: Tensor, *, on=(into, back, mask)) -> Tensor:
            into, back, mask = on
            batch, longest = mask.shape[0], mask.shape[3]
            rows = [
                x[0].index_select(1, into).unflatten(1, (batch, longest)).transpose(0, 1)
                for x in (query, key, value)
            ]
            out = F.scaled_dot_product_attention(*rows, attn_mask=mask)
            return out.transpose(0, 1).flatten(1, 2).index_select(1, back)[None]

        def ours(query: Tensor, key: Tensor, value: Tensor, *, offsets: Tensor = offsets) -> Tensor:
            return attention(query, key, value, offsets=offsets)

        fill = total / (count * longest)
        name = f"packed {count} x {longest}, fill {fill:.2f}"
        yield Case(
            name, (1, heads, total, 64), ours, {"padded sdpa": padded}, target, works=(BOTH,)
        )


TABLES = {"shapes": shapes, "learned": learned, "bfloat16": narrow, "packed": packed}


def leaves(case: Case) -> list[Tensor]:
    torch.manual_seed(0)
    tensors = [torch.randn(case.shape).to(case.dtype).requires_grad_() for _ in range(3)]
    if case.bias is not None:
        tensors.append(torch.randn(case.bias).to(case.dtype).requires_grad_(case.learned))
    return tensors


def runner(attend: Attend, tensors: list[Tensor], work: str) -> Callable[[], object]:
    wanted = [x for x in tensors if x.requires_grad]
    grad = torch.ones(tensors[0].shape, dtype=tensors[0].dtype)

    def forward() -> Tensor:
        with torch.no_grad():
            return attend(*tensors)

    def both() -> tuple[Tensor, ...]:
        return torch.autograd.grad(attend(*tensors), wanted, grad)

    return forward if work == FORWARD else both


def check(case: Case, tensors: list[Tensor]) -> None:
    """Outputs and gradients of all contestants are those of the first peer in float64."""
    wide = [x.detach().double().requires_grad_(x.requires_grad) for x in tensors]
    tolerance = 1e-4 if case.dtype == torch.float32 else 6e-2
    exact = next(iter(case.peers.values()))
    for work in case.works:
        wanted = runner(exact, wide, work)()
        for attend in (case.ours, *case.peers.values()):
            found = runner(attend, tensors, work)()
            torch.testing.assert_close(
                found, wanted, atol=tolerance, rtol=tolerance, check_dtype=False
            )


def measure(functions: list[Callable[[], object]], seconds: float) -> list[list[float]]:
    """CPU times of each function in seconds, taken in turn."""

    def once(function: Callable[[], object], repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            function()
        return (time.process_time() - start) / repeats

    for function in functions:
        function()
    repeats = max(1, int(0.005 / once(functions[0], 1)))
    times: list[list[float]] = [[] for _ in functions]
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times[0]) < 3:
        for found, function in zip(times, functions, strict=True):
            found.append(once(function, repeats))
    return times


def compare(case: Case, seconds: float) -> Iterator[tuple[str, float]]:
    """Prints a line for each work of a case, and gives its ratio."""
    tensors = leaves(case)
    if case.shape[2] <= 1024:
        check(case, tensors)
    for work in case.works:
        attends = [case.ours, *case.peers.values()]
        times = measure([runner(attend, tensors, work) for attend in attends], seconds)
        least = [min(found) for found in times]
        middle = [statistics.median(found) for found in times]
        fastest = min(range(1, len(least)), key=least.__getitem__)
        ratio = least[fastest] / least[0]
        name = list(case.peers)[fastest - 1]
        print(
            f"{case.name:<40} {work:<17} {least[0] * 1e3:>8.2f}ms {least[fastest] * 1e3:>8.2f}ms "
            f"{name:<11} {ratio:>5.2f} ({min(middle[1:]) / middle[0]:.2f}) {case.target:>5.2f}"
            f"{'' if ratio >= case.target else '  short'}",
            flush=True,
        )
        yield work, ratio


def from_table(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    places = torch.arange(query.shape[2])
    index = places[:, None] + (len(places) - 1 - places)
    return attention(query, key, value, table=table, index=index)


def peak(contestant: str) -> float:
    """What a training step with a bias at 4,096 tokens needs beyond its inputs, in MiB (Linux)."""
    torch.set_num_threads(1)
    attend = {"headway": with_bias, "table": from_table, "sdpa": sdpa, "eager": eager}[contestant]
    needed = 0.0
    # The first call of everything loads libraries.
    for tokens in (256, 4096):
        query, key, value = (torch.randn(2, 2, tokens, 64, requires_grad=True) for _ in range(3))
        # Relative places, one entry each, for the table.
        shape = (2 * tokens - 1, 2) if contestant == "table" else (1, 2, tokens, tokens)
        bias = torch.randn(shape, requires_grad=True)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak begins anew
        before = status("VmHWM")
        attend(query, key, value, bias).sum().backward()
        needed = status("VmHWM") - before
    return needed


def status(name: str) -> float:
    """One line of the memory of this process, in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 2**10 for line in file if line.startswith(name))


def memory() -> None:
    print("\npeak memory of a step, (2, 2, 4096, 64) with a bias (1, 2, 4096, 4096) that learns,")
    print("or with a table of 8,191 entries whose index, 128 MiB, is made in the step")
    for name in ("headway", "table", "sdpa", "eager"):
        command = [sys.executable, __file__, "--peak", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"{name:<10} {float(done.stdout):>8.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each line of the table")
    parser.add_argument("--only", default="", help="part of the name of the tables to print")
    parser.add_argument("--peak", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print(peak(arguments.peak))
        return
    for table, cases in TABLES.items():
        if arguments.only not in table:
            continue
        print(f"\n{table}: {(cases.__doc__ or '').strip()}")
        print(f"{'':<40} {'':<17} {'headway':>10} {'fastest peer':>22} ratio (median) target")
        ratios: dict[str, list[float]] = {}
        for case in cases():
            for work, ratio in compare(case, arguments.seconds):
                ratios.setdefault(work, []).append(ratio)
        for work, found in ratios.items():
            mean = math.exp(statistics.fmean(map(math.log, found)))
            print(f"{'geometric mean':<40} {work:<17} {mean:>52.2f}")
    if arguments.only in "memory":
        memory()


if __name__ == "__main__":
    main()
