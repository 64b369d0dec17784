"""Checks and times every Triton kernel on a GPU: `python tools/bench/gpu.py [--out REPORT.jsonl]`.

Each case is compared with the reference in float64 (output and all gradients, as the tests do in the
interpreter), run twice for equal bits, and timed (median of many runs, forward and forward + backward)
against whatever peers are installed: PyTorch's scaled_dot_product_attention, FlexAttention (compiled) and
flash-attention. Exit 1 if a number is wrong. `--interpret` runs small shapes on the CPU in Triton's
interpreter, without times: it shows that this script itself works.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Inputs = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call at one shape.

    Args:
        name: What it is.
        inputs: Makes the tensors on a device in a type; those that are floating are differentiated.
        ours: The call with `backend="triton"`.
        exact: The same on the reference.
        peers: What others offer for the same result, by name.
    """

    name: str
    inputs: Callable[[Any, Any, bool], Inputs]
    ours: Callable[..., Any]
    exact: Callable[..., Any]
    peers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def attention_cases() -> list[Case]:
    import torch
    import torch.nn.functional as F

    from headway.core.ops import attention

    def make(shape: Sequence[int], small: Sequence[int], **extra: Callable[[Any, Any, Any], Any]):
        def build(device: Any, dtype: Any, tiny: bool) -> Inputs:
            batch, heads, kv_heads, tokens, width = small if tiny else shape
            generator = torch.Generator(device).manual_seed(0)

            def normal(*size: int) -> Any:
                return torch.randn(size, generator=generator, device=device).to(dtype)

            tensors = {
                "query": normal(batch, heads, tokens, width),
                "key": normal(batch, kv_heads, tokens, width),
                "value": normal(batch, kv_heads, tokens, width),
            }
            sizes = (batch, heads, tokens)
            return tensors | {name: f(sizes, normal, device) for name, f in extra.items()}

        return build

    def flash(query: Any, key: Any, value: Any, *, causal: bool) -> Any:
        from flash_attn import flash_attn_func  # pyright: ignore[reportMissingImports]

        parts = (x.transpose(1, 2) for x in (query, key, value))
        return flash_attn_func(*parts, causal=causal).transpose(1, 2)

    def flex(score: Callable[..., Any]) -> Callable[..., Any]:
        from torch.nn.attention.flex_attention import flex_attention

        compiled = torch.compile(flex_attention, dynamic=False)

        def call(query: Any, key: Any, value: Any, **extra: Any) -> Any:
            tensors = list(extra.values())
            return compiled(query, key, value, score_mod=lambda *a: score(*tensors, *a))

        return call

    def case(name: str, build: Any, peers: Mapping[str, Any], **fixed: Any) -> Case:
        return Case(
            name=name,
            inputs=build,
            ours=lambda **given: attention(**given, **fixed, backend="triton"),
            exact=lambda **given: attention(**given, **fixed, backend="reference"),
            peers=peers,
        )

    sdpa = F.scaled_dot_product_attention
    bias = {"bias": lambda n, normal, _: normal(n[1], n[2], n[2])}
    table = {
        "table": lambda n, normal, _: normal(2 * n[2] - 1, n[1]),
        "index": lambda n, _, device: (
            torch.arange(n[2], device=device)[:, None]
            - torch.arange(n[2], device=device)
            + n[2]
            - 1
        ),
    }
    lengths = {
        "lengths": lambda n, _, device: torch.arange(n[0], device=device) * 7 % n[2] + 1,
    }
    long, short = (4, 16, 16, 2048, 64), (1, 2, 2, 80, 32)
    return [
        case(
            "causal",
            make(long, short),
            {
                "sdpa": lambda query, key, value: sdpa(query, key, value, is_causal=True),
                "flash-attention": lambda **t: flash(**t, causal=True),
            },
            causal=True,
        ),
        case(
            "bias with gradient",
            make((4, 16, 16, 1024, 64), short, **bias),
            {
                "sdpa": lambda query, key, value, bias: sdpa(
                    query, key, value, attn_mask=bias[None]
                ),
                "flex": flex(lambda bias, s, b, h, q, k: s + bias[h, q, k]),
            },
        ),
        case(
            "windows of 49, one bias",
            make((2048, 3, 3, 49, 32), (3, 2, 2, 49, 32), **bias),
            {"sdpa": lambda query, key, value, bias: sdpa(query, key, value, attn_mask=bias[None])},
        ),
        case(
            "table with gradient",
            make((4, 16, 16, 1024, 64), short, **table),
            {"flex": flex(lambda table, index, s, b, h, q, k: s + table[index[q, k], h])},
        ),
        case("lengths", make(long, short, **lengths), {}),
        case(
            "sliding window, grouped",
            make((2, 32, 8, 4096, 128), (1, 4, 2, 80, 32)),
            {},
            causal=True,
            window=(256, 0),
        ),
        case("soft cap", make(long, short), {}, softcap=30.0, causal=True),
    ]


def other_cases() -> list[Case]:
    import torch

    from headway.core.ops import neighbourhood_attention

    def build(device: Any, dtype: Any, tiny: bool) -> Inputs:
        side, heads, width = (8, 2, 32) if tiny else (56, 4, 32)
        generator = torch.Generator(device).manual_seed(0)
        shape = (1 if tiny else 16, heads, side * side, width)
        names = ("query", "key", "value")
        tensors = {
            n: torch.randn(shape, generator=generator, device=device).to(dtype) for n in names
        }
        rows = torch.randn(25 if tiny else 169, heads, generator=generator, device=device)
        return tensors | {"table": rows.to(dtype), "grid": (side, side), "window": 3 if tiny else 7}

    return [
        Case(
            name="neighbourhood with table",
            inputs=build,
            ours=lambda **given: neighbourhood_attention(**given, backend="triton"),
            exact=lambda **given: neighbourhood_attention(**given, backend="reference"),
        )
    ]


def run(call: Callable[..., Any], inputs: Inputs, backward: bool) -> list[Any]:
    """Output, and gradients for a fixed gradient of the output."""
    import torch

    leaves = {
        name: x.detach().requires_grad_(backward)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for name, x in inputs.items()
    }
    out = call(**leaves)
    if not backward:
        return [out]
    wanted = [x for x in leaves.values() if isinstance(x, torch.Tensor) and x.requires_grad]
    seed = torch.linspace(-1, 1, out.numel(), device=out.device).view(out.shape).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, wanted, seed)]


def wide(inputs: Inputs) -> Inputs:
    import torch

    return {
        name: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x
        for name, x in inputs.items()
    }


def error_of(found: list[Any], exact: list[Any]) -> float:
    """The largest error relative to the largest number of each tensor."""
    pairs = zip(found, exact, strict=True)
    return max(float((a.double() - b).abs().max() / (1 + b.abs().max())) for a, b in pairs)


def milliseconds(call: Callable[..., Any], inputs: Inputs, backward: bool, rounds: int) -> float:
    import torch

    times = []
    for number in range(rounds + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run(call, inputs, backward)
        torch.cuda.synchronize()
        if number >= 3:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def report(case: Case, dtype: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    device = torch.device("cpu" if arguments.interpret else "cuda")
    inputs = case.inputs(device, dtype, arguments.interpret)
    exact = run(case.exact, wide(inputs), True)
    found, again = run(case.ours, inputs, True), run(case.ours, inputs, True)
    bound = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}[dtype]
    row: dict[str, Any] = {
        "case": case.name,
        "dtype": str(dtype).removeprefix("torch."),
        "error": error_of(found, exact),
        "bound": bound,
        "same bits": all(torch.equal(a, b) for a, b in zip(found, again, strict=True)),
    }
    if not arguments.interpret:
        contestants = {"headway": case.ours, **case.peers}
        for name, call in contestants.items():
            for backward, kind in ((False, "forward"), (True, "both")):
                try:
                    spent = milliseconds(call, inputs, backward, arguments.rounds)
                except Exception as error:  # a peer's own limits must not end the report
                    row[f"{name} {kind}"] = f"{type(error).__name__}: {error}".splitlines()[0]
                    continue
                row[f"{name} {kind}"] = round(spent, 4)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--interpret", action="store_true", help="small shapes on the CPU, no times"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dtype", nargs="+", default=["float32", "float16", "bfloat16"])
    parser.add_argument("--case", help="only cases whose names hold this")
    parser.add_argument("--out", type=Path, help="also write the rows here, one JSON object each")
    arguments = parser.parse_args()
    if arguments.interpret:
        # Triton reads this when it decorates kernels.
        os.environ["TRITON_INTERPRET"] = "1"
    if importlib.util.find_spec("triton") is None:
        print("triton is not installed; pip install triton", file=sys.stderr)
        return 2
    import torch

    if not arguments.interpret and not torch.cuda.is_available():
        print("there is no CUDA device; add --interpret to try this script", file=sys.stderr)
        return 2
    cases = [c for c in (*attention_cases(), *other_cases()) if (arguments.case or "") in c.name]
    rows = []
    for case in cases:
        for name in arguments.dtype:
            if arguments.interpret and name == "bfloat16":
                # The interpreter multiplies its bits as integers.
                continue
            rows.append(report(case, getattr(torch, name), arguments))
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wrong = [r for r in rows if r["error"] > r["bound"] or not r["same bits"]]
    print(f"{len(rows)} cases, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
