"""The Triton kernels of window attention, in the interpreter, against the reference in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import BackendError, window_attention
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret
Pair = tuple[int, int]
Options = dict[str, object]


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# Grid, window, shift, head width: windows that fill the map and not, square and not, smaller than a tile.
MAPS: dict[str, tuple[Pair, Pair, Pair, int]] = {
    "whole": ((14, 7), (7, 7), (0, 0), 32),
    "shifted": ((14, 14), (7, 7), (3, 3), 16),
    "padded": ((9, 10), (7, 7), (0, 0), 16),
    "padded-shifted": ((9, 10), (7, 7), (3, 2), 12),
    "oblong": ((5, 9), (2, 6), (1, 3), 24),
    "shrunk": ((3, 12), (6, 6), (3, 3), 16),
    "eight": ((8, 16), (8, 8), (0, 4), 64),
    "one-token": ((1, 1), (7, 7), (3, 3), 8),
}


def call(name: str, *, heads: int = 2, batch: int = 1) -> tuple[Tensor, Options]:
    grid, window, shift, width = MAPS[name]
    size = min(grid[0], window[0]) * min(grid[1], window[1])
    projected = normal(batch, grid[0] * grid[1], 3 * heads * width, seed=1)
    return projected, {
        "heads": heads,
        "grid": grid,
        "window": window,
        "shift": shift,
        "padding": normal(3 * heads * width, seed=2),
        "table": normal(11, heads, seed=3),
        "index": (normal(size, size, seed=4).abs() * 4).long().clamp(max=10),
    }


def assert_equal_to_the_reference(projected: Tensor, options: Options) -> dict[str, Tensor]:
    wanted = outputs_and_gradients(
        window_attention, [projected], options | {"backend": "reference"}
    )
    found = outputs_and_gradients(
        window_attention, [projected], options | {"backend": "triton"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 2e-5 * exact.abs().max().clamp(min=1.0), f"{name}: {error}"
    return wanted


@pytest.mark.parametrize("pad_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", MAPS)
def test_float32_equals_the_reference_in_outputs_and_all_gradients(
    name: str, pad_first: bool
) -> None:
    projected, options = call(name)
    wanted = assert_equal_to_the_reference(projected, options | {"pad_first": pad_first})
    if name.startswith("padded"):
        assert wanted["padding"].abs().max() > 0.1


def test_without_bias_and_padding_it_equals_the_reference() -> None:
    projected, options = call("padded-shifted")
    plain = {k: x for k, x in options.items() if k not in ("padding", "table", "index")}
    # A projection that does not lie densely in memory.
    wide = torch.cat([projected, projected], dim=2)[:, :, : projected.shape[2]]
    assert_equal_to_the_reference(wide, plain | {"scale": 0.7})


def test_a_program_with_several_windows_adds_up_what_they_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headway.core.ops.window_attention.triton import launch

    monkeypatch.setattr(launch, "_PROGRAMS", 4)
    projected, options = call("padded-shifted", batch=3)
    assert launch.shares_of(3 * 4, 2) == (6, 2)
    assert_equal_to_the_reference(projected, options)


@pytest.mark.parametrize(
    ("dtype", "forward", "backward"),
    # The interpreter cuts off where a GPU rounds to bfloat16, hence the looser bounds there.
    [(torch.float16, 2.0, 3.0), (torch.bfloat16, 4.0, 6.0)],
    ids=["float16", "bfloat16"],
)
def test_half_precision_errs_little_more_than_eager_code(
    dtype: torch.dtype, forward: float, backward: float
) -> None:
    projected, options = call("padded-shifted", batch=2)
    projected = projected.to(dtype).double()
    options |= {name: options[name].to(dtype).double() for name in ("padding", "table")}  # pyright: ignore
    runs = [("reference", torch.float64), ("reference", dtype), ("triton", dtype)]
    exact, plain, found = (
        outputs_and_gradients(window_attention, [projected], options | {"backend": b}, dtype=d)
        for b, d in runs
    )
    for name, wanted in exact.items():
        assert found[name].dtype == dtype
        error = (found[name].double() - wanted).abs().max()
        bound = (plain[name].double() - wanted).abs().max()
        factor = forward if name == "output" else backward
        assert error <= factor * bound, f"{name}: {error} > {factor} x {bound}"


def test_programs_in_another_order_and_a_second_run_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    projected, options = call("padded-shifted")
    options["backend"] = "triton"
    runs = [outputs_and_gradients(window_attention, [projected], options, dtype=torch.float32)]
    runs.append(outputs_and_gradients(window_attention, [projected], options, dtype=torch.float32))
    with permuted_programs(3):
        runs.append(
            outputs_and_gradients(window_attention, [projected], options, dtype=torch.float32)
        )
    for other in runs[1:]:
        for name, tensor in runs[0].items():
            assert torch.equal(tensor, other[name]), name


def test_mapped_over_projections_and_tables_it_is_a_loop() -> None:
    projected, options = call("oblong")
    pair = torch.stack([projected, 2 * projected]).float()
    tables = torch.stack([normal(11, 2), normal(11, 2, seed=8)]).float()
    rest = {k: x for k, x in options.items() if k != "table"} | {"padding": None}

    def run(projected: Tensor, table: Tensor) -> Tensor:
        return window_attention(projected, table=table, **rest, backend="triton")  # pyright: ignore

    wanted = torch.stack([run(x, t) for x, t in zip(pair, tables, strict=True)])
    assert torch.equal(torch.vmap(run)(pair, tables), wanted)


def test_autocast_computes_in_its_type() -> None:
    projected, options = call("oblong")
    projected = projected.float()
    more = {"padding": None, "table": options["table"].float(), "backend": "triton"}  # pyright: ignore
    with torch.autocast("cpu", torch.bfloat16):
        found = window_attention(projected, **{**options, **more})  # pyright: ignore
    wanted = window_attention(projected.bfloat16(), **{**options, **more})  # pyright: ignore
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, wanted)


def test_an_empty_batch_has_an_empty_output_and_zero_gradients() -> None:
    projected, options = call("padded", batch=0)
    found = outputs_and_gradients(
        window_attention, [projected], options | {"backend": "triton"}, dtype=torch.float32
    )
    assert found["output"].shape == (0, 90, 32)
    assert not found["table"].any()
    assert not found["padding"].any()


REFUSED = {
    "positions": ((9, 8), 2, torch.float32, "72 positions does not fit in one tile of 64; use"),
    "width": ((2, 2), 1, torch.float32, "heads are 132 wide, more than 128; use"),
    "dtype": ((2, 2), 2, torch.float64, "float64 has no kernel; use"),
}


@pytest.mark.parametrize(
    ("window", "heads", "dtype", "message"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_no_kernel_takes_is_refused_with_the_remedy(
    window: Pair, heads: int, dtype: torch.dtype, message: str
) -> None:
    projected = torch.zeros(1, 9 * 8, 3 * 132, dtype=dtype)
    with pytest.raises(BackendError, match=message):
        window_attention(projected, heads=heads, grid=(9, 8), window=window, backend="triton")


def test_operators_are_well_behaved() -> None:
    from headway.core.ops.window_attention import plan_for
    from headway.core.ops.window_attention.operator import (
        window_attention_backward,
        window_attention_forward,
    )

    plan = plan_for((5, 6), (4, 4), (2, 1), True, torch.device("cpu"))
    tensors = [normal(1, 30, 24), normal(2, 16, 16), normal(24)]
    leaves = [x.float().requires_grad_() for x in tensors]
    arguments = (*leaves, plan.positions, plan.regions, 2, 0.5)
    torch.library.opcheck(window_attention_forward, arguments)
    out, lse = window_attention_forward(*arguments)
    detached = [x.detach() if isinstance(x, Tensor) else x for x in arguments]
    grad = torch.randn_like(out).detach()
    torch.library.opcheck(window_attention_backward, (grad, *detached, out.detach(), lse.detach()))


def test_compiled_it_is_one_graph_with_equal_gradients() -> None:
    torch.compiler.reset()
    projected, options = call("oblong")

    def run(projected: Tensor, **options: object) -> Tensor:
        return window_attention(projected, **options)  # pyright: ignore

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    options["backend"] = "triton"
    wanted = outputs_and_gradients(run, [projected], options, dtype=torch.float32)
    found = outputs_and_gradients(compiled, [projected], options, dtype=torch.float32)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor)
