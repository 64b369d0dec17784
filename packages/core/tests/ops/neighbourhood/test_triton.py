"""The Triton kernels of neighbourhood attention, in the interpreter, against the reference in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import neighbourhood_attention
from headway.core.ops.neighbourhood import reference
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret
Options = dict[str, object]


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def triple(tokens: int, *, batch: int = 1, heads: int = 2, width: int = 16) -> list[Tensor]:
    return [normal(batch, heads, tokens, width, seed=n) for n in range(3)]


# More than one tile along each axis, with a rest; items of a padded batch without any token.
CASES: dict[str, tuple[int, int, Options]] = {
    "picture": (1, 9 * 11, {"grid": (9, 11), "window": (3, 4), "table": normal(35, 2)}),
    "no table": (1, 10 * 9, {"grid": (10, 9), "window": 3}),
    "sequence": (1, 70, {"grid": (70,), "window": 5, "table": normal(9, 2)}),
    "lengths": (3, 70, {"grid": (70,), "window": 4, "lengths": torch.tensor([66, 3, 0])}),
    "small grid": (1, 6, {"grid": (2, 3), "window": 3, "table": normal(25, 2), "scale": 0.6}),
}


def call(*tensors: Tensor, **options: object) -> Tensor:
    return neighbourhood_attention(*tensors, **options)  # pyright: ignore


@pytest.mark.parametrize("case", CASES)
def test_float32_equals_the_reference_in_outputs_and_all_gradients(case: str) -> None:
    batch, tokens, options = CASES[case]
    scale = options.get("scale")
    options = {name: x for name, x in options.items() if name != "scale"}

    def run(*tensors: Tensor, **given: object) -> Tensor:
        return call(*tensors, scale=scale, **given)

    tensors = triple(tokens, batch=batch)
    wanted = outputs_and_gradients(run, tensors, options | {"backend": "reference"})
    found = outputs_and_gradients(
        run, tensors, options | {"backend": "triton"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 2e-5 * (1.0 + exact.abs().max()), f"{name}: {error}"


@pytest.mark.parametrize(
    ("dtype", "forward", "backward"),
    # The interpreter cuts off where a GPU rounds to bfloat16, hence the looser bounds there.
    [(torch.float16, 2.0, 3.0), (torch.bfloat16, 4.0, 6.0)],
    ids=["float16", "bfloat16"],
)
def test_half_precision_errs_little_more_than_eager_code(
    dtype: torch.dtype, forward: float, backward: float
) -> None:
    grid, window = (6, 8), 3

    def eager(query: Tensor, key: Tensor, value: Tensor, *, table: Tensor) -> Tensor:
        from headway.core.ops.neighbourhood.geometry import neighbours

        places, entries, _ = neighbours(grid, (window, window), None, query.device)
        near_keys, near_values = (x[:, :, places[0]] for x in (key, value))
        scores = (query[:, :, :, None] * near_keys).sum(-1) * query.shape[-1] ** -0.5
        weights = (scores + table[entries[0]].movedim(-1, 0)).softmax(dim=-1)
        return (weights[..., None] * near_values).sum(-2)

    tensors = [x.to(dtype).double() for x in triple(48)]
    table = {"table": normal(25, 2).to(dtype).double()}
    options: Options = {"grid": grid, "window": window, **table}
    exact = outputs_and_gradients(call, tensors, options | {"backend": "reference"})
    plain = outputs_and_gradients(eager, tensors, table, dtype=dtype)
    found = outputs_and_gradients(call, tensors, options | {"backend": "triton"}, dtype=dtype)
    for name, wanted in exact.items():
        assert found[name].dtype == dtype
        error = (found[name].double() - wanted).abs().max()
        bound = (plain[name].double() - wanted).abs().max()
        factor = forward if name == "output" else backward
        assert error <= factor * bound, f"{name}: {error} > {factor} x {bound}"


def test_programs_in_another_order_and_a_second_run_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    options: Options = {"grid": (9, 9), "window": 3, "table": normal(25, 1), "backend": "triton"}
    tensors = triple(81, heads=1)
    first = outputs_and_gradients(call, tensors, options, dtype=torch.float32)
    with permuted_programs(3):
        second = outputs_and_gradients(call, tensors, options, dtype=torch.float32)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_the_log_sum_exp_and_its_gradient_are_those_of_the_reference() -> None:
    from headway.core.ops.neighbourhood.operator import neighbourhood_forward

    def run(*tensors: Tensor, fused: bool) -> Tensor:
        grids = [x.unflatten(2, (4, 5)) for x in tensors]
        if fused:
            return neighbourhood_forward(*grids, None, None, [3, 3], 0.3)[1]
        return reference.attention(*grids, None, None, (3, 3), 0.3)[1]

    tensors = triple(20)
    wanted = outputs_and_gradients(run, tensors, {"fused": False})
    found = outputs_and_gradients(run, tensors, {"fused": True}, dtype=torch.float32)
    for name, exact in wanted.items():
        torch.testing.assert_close(found[name].double(), exact, atol=2e-5, rtol=2e-5)
