"""Times linear attention, ProbSparse, decoding and the selective scan on the CPU against their peers.

One thread, process CPU time, the contestants in turn, the least time of each; a ratio above one means that
headway is faster. Outputs that should be equal are compared first. The last column is the target.

    python tools/bench/sequence_ops.py [--only linear probsparse decode scan] [--rounds 5]
"""

import argparse
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headway.core.mixers import SelectiveScan
from headway.core.ops import attention, decode_attention, linear_attention, probsparse_attention
from headway.core.ops.decode import seen_keys
from headway.core.ops.probsparse import sample_keys

Function = Callable[..., Tensor]


def least(functions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least CPU time of each function in seconds, taken in turn; a first round warms up."""
    best = [float("inf")] * len(functions)
    for number in range(rounds + 1):
        for place, function in enumerate(functions):
            start = time.process_time()
            function()
            if number:
                best[place] = min(best[place], time.process_time() - start)
    return best


def trained(function: Function, inputs: Sequence[Tensor]) -> Callable[[], object]:
    grad = torch.ones_like(function(*inputs))
    return lambda: torch.autograd.grad(function(*inputs), inputs, grad)


def inferred(function: Function, inputs: Sequence[Tensor]) -> Callable[[], object]:
    def call() -> Tensor:
        with torch.no_grad():
            return function(*inputs)

    return call


def line(name: str, pair: Sequence[float], target: float | None) -> None:
    ours, theirs = pair
    told = f">= {target}" if target is not None else ""
    print(
        f"{name:<52} {ours * 1e3:>9.2f}ms {theirs * 1e3:>9.2f}ms {theirs / ours:>7.2f} {told}",
        flush=True,
    )


def header(title: str, peer: str) -> None:
    print(f"\n{title}\n{'case':<52} {'headway':>11} {peer:>11} {'ratio':>7} target")


def linear(rounds: int) -> None:
    header("causal linear attention, H 8, D 64", "SDPA")

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return linear_attention(F.elu(q) + 1, F.elu(k) + 1, v, causal=True)[0]

    def theirs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    times: dict[str, list[float]] = {}
    lengths = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
    for tokens in lengths:
        inputs = [torch.randn(1, 8, tokens, 64, requires_grad=True) for _ in range(3)]
        for work, made in (("forward", inferred), ("forward+backward", trained)):
            if tokens <= 8192:
                count = rounds if tokens <= 2048 else 1
                pair = least([made(ours, inputs), made(theirs, inputs)], count)
                mine = pair[0]
                line(f"{tokens} tokens {work}", pair, 1.0 if tokens >= 4096 else None)
            else:
                (mine,) = least([made(ours, inputs)], 2)
            times.setdefault(work, []).append(mine / tokens)
    for work, each in times.items():
        told = ", ".join(f"{n}: {t * 1e6:.2f}" for n, t in zip(lengths, each, strict=True))
        print(f"{work}, microseconds per token: {told}")


def probsparse(rounds: int) -> None:
    header("ProbSparse, factor 5, H 8, D 64, forward", "SDPA")
    targets = {(2, 720): 4.0, (1, 4096): 15.0, (1, 16384): 45.0}
    for (batch, tokens), target in targets.items():
        inputs = [torch.randn(batch, 8, tokens, 64) for _ in range(3)]
        sample, _ = sample_keys(tokens, 5)

        def ours(q: Tensor, k: Tensor, v: Tensor, sample: Tensor = sample) -> Tensor:
            return probsparse_attention(q, k, v, sample=sample)

        pair = [inferred(ours, inputs), inferred(F.scaled_dot_product_attention, inputs)]
        count = {720: 6 * rounds, 4096: rounds}.get(tokens, 1)
        line(f"B {batch}, {tokens} tokens", least(pair, count), target)


def decode(rounds: int) -> None:
    header("one query per row over a cache, rows half full on average", "masked SDPA")
    for batch, heads, kv_heads, keys, width in (
        (256, 6, 6, 64, 32),
        (32, 8, 2, 512, 64),
        (8, 16, 4, 4096, 64),
        (1, 32, 8, 8192, 128),
    ):
        query = torch.randn(batch, heads, 1, width)
        buffers = [torch.randn(batch, kv_heads, keys, width) for _ in range(2)]
        lengths = torch.randint(1, keys + 1, (batch,))
        lengths[0] = keys

        def ours(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor = lengths) -> Tensor:
            return decode_attention(q, k, v, lengths)

        def theirs(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor = lengths) -> Tensor:
            return attention(q, k, v, mask=seen_keys(1, k.shape[2], lengths, None))

        inputs = [query, *buffers]
        torch.testing.assert_close(ours(*inputs), theirs(*inputs), atol=1e-5, rtol=1e-4)
        name = f"B {batch}, H {heads}/{kv_heads}, {keys} keys, D {width}"
        pair = [inferred(ours, inputs), inferred(theirs, inputs)]
        line(name, least(pair, 4 * rounds), 1.0)


def scan(rounds: int) -> None:
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    header("Mamba's mixer, dim 192", "transformers")
    ours = SelectiveScan(192)
    config = MambaConfig(hidden_size=192, use_mambapy=False)
    theirs: nn.Module = MambaMixer(config, layer_idx=0)
    names = {"log_rates": "A_log", "skip": "D", "expand": "in_proj", "select": "x_proj"}
    names |= {"convolution": "conv1d", "step": "dt_proj", "projection": "out_proj"}
    state = {}
    for name, tensor in ours.state_dict().items():
        first, dot, rest = name.partition(".")
        state[names[first] + dot + rest] = tensor
    theirs.load_state_dict(state)
    for batch, tokens in ((8, 196), (1, 1024)):
        x = torch.randn(batch, tokens, 192, requires_grad=True)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-4)
        for work, made in (("forward", inferred), ("forward+backward", trained)):
            pair = [made(ours, [x]), made(theirs, [x])]
            line(f"B {batch}, {tokens} tokens {work}", least(pair, rounds), 1.0)


PARTS = {"linear": linear, "probsparse": probsparse, "decode": decode, "scan": scan}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in arguments.only:
        PARTS[name](arguments.rounds)


if __name__ == "__main__":
    main()
