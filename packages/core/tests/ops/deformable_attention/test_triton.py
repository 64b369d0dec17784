"""The Triton kernels of deformable attention, in the interpreter, against the reference in float64."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import BackendError, deformable_attention
from headway.core.ops.deformable_attention.operator import (
    deformable_attention_backward,
    deformable_attention_forward,
)
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret
Levels = tuple[tuple[int, int], ...]
# Batch, queries, heads, width, levels, points; more than one block of queries and of tokens, with a rest,
# more contributions to a token than are added up at a time, widths that are no power of two.
SHAPES: dict[str, tuple[int, int, int, int, Levels, int]] = {
    "odd": (1, 66, 2, 13, ((9, 7), (3, 5), (1, 2)), 2),
    "crowded": (2, 130, 1, 16, ((1, 1), (2, 1)), 1),
    "wide": (1, 5, 1, 72, ((3, 5), (2, 3)), 1),
    "small": (1, 20, 2, 16, ((5, 3), (2, 2)), 2),
}


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import guarded_memory

    with nan_filled_memory(), guarded_memory():
        yield


def inputs(name: str) -> tuple[list[Tensor], Levels]:
    batch, queries, heads, width, levels, points = SHAPES[name]
    generator = torch.Generator().manual_seed(5)
    tokens = sum(math.prod(level) for level in levels)
    value = torch.randn(batch, tokens, heads, width, generator=generator, dtype=torch.float64)
    shape = (batch, queries, heads, len(levels), points)
    # Beyond the borders on every side, too. Rounded, so that float32 and float64 see the same cells.
    locations = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(shape, generator=generator, dtype=torch.float64)
    return [value, locations.float().double(), weights], levels


def run(*tensors: Tensor, levels: Levels, backend: str) -> Tensor:
    return deformable_attention(*tensors, levels=levels, backend=backend)


@pytest.mark.parametrize("name", ["odd", "crowded", "wide"])
def test_float32_equals_the_reference_in_output_and_all_gradients(name: str) -> None:
    tensors, levels = inputs(name)
    wanted = outputs_and_gradients(run, tensors, {"levels": levels, "backend": "reference"})
    options = {"levels": levels, "backend": "triton"}
    found = outputs_and_gradients(run, tensors, options, dtype=torch.float32)
    for key, exact in wanted.items():
        error = (found[key].double() - exact).abs().max()
        assert error <= 2e-5 * exact.abs().max(), f"{key}: {error}"


def test_strides_of_the_values_are_followed() -> None:
    (value, locations, weights), levels = inputs("small")
    tensors = [x.float() for x in (value, locations, weights)]
    wanted = deformable_attention(*tensors, levels=levels, backend="triton")
    apart = tensors[0].permute(2, 1, 0, 3).contiguous().permute(2, 1, 0, 3)
    columns = tensors[0].transpose(1, 3).contiguous().transpose(1, 3)
    for other in (apart, columns):
        found = deformable_attention(other, *tensors[1:], levels=levels, backend="triton")
        assert torch.equal(found, wanted)


def eager(value: Tensor, locations: Tensor, weights: Tensor, *, levels: Levels) -> Tensor:
    """Code that knows places in float32, as they are hardly usable otherwise, and the rest in its dtype."""
    total, start = value.new_zeros(()), 0
    for number, (rows, columns) in enumerate(levels):
        tokens = value[:, start : start + rows * columns].transpose(1, 2)
        start += rows * columns
        x = locations[:, :, :, number, :, 0].float() * columns - 0.5
        y = locations[:, :, :, number, :, 1].float() * rows - 0.5
        for corner in range(4):
            column = x.detach().floor() + corner % 2
            row = y.detach().floor() + corner // 2
            way_x, way_y = x - x.detach().floor(), y - y.detach().floor()
            share = (way_x if corner % 2 else 1 - way_x) * (way_y if corner // 2 else 1 - way_y)
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            place = (row * columns + column).masked_fill(~inside, 0).long().transpose(1, 2)
            index = place.flatten(2)[..., None].expand(-1, -1, -1, value.shape[3])
            found = tokens.gather(2, index).unflatten(2, place.shape[2:]).transpose(1, 2)
            counts = (share.to(value.dtype) * weights[:, :, :, number]).masked_fill(~inside, 0)
            total = total + (counts[..., None] * found).sum(3)
    return total.flatten(2)


@pytest.mark.parametrize(
    ("dtype", "forward", "backward"),
    # The interpreter cuts off where a GPU rounds to bfloat16, hence the looser bounds there.
    [(torch.float16, 2.0, 3.0), (torch.bfloat16, 4.0, 6.0)],
    ids=["float16", "bfloat16"],
)
def test_half_precision_errs_little_more_than_eager_code(
    dtype: torch.dtype, forward: float, backward: float
) -> None:
    tensors, levels = inputs("small")
    tensors = [x.to(dtype).double() for x in tensors]
    exact = outputs_and_gradients(run, tensors, {"levels": levels, "backend": "reference"})
    plain = outputs_and_gradients(eager, tensors, {"levels": levels}, dtype=dtype)
    options = {"levels": levels, "backend": "triton"}
    found = outputs_and_gradients(run, tensors, options, dtype=dtype)
    for name, wanted in exact.items():
        assert found[name].dtype == dtype
        error = (found[name].double() - wanted).abs().max()
        bound = (plain[name].double() - wanted).abs().max()
        factor = forward if name == "output" else backward
        assert error <= factor * bound, f"{name}: {error} > {factor} x {bound}"


def test_programs_in_another_order_and_a_second_run_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    tensors, levels = inputs("crowded")
    options = {"levels": levels, "backend": "triton"}
    first = outputs_and_gradients(run, tensors, options, dtype=torch.float32)
    with permuted_programs(3):
        second = outputs_and_gradients(run, tensors, options, dtype=torch.float32)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_values_that_no_point_reaches_may_be_no_numbers_and_get_no_gradient() -> None:
    value = torch.full((1, 16, 1, 8), torch.nan)
    value[:, 5] = 1.0
    # The centre of the token in the second row and column, and a place far outside.
    locations = torch.tensor([[0.375, 0.375], [-4.0, 3e30]]).view(1, 1, 1, 1, 2, 2)
    weights = torch.full((1, 1, 1, 1, 2), 0.5)
    # Neighbours have a share of zero there, but they are read.
    value[:, [6, 9, 10]] = 0.0
    leaves = [x.requires_grad_() for x in (value, locations, weights)]
    out = deformable_attention(*leaves, levels=[(4, 4)], backend="triton")
    assert out.flatten().tolist() == [0.5] * 8
    grads = torch.autograd.grad(out.sum(), leaves)
    assert grads[0].sum(dim=(0, 2, 3)).tolist() == [0.0] * 5 + [4.0] + [0.0] * 10
    assert grads[1].flatten().tolist() == [-16.0, -16.0, 0.0, 0.0]
    assert grads[2].flatten().tolist() == [8.0, 0.0]


def test_a_call_without_queries_has_gradients_of_zero() -> None:
    value = torch.ones(1, 4, 1, 8, requires_grad=True)
    locations, weights = torch.empty(1, 0, 1, 1, 2, 2), torch.empty(1, 0, 1, 1, 2)
    out = deformable_attention(value, locations, weights, levels=[(2, 2)], backend="triton")
    assert out.shape == (1, 0, 8)
    (grad,) = torch.autograd.grad(out.sum(), value)
    assert torch.equal(grad, torch.zeros_like(value))


def test_operators_are_well_behaved_mapped_and_differentiable_twice() -> None:
    tensors, levels = inputs("wide")
    leaves = [x.float().requires_grad_() for x in tensors]
    flat = [size for level in levels for size in level]
    torch.library.opcheck(deformable_attention_forward, (*leaves, flat))
    detached = [x.detach() for x in leaves]
    torch.library.opcheck(
        deformable_attention_backward,
        (torch.ones(1, 5, 72), *detached, flat),
        # The derivatives are those of the reference, which are compared below.
        test_utils=("test_schema", "test_faketensor"),
    )

    def call(*x: Tensor) -> Tensor:
        return deformable_attention(*x, levels=levels, backend="triton")

    several = [torch.stack([x, x.flip(0, 1)]) for x in detached[1:]]
    found = torch.vmap(call, in_dims=(None, 0, 0))(detached[0], *several)
    for number, out in enumerate(found):
        assert torch.equal(out, call(detached[0], *(x[number] for x in several)))

    def second(backend: str, dtype: torch.dtype) -> list[Tensor]:
        given = [x.to(dtype).requires_grad_() for x in tensors]
        out = deformable_attention(*given, levels=levels, backend=backend)
        first = torch.autograd.grad(out.square().sum(), given, create_graph=True)
        return list(torch.autograd.grad(sum(x.sin().sum() for x in first), given))

    pairs = zip(second("triton", torch.float32), second("reference", torch.float64), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.double(), other, atol=2e-3, rtol=2e-3)


def test_under_autocast_places_stay_wide() -> None:
    tensors, levels = inputs("wide")
    value, locations, weights = (x.float() for x in tensors)
    wanted = deformable_attention(
        value.bfloat16().float(), locations, weights, levels=levels, backend="triton"
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = deformable_attention(
            value.bfloat16(), locations, weights, levels=levels, backend="triton"
        )
    assert torch.equal(found, wanted)


def test_a_call_that_has_no_kernel_is_refused_with_the_remedy() -> None:
    tensors, levels = inputs("wide")
    with pytest.raises(BackendError, match="float64 has no kernel; use backend='reference'"):
        deformable_attention(*tensors, levels=levels, backend="triton")
    value, *others = (x.float() for x in tensors)
    wide = torch.cat([value, value], dim=3)
    with pytest.raises(BackendError, match="head width 144 > 128"):
        deformable_attention(wide, *others, levels=levels, backend="triton")
    with pytest.raises(BackendError, match="TRITON_INTERPRET=1 asks for Triton's kernels"):
        deformable_attention(value, *others, levels=levels, backend="native")
