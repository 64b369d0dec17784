"""Attention within windows: the C++ kernels against windows that are cut out, in all gradients."""

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.ops import BackendError, attention, window_attention
from headway.core.ops.native import reason_against
from headway.core.ops.window_attention import plan_for
from headway.core.ops.window_attention.native.launch import SOURCE
from headway.core.ops.window_attention.operator import (
    window_attention_backward,
    window_attention_forward,
)
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

needs_compiler = pytest.mark.skipif(reason_against(SOURCE) is not None, reason="no C++ compiler")
# Grid, window, shift.
MAPS = {
    "whole": ((14, 14), (7, 7), (0, 0)),
    "shifted": ((14, 14), (7, 7), (3, 3)),
    "padded": ((10, 9), (4, 4), (0, 0)),
    "padded-shifted": ((10, 9), (4, 4), (2, 1)),
    "shrunk": ((3, 12), (6, 6), (3, 3)),
    "large": ((13, 24), (12, 12), (6, 6)),
    "one-token": ((1, 1), (7, 7), (3, 3)),
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def call(name: str, heads: int = 3, width: int = 12, batch: int = 2):
    grid, window, shift = MAPS[name]
    size = min(grid[0], window[0]) * min(grid[1], window[1])
    projected = normal(batch, grid[0] * grid[1], 3 * heads * width, seed=1)
    options = {
        "heads": heads,
        "grid": grid,
        "window": window,
        "shift": shift,
        "padding": normal(3 * heads * width, seed=2),
        "table": normal(11, heads, seed=3),
        "index": (normal(size, size, seed=4).abs() * 4).long().clamp(max=10),
    }
    return projected, options


@needs_compiler
@pytest.mark.parametrize("pad_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", MAPS)
def test_kernels_equal_cut_out_windows_in_output_and_all_gradients(
    name: str, pad_first: bool
) -> None:
    projected, options = call(name)
    options["pad_first"] = pad_first
    wanted = outputs_and_gradients(
        window_attention, [projected], options | {"backend": "reference"}
    )
    with nan_filled_memory():
        found = outputs_and_gradients(
            window_attention, [projected], options | {"backend": "native"}, dtype=torch.float32
        )
    for key, exact in wanted.items():
        error = (found[key].double() - exact).abs().max()
        assert error <= 2e-5 * exact.abs().max().clamp(min=1.0), f"{key}: {error}"
    if name == "padded":
        assert wanted["padding"].abs().max() > 0.1


@needs_compiler
def test_bfloat16_errs_no_more_than_twice_plain_code() -> None:
    projected, options = call("padded-shifted")
    narrow = {
        k: x.bfloat16() if isinstance(x, Tensor) and x.is_floating_point() else x
        for k, x in options.items()
    }
    wide = {
        k: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for k, x in narrow.items()
    }
    tokens = projected.bfloat16()
    exact = outputs_and_gradients(
        window_attention, [tokens.double()], wide | {"backend": "reference"}
    )
    plain = outputs_and_gradients(window_attention, [tokens], narrow | {"backend": "reference"})
    found = outputs_and_gradients(window_attention, [tokens], narrow | {"backend": "native"})
    for key, wanted in exact.items():
        error, usual = ((x[key].double() - wanted).abs().max() for x in (found, plain))
        # One rounding of the result itself is always allowed.
        rounding = wanted.abs().max() * torch.finfo(torch.bfloat16).eps
        assert error <= 2 * usual + rounding, f"{key}: {error} against {usual}"


@pytest.mark.parametrize("backend", ["reference", pytest.param("native", marks=needs_compiler)])
def test_tokens_meet_exactly_when_a_shifted_window_holds_both(backend: str) -> None:
    """Window 2, shift 1 on a row of five: pairs (1, 2) and (3, 4), and 0 alone."""
    projected = torch.zeros(1, 5, 3, dtype=torch.float32)
    projected[0, :, 2] = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    out = window_attention(
        projected, heads=1, grid=(1, 5), window=(1, 2), shift=(0, 1), backend=backend
    )
    assert out.flatten().tolist() == [1.0, 3.0, 3.0, 12.0, 12.0]


def test_a_window_over_the_whole_map_is_plain_attention() -> None:
    projected, _ = call("whole")
    out = window_attention(projected, heads=3, grid=(14, 14), window=(14, 14), backend="reference")
    query, key, value = projected.unflatten(2, (3, 3, 12)).permute(2, 0, 3, 1, 4)
    wanted = attention(query, key, value, backend="reference")
    torch.testing.assert_close(out, wanted.transpose(1, 2).flatten(2))


@needs_compiler
def test_results_are_bitwise_equal_for_any_number_of_threads() -> None:
    projected, options = call("padded-shifted", batch=5)
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            runs.append(
                outputs_and_gradients(
                    window_attention,
                    [projected],
                    options | {"backend": "native"},
                    dtype=torch.float32,
                )
            )
        finally:
            torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(run[key], runs[0][key]) for key in run)


@needs_compiler
def test_second_derivatives_are_those_of_the_reference() -> None:
    def second(backend: str, dtype: torch.dtype) -> list[Tensor]:
        projected, options = call("padded-shifted", heads=1, width=3)
        leaves = [
            x.to(dtype).requires_grad_() for x in (projected, options["padding"], options["table"])
        ]
        options |= {"padding": leaves[1], "table": leaves[2], "backend": backend}
        out = window_attention(leaves[0], **options)
        first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(x.sin().sum() for x in first), leaves))

    pairs = zip(second("native", torch.float32), second("reference", torch.float64), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


def operands() -> tuple[object, ...]:
    plan = plan_for((10, 9), (4, 4), (2, 1), True, torch.device("cpu"))
    tensors = [normal(2, 90, 24), normal(2, 16, 16), normal(24)]
    leaves = [x.float().requires_grad_() for x in tensors]
    return (*leaves, plan.positions, plan.regions, 2, 0.5)


@needs_compiler
def test_operators_are_well_behaved() -> None:
    arguments = operands()
    torch.library.opcheck(window_attention_forward, arguments)
    out, lse = window_attention_forward(*arguments)
    detached = [x.detach() if isinstance(x, Tensor) else x for x in arguments]
    torch.library.opcheck(
        window_attention_backward,
        (torch.randn_like(out).detach(), *detached, out.detach(), lse.detach()),
    )


@needs_compiler
def test_flops_are_counted() -> None:
    projected, options = call("padded")
    with FlopCounterMode(display=False) as counter:
        window_attention(
            projected.float(), **{**options, "table": None, "index": None}, backend="native"
        )
    assert counter.get_total_flops() == 4 * 2 * 9 * 16 * 16 * 36


@pytest.mark.parametrize("backend", ["auto", pytest.param("native", marks=needs_compiler)])
def test_compiled_it_is_one_graph_for_two_batches_with_equal_gradients(backend: str) -> None:
    torch.compiler.reset()
    projected, options = call("padded-shifted")
    projected, padding, table = (
        x.float().requires_grad_() for x in (projected, options["padding"], options["table"])
    )

    def run(projected: Tensor, padding: Tensor, table: Tensor) -> Tensor:
        more = {"padding": padding, "table": table, "backend": backend}
        return window_attention(projected, **{**options, **more})

    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, fullgraph=True, backend=graphs)
    for times in (1, 2):
        rows = projected.detach().repeat(times, 1, 1).requires_grad_()
        torch._dynamo.mark_dynamic(rows, 0)
        leaves = [rows, padding, table]
        found, wanted = compiled(*leaves), run(*leaves)
        torch.testing.assert_close(found, wanted)
        grad = torch.randn_like(wanted)
        for one, other in zip(
            torch.autograd.grad(found, leaves, grad),
            torch.autograd.grad(wanted, leaves, grad),
            strict=True,
        ):
            torch.testing.assert_close(one, other)
    assert graphs.frame_count == 1


REFUSED = {
    "grid": ({"grid": (4, 5)}, "4 \\* 5"),
    "window": ({"window": (0, 2)}, "at least one token"),
    "shift": ({"shift": (2, 0)}, "less one"),
    "heads": ({"heads": 5}, "do not divide"),
    "padding": ({"padding": torch.zeros(3)}, "one row of the projection"),
    "table": ({"table": torch.zeros(4, 2)}, "belong together"),
    "index": (
        {"table": torch.zeros(4, 2), "index": torch.zeros(3, 3, dtype=torch.long)},
        "needs",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    arguments = {"heads": 2, "grid": (4, 4), "window": (2, 2)} | options
    with pytest.raises(UserError, match=message):
        window_attention(torch.zeros(1, 16, 12), **arguments)  # pyright: ignore


def test_backends_that_cannot_are_refused_with_the_remedy() -> None:
    projected = torch.zeros(1, 16, 12, dtype=torch.float64)
    arguments = {"heads": 2, "grid": (4, 4), "window": (2, 2)}
    with pytest.raises(BackendError, match="float64 has no kernel; use float32"):
        window_attention(projected, **arguments, backend="native")
    with pytest.raises(BackendError, match="use 'auto' or one of .*'triton'"):
        window_attention(projected, **arguments, backend="cuda")
