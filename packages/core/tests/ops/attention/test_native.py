"""What the C++ kernels of attention promise beyond agreeing with the reference."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headway.core.errors import UserError
from headway.core.ops import attention, attention_with_lse, explain_dispatch, native
from headway.core.ops.attention.native import launch
from headway.core.ops.attention.native.launch import SOURCE
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.skipif(
    native.reason_against(SOURCE) is not None, reason="no C++ compiler here"
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def triple(batch: int, heads: int, queries: int, keys: int, width: int) -> list[Tensor]:
    return [
        normal(batch, heads, queries, width, seed=1),
        normal(batch, heads, keys, width, seed=2),
        normal(batch, heads, keys, width, seed=3),
    ]


def compare(tensors: list[Tensor], options: dict[str, object], tolerance: float = 2e-5) -> None:
    wanted = outputs_and_gradients(attention, tensors, options | {"backend": "reference"})
    with nan_filled_memory():
        found = outputs_and_gradients(
            attention, tensors, options | {"backend": "native"}, dtype=torch.float32
        )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= tolerance * exact.abs().max().clamp(min=1.0), f"{name}: {error}"


# Beyond one tile of queries (64) and of keys (256 forward, 128 backward), and off by one from each.
@pytest.mark.parametrize("queries", [1, 49, 65, 130])
@pytest.mark.parametrize("keys", [1, 49, 129, 257, 520])
@pytest.mark.parametrize("option", ["none", "bias", "causal", "window", "dropout"])
def test_any_number_of_tiles_equals_the_reference(queries: int, keys: int, option: str) -> None:
    options: dict[str, dict[str, object]] = {
        "none": {},
        "bias": {"bias": normal(1, 2, queries, keys)},
        "causal": {"causal": True},
        "window": {"window": (40, 70)},
        "dropout": {"dropout": 0.3, "seed": 17},
    }
    compare(triple(2, 2, queries, keys, 20), options[option])


@pytest.mark.parametrize("width", [1, 7, 8, 16, 24, 33, 64, 130])
def test_any_width_equals_the_reference(width: int) -> None:
    tensors = triple(1, 2, 21, 35, width)
    tensors[2] = normal(1, 2, 35, width + 3)
    compare(tensors, {})


PACKED: dict[str, Callable[[], dict[str, object]]] = {
    "plain": dict,
    "causal": lambda: {"causal": True},
    "bias": lambda: {"bias": normal(1, 4, 140, 140)},
    "bias-row": lambda: {"bias": normal(140)},
    "dropout": lambda: {"dropout": 0.3, "seed": 2**32 - 3},
    "table": lambda: {
        "table": normal(5, 4),
        "index": (normal(140, 140).abs() * 2).long().clamp(max=4),
    },
}


LOOKED_UP: dict[str, Callable[[], dict[str, object]]] = {
    "shared": dict,
    "an-index-per-item": lambda: {"index": (normal(3, 70, 300).abs() * 3).long().clamp(max=10)},
    "bias": lambda: {"bias": normal(70, 300)},
    "bias-per-item": lambda: {"bias": normal(3, 1, 70, 300)},
    "lengths": lambda: {"lengths": torch.tensor([300, 7, 0])},
    "causal": lambda: {"causal": True},
    "transposed": lambda: {"index": (normal(300, 70).abs() * 3).long().clamp(max=10).T},
    "narrow": lambda: {"index": (normal(70, 300).abs() * 3).int().clamp(max=10)},
}


@pytest.mark.parametrize("option", LOOKED_UP)
def test_a_table_that_is_looked_up_pair_by_pair_equals_the_reference(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_GATHERED", 0)
    options = {"table": normal(11, 4), "index": (normal(70, 300).abs() * 3).long().clamp(max=10)}
    compare(triple(3, 4, 70, 300, 16), options | LOOKED_UP[option](), tolerance=4e-5)


def test_an_index_beyond_the_table_is_refused_with_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "_GATHERED", 0)
    query, key, value = (x.float() for x in triple(1, 2, 9, 9, 16))
    index = torch.full((9, 9), 5)
    with pytest.raises(UserError, match="5 to 5, the table has 5 entries"):
        attention(query, key, value, table=torch.ones(5, 2), index=index, backend="native")


def test_a_large_table_needs_no_tensor_of_the_size_of_the_scores() -> None:
    tokens, heads = 1500, 8
    inputs = [x.float().requires_grad_() for x in triple(1, heads, tokens, tokens, 16)]
    table = torch.randn(2 * tokens - 1, heads, requires_grad=True)
    places = torch.arange(tokens)
    index = (places[:, None] - places + tokens - 1).int()
    assert heads * tokens**2 > launch._GATHERED

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor):
                self.size = max(self.size, out.numel())
            return out

    request = {"table": table, "index": index, "backend": "native"}
    with Largest() as largest:
        out = attention(*inputs, **request)
        torch.autograd.grad(out.sum(), [*inputs, table])
    # The index itself, as wide integers.
    assert largest.size <= tokens**2


@pytest.mark.parametrize("option", PACKED)
def test_packed_items_equal_the_reference_with_nan_between_them(option: str) -> None:
    offsets = torch.tensor([0, 3, 3, 70, 131])
    tensors = [normal(1, 4, 140, 16, seed=1), *(normal(1, 2, 140, 16, seed=n) for n in (2, 3))]
    for tensor in tensors[1:]:
        tensor[:, :, 131:] = torch.nan
    compare(tensors, {"offsets": offsets, **PACKED[option]()})


def test_padding_that_holds_nan_changes_nothing() -> None:
    query, key, value = (x.float() for x in triple(3, 2, 9, 40, 16))
    lengths = torch.tensor([40, 0, 17])
    clean = outputs_and_gradients(
        attention, [query, key, value], {"lengths": lengths, "backend": "native"}
    )
    for tensor in (key, value):
        tensor[1] = torch.nan
        tensor[2, :, 17:] = torch.inf
    found = outputs_and_gradients(
        attention, [query, key, value], {"lengths": lengths, "backend": "native"}
    )
    for name, wanted in clean.items():
        assert torch.equal(found[name], wanted), name
    assert (found["output"][1] == 0).all()
    assert (found["1"][2, :, 17:] == 0).all()


def test_nan_that_counts_is_not_hidden() -> None:
    query, key, value = (x.float() for x in triple(1, 1, 4, 9, 8))
    query[0, 0, 2, 3] = torch.nan
    out = attention(query, key, value, backend="native")
    assert out[0, 0, 2].isnan().all()
    assert out[0, 0, [0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("lse", [False, True], ids=["output", "lse"])
def test_log_sum_exp_and_sinks_have_gradients(lse: bool) -> None:
    tensors = triple(2, 2, 5, 150, 8)
    sinks = normal(2)

    def call(*x: Tensor, sinks: Tensor, backend: str) -> Tensor:
        found = attention_with_lse(*x, sinks=sinks, backend=backend)
        return found[int(lse)].double()

    wanted = outputs_and_gradients(call, tensors, {"sinks": sinks, "backend": "reference"})
    found = outputs_and_gradients(
        call, tensors, {"sinks": sinks, "backend": "native"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        torch.testing.assert_close(found[name].double(), exact, atol=2e-5, rtol=2e-5)


def gradients(threads: int) -> dict[str, Tensor]:
    tensors = [x.float() for x in triple(24, 2, 30, 30, 16)]
    options = {"bias": normal(2, 30, 30).float(), "backend": "native"}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return outputs_and_gradients(attention, tensors, options)
    finally:
        torch.set_num_threads(before)


def test_results_are_bitwise_equal_for_any_number_of_threads() -> None:
    wanted = gradients(1)
    for threads in (1, 2, 3, 5):
        for name, found in gradients(threads).items():
            assert torch.equal(found, wanted[name]), (threads, name)


def test_second_derivatives_are_those_of_the_reference() -> None:
    def second(backend: str, dtype: torch.dtype) -> list[Tensor]:
        tensors = [x.to(dtype).requires_grad_() for x in triple(1, 2, 5, 7, 4)]
        bias = normal(2, 5, 7).to(dtype).requires_grad_()
        out = attention(*tensors, bias=bias, backend=backend)
        first = torch.autograd.grad(out.square().sum(), (*tensors, bias), create_graph=True)
        total = sum(x.sin().sum() for x in first)
        return list(torch.autograd.grad(total, (*tensors, bias)))

    pairs = zip(second("native", torch.float32), second("reference", torch.float64), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


def test_large_problems_come_here_by_themselves_and_small_ones_do_not() -> None:
    large, small = torch.zeros(16, 4, 64, 32), torch.zeros(1, 2, 8, 8)
    assert explain_dispatch(large, large, large).backend == "native"
    assert explain_dispatch(small, small, small).backend == "sdpa"
    capped = explain_dispatch(large, large, large, softcap=2.0)
    assert capped.backend == "reference"
    assert "softcap" in dict(capped.refusals)["native"]


def test_named_in_a_compiled_graph_it_is_one_operator_with_equal_gradients() -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        lambda *x: attention(*x[:3], bias=x[3], backend="native"),
        fullgraph=True,
        backend="aot_eager",
        dynamic=True,
    )
    for batch, tokens in ((2, 9), (3, 70)):
        shapes = [(batch, 2, tokens, 8)] * 3 + [(2, tokens, tokens)]
        tensors = [torch.randn(shape, requires_grad=True) for shape in shapes]
        wanted = attention(*tensors[:3], bias=tensors[3], backend="native")
        found = compiled(*tensors)
        assert torch.equal(found, wanted)
        grad = torch.randn_like(wanted)
        for one, other in zip(
            torch.autograd.grad(found, tensors, grad),
            torch.autograd.grad(wanted, tensors, grad),
            strict=True,
        ):
            assert torch.equal(one, other)


class Plain(nn.Module):
    def forward(self, query: Tensor, mask: Tensor) -> Tensor:
        return attention(query, query, query) + attention(query, query, query, mask=mask)


def test_a_size_that_decides_here_does_not_bind_an_exported_graph() -> None:
    small, large = torch.randn(2, 4, 64, 32), torch.randn(64, 4, 64, 32)
    mask = torch.rand(64, 64) < 0.7
    program = torch.export.export(
        Plain(), (small, mask), dynamic_shapes=({0: torch.export.Dim("batch")}, None)
    )
    torch.testing.assert_close(program.module()(large, mask), Plain()(large, mask))


class Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_whoever_watches_operators_sees_one_each_way() -> None:
    tokens = torch.randn(2, 2, 9, 8, requires_grad=True)
    with Recorder() as recorder:
        out = attention(tokens, tokens, tokens, backend="native")
        torch.autograd.grad(out, tokens, torch.ones_like(out))
    ours = [name for name in recorder.names if name.startswith("headway")]
    assert ours == ["headway.attention_forward.default", "headway.attention_backward.default"]


def test_without_a_compiler_everything_runs_as_before() -> None:
    code = """
import torch
from headway.core.errors import UserError
from headway.core.ops import attention, explain_dispatch
x = torch.randn(16, 4, 64, 32, requires_grad=True)
bias = torch.randn(4, 64, 64, requires_grad=True)
print(explain_dispatch(x, x, x, bias=bias))
out = attention(x, x, x, bias=bias)
torch.testing.assert_close(out, attention(x, x, x, bias=bias, backend="reference"))
out.sum().backward()
assert bias.grad.isfinite().all()
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "CXX": "no-such-compiler"},
    )
    assert run.returncode == 0, run.stderr
    assert "attention runs on 'sdpa'" in run.stdout
    assert "no-such-compiler" in run.stdout
    assert run.stderr.count("C++ kernels are off") == 1
