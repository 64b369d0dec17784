"""Compiled and exported, attention is the same function; on the CPU made of aten operators."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headway.core.ops import attention
from headway.core.ops.attention import scaled_dot_product

OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "causal": {"causal": True},
    "top-left": {"causal": "top-left"},
    "lengths": {"lengths": torch.tensor([3, 5])},
    "mask": {"mask": torch.arange(5) % 2 == 0},
    "bias": {"bias": torch.linspace(-1, 1, 5)},
    "window": {"window": (2, 0), "causal": True},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.1, 0.2, 0.3])},
    "scale-per-head": {"scale": torch.tensor([0.5, 0.1, 0.2, 0.3])},
    "softcap": {"softcap": 2.0},
    "dropout": {"dropout": 0.5, "seed": 1},
}


def triple(batch: int = 2, queries: int = 5, keys: int = 5) -> list[Tensor]:
    torch.manual_seed(batch + queries + keys)
    shapes = ((batch, 4, queries, 8), (batch, 2, keys, 8), (batch, 2, keys, 8))
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_compiles_in_one_graph_with_equal_outputs_and_gradients(
    options: dict[str, object],
) -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *x: attention(*x, **options), fullgraph=True, backend="aot_eager"
    )
    tensors = triple()
    wanted = attention(*tensors, **options)  # pyright: ignore
    found = compiled(*tensors)
    torch.testing.assert_close(found, wanted)
    grad = torch.randn_like(wanted)
    pairs = zip(
        torch.autograd.grad(found, tensors, grad),
        torch.autograd.grad(wanted, tensors, grad),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


def test_packed_input_compiles_in_one_graph() -> None:
    torch.compiler.reset()
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    tensors = triple(batch=1)
    offsets = torch.tensor([0, 2, 4])
    torch.testing.assert_close(
        compiled(*tensors, offsets=offsets, causal=True),
        attention(*tensors, offsets=offsets, causal=True),
    )


class Call(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
        return self.function(query, key, value, lengths)


EXPORTED = {
    "plain": lambda q, k, v, n: attention(q, k, v),
    "lengths": lambda q, k, v, n: attention(q, k, v, lengths=n),
    "causal": lambda q, k, v, n: attention(q, k, v, causal=True),
    "causal-lengths": lambda q, k, v, n: attention(q, k, v, causal=True, lengths=n),
    "window": lambda q, k, v, n: attention(q, k, v, window=1),
}


@pytest.mark.parametrize("function", EXPORTED.values(), ids=EXPORTED)
def test_exports_with_free_batch_queries_and_keys(function: Callable[..., Tensor]) -> None:
    batch, queries, keys = (torch.export.Dim(name) for name in ("batch", "queries", "keys"))
    sides = ({0: batch, 2: queries}, {0: batch, 2: keys}, {0: batch, 2: keys}, {0: batch})
    example = (*triple(queries=4, keys=6), torch.tensor([2, 6]))
    program = torch.export.export(Call(function), example, dynamic_shapes=sides)
    for sizes in ((3, 7, 9), (2, 5, 5), (5, 9, 2)):
        tensors = (*triple(*sizes), torch.arange(sizes[0]).clamp(max=sizes[2]))
        torch.testing.assert_close(program.module()(*tensors), function(*tensors))


def test_an_exported_graph_holds_standard_operators_alone() -> None:
    example = (*triple(), torch.tensor([2, 5]))
    program = torch.export.export(Call(EXPORTED["causal-lengths"]), example)
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.scaled_dot_product_attention.default" in names
    assert all(name.startswith(("aten.", "<built-in", "_operator.")) for name in names)


class Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_the_plain_call_runs_one_kernel_and_copies_nothing(grad: bool, causal: bool) -> None:
    packed = torch.randn(2, 5, 3, 4, 8, requires_grad=grad)
    views = packed.permute(2, 0, 3, 1, 4).unbind(0)
    with Recorder() as recorder:
        attention(*views, causal=causal)
    kernels = [n for n in recorder.names if "detach" not in n and "choice" not in n]
    assert kernels == ["aten._scaled_dot_product_flash_attention_for_cpu.default"]


def test_a_trained_graph_takes_half_precision_through_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The backward of PyTorch's kernel for CPUs takes 15 times as long in bfloat16.
    seen: list[torch.dtype] = []
    whole = F.scaled_dot_product_attention

    def spy(query: torch.Tensor, *rest: Any, **options: Any) -> torch.Tensor:
        seen.append(query.dtype)
        return whole(query, *rest, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    tensors = [torch.randn(2, 2, 9, 8, requires_grad=True) for _ in range(3)]

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return scaled_dot_product(*(x.bfloat16() for x in inputs), causal=True)

    plain = run(*tensors)
    out = torch.compile(run, backend="eager")(*tensors)
    assert seen[-1] == torch.float32
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, plain, rtol=2e-2, atol=2e-2)
    grads = torch.autograd.grad(out.float().sum(), tensors)
    exact = torch.autograd.grad(plain.float().sum(), tensors)
    for found, wanted in zip(grads, exact, strict=True):
        torch.testing.assert_close(found, wanted, rtol=3e-2, atol=3e-2)
