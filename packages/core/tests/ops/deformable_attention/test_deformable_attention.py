"""Deformable attention: the formula by hand, the C++ kernels against it, and what both promise."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.ops import BackendError, deformable_attention
from headway.core.ops.deformable_attention.native.launch import SOURCE
from headway.core.ops.deformable_attention.operator import (
    deformable_attention_backward,
    deformable_attention_forward,
)
from headway.core.ops.native import reason_against
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

needs_compiler = pytest.mark.skipif(reason_against(SOURCE) is not None, reason="no C++ compiler")
BACKENDS = ["reference", pytest.param("native", marks=needs_compiler)]
# Batch, queries, heads, width, levels, points.
SHAPES = {
    "detr": (2, 9, 8, 32, ((6, 8), (3, 4), (2, 2), (1, 1)), 4),
    "odd": (1, 5, 3, 13, ((5, 7), (3, 2)), 3),
    "narrow": (3, 4, 1, 4, ((4, 4),), 1),
    "wide": (1, 3, 2, 72, ((3, 9), (2, 5), (1, 4)), 7),
}


def inputs(name: str) -> tuple[list[Tensor], tuple[tuple[int, int], ...]]:
    batch, queries, heads, width, levels, points = SHAPES[name]
    generator = torch.Generator().manual_seed(3)
    tokens = sum(math.prod(level) for level in levels)
    value = torch.randn(batch, tokens, heads, width, generator=generator, dtype=torch.float64)
    shape = (batch, queries, heads, len(levels), points)
    # Beyond the borders on every side, too. Rounded, so that float32 and float64 see the same cells.
    locations = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3
    weights = torch.rand(shape, generator=generator, dtype=torch.float64)
    return [value, locations.float().double(), weights], levels


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_sum_of_interpolated_maps(backend: str) -> None:
    """Against the definition of bilinear sampling, written for one number at a time."""
    (value, locations, weights), levels = inputs("odd")
    out = deformable_attention(
        *(x.float() for x in (value, locations, weights)), levels=levels, backend=backend
    )
    _, queries, heads, width, _, points = SHAPES["odd"]
    for q in range(queries):
        for h in range(heads):
            wanted, start = torch.zeros(width, dtype=torch.float64), 0
            for number, (rows, columns) in enumerate(levels):
                for p in range(points):
                    x = float(locations[0, q, h, number, p, 0]) * columns - 0.5
                    y = float(locations[0, q, h, number, p, 1]) * rows - 0.5
                    for row in range(rows):
                        for column in range(columns):
                            share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                            token = value[0, start + row * columns + column, h]
                            wanted += weights[0, q, h, number, p] * share * token
                start += rows * columns
            found = out[0, q, h * width : (h + 1) * width].double()
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@needs_compiler
@pytest.mark.parametrize("name", SHAPES)
def test_kernels_equal_the_reference_in_output_and_all_gradients(name: str) -> None:
    tensors, levels = inputs(name)
    wanted = outputs_and_gradients(
        deformable_attention, tensors, {"levels": levels, "backend": "reference"}
    )
    with nan_filled_memory():
        found = outputs_and_gradients(
            deformable_attention,
            tensors,
            {"levels": levels, "backend": "native"},
            dtype=torch.float32,
        )
    for key, exact in wanted.items():
        error = (found[key].double() - exact).abs().max()
        assert error <= 2e-5 * exact.abs().max().clamp(min=1.0), f"{key}: {error}"


def test_the_reference_equals_grid_sample() -> None:
    (value, locations, weights), levels = inputs("detr")
    batch, queries, heads, width, _, _ = SHAPES["detr"]
    total, start = torch.zeros(batch * heads, width, queries, dtype=torch.float64), 0
    for number, (rows, columns) in enumerate(levels):
        tokens = value[:, start : start + rows * columns]
        start += rows * columns
        maps = tokens.permute(0, 2, 3, 1).reshape(batch * heads, width, rows, columns)
        places = locations[:, :, :, number].transpose(1, 2).flatten(0, 1) * 2 - 1
        found = F.grid_sample(maps, places, align_corners=False)
        total += (found * weights[:, :, :, number].transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
    wanted = total.view(batch, heads * width, queries).transpose(1, 2)
    found = deformable_attention(value, locations, weights, levels=levels, backend="reference")
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_the_centre_of_a_token_the_gradient_of_a_place_is_the_step_to_the_next_tokens(
    backend: str,
) -> None:
    """There the sum has a kink; a query that looks straight at a token stands on it."""
    value = torch.randn(1, 16, 1, 8, generator=torch.Generator().manual_seed(1))
    location = torch.tensor([0.375, 0.625]).view(1, 1, 1, 1, 1, 2).requires_grad_()
    weights = torch.ones(1, 1, 1, 1, 1)
    out = deformable_attention(value, location, weights, levels=[(4, 4)], backend=backend)
    (found,) = torch.autograd.grad(out.sum(), location)
    token, right, below = (value[0, n, 0].sum() for n in (9, 10, 13))
    wanted = 4.0 * torch.stack([right - token, below - token])
    torch.testing.assert_close(found.flatten(), wanted)
    maps = value[0, :, 0].T.reshape(1, 8, 4, 4)
    sampled = F.grid_sample(maps, 2 * location.view(1, 1, 1, 2) - 1, align_corners=False)
    torch.testing.assert_close(torch.autograd.grad(sampled.sum(), location)[0].flatten(), wanted)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_that_no_point_reaches_may_be_no_numbers(backend: str) -> None:
    value = torch.full((1, 16, 1, 8), torch.nan)
    value[:, 5] = 1.0
    # The centre of the token in the second row and column, and a place far outside.
    locations = torch.tensor([[0.375, 0.375], [-4.0, 9.0]]).view(1, 1, 1, 1, 2, 2)
    weights = torch.full((1, 1, 1, 1, 2), 0.5)
    # Neighbours have a share of zero there, but they are read.
    value[:, [6, 9, 10]] = 0.0
    out = deformable_attention(value, locations, weights, levels=[(4, 4)], backend=backend)
    assert out.flatten().tolist() == [0.5] * 8


@needs_compiler
def test_results_are_bitwise_equal_for_any_number_of_threads() -> None:
    tensors, levels = inputs("detr")
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        try:
            runs.append(
                outputs_and_gradients(
                    deformable_attention,
                    tensors,
                    {"levels": levels, "backend": "native"},
                    dtype=torch.float32,
                )
            )
        finally:
            torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(run[key], runs[0][key]) for key in run)


def test_gradients_of_the_reference_are_those_of_finite_differences() -> None:
    tensors, levels = inputs("narrow")
    leaves = [x.requires_grad_() for x in tensors]

    def run(*x: Tensor) -> Tensor:
        return deformable_attention(*x, levels=levels, backend="reference")

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@needs_compiler
def test_second_derivatives_are_those_of_the_reference() -> None:
    def second(backend: str, dtype: torch.dtype) -> list[Tensor]:
        tensors, levels = inputs("odd")
        leaves = [x.to(dtype).requires_grad_() for x in tensors]
        out = deformable_attention(*leaves, levels=levels, backend=backend)
        first = torch.autograd.grad(out.square().sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(x.sin().sum() for x in first), leaves))

    pairs = zip(second("native", torch.float32), second("reference", torch.float64), strict=True)
    for found, wanted in pairs:
        torch.testing.assert_close(found.double(), wanted, atol=2e-3, rtol=2e-3)


@needs_compiler
def test_operators_are_well_behaved_and_counted() -> None:
    tensors, levels = inputs("odd")
    leaves = [x.float().requires_grad_() for x in tensors]
    flat = [size for level in levels for size in level]
    torch.library.opcheck(deformable_attention_forward, (*leaves, flat))
    grad = torch.randn(1, 5, 39)
    detached = [x.detach() for x in leaves]
    torch.library.opcheck(deformable_attention_backward, (grad, *detached, flat))
    with FlopCounterMode(display=False) as counter:
        deformable_attention(*leaves, levels=levels, backend="native")
    assert counter.get_total_flops() == 8 * 5 * 3 * 2 * 3 * 13


@pytest.mark.parametrize("backend", ["auto", pytest.param("native", marks=needs_compiler)])
def test_compiled_and_exported_it_is_the_same(backend: str) -> None:
    torch.compiler.reset()
    tensors, levels = inputs("odd")
    leaves = [x.float().requires_grad_() for x in tensors]

    class Sample(torch.nn.Module):
        def forward(self, *x: Tensor) -> Tensor:
            return deformable_attention(*x, levels=levels, backend=backend)

    compiled = torch.compile(Sample(), fullgraph=True, backend="aot_eager", dynamic=True)
    found, wanted = compiled(*leaves), Sample()(*leaves)
    torch.testing.assert_close(found, wanted)
    grad = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad(found, leaves, grad),
        torch.autograd.grad(wanted, leaves, grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    batch = torch.export.Dim("batch")
    doubled = tuple(torch.cat([x.detach()] * 2) for x in leaves)
    program = torch.export.export(Sample(), doubled, dynamic_shapes=(({0: batch},) * 3,))
    many = tuple(torch.cat([x.detach()] * 3) for x in leaves)
    torch.testing.assert_close(program.module()(*many), Sample()(*many))


REFUSED = {
    "levels": ({"levels": [(2, 3)]}, "hold 6 tokens"),
    "level": ({"levels": [(2, 3, 4)]}, "use \\(rows, columns\\)"),
    "weights": ({"weights": torch.zeros(1, 5, 2, 1, 3)}, "weights has shape"),
    "locations": ({"locations": torch.zeros(1, 5, 3, 1, 3, 3)}, "an x and a y"),
    "dtype": ({"locations": torch.zeros(1, 5, 3, 1, 3, 2).double()}, "cast and move"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    arguments = {
        "value": torch.zeros(1, 16, 3, 8),
        "locations": torch.zeros(1, 5, 3, 1, 3, 2),
        "weights": torch.zeros(1, 5, 3, 1, 3),
        "levels": [(4, 4)],
    } | options
    with pytest.raises(UserError, match=message):
        deformable_attention(**arguments)  # pyright: ignore


def test_a_backend_that_cannot_is_refused_with_the_remedy() -> None:
    tensors, levels = inputs("odd")
    with pytest.raises(BackendError, match="float64 has no kernel; use float32"):
        deformable_attention(*tensors, levels=levels, backend="native")
    value, *others = (x.float() for x in tensors)
    with pytest.raises(BackendError, match="use 'auto' or one of"):
        deformable_attention(value, *others, levels=levels, backend="cuda")
    with pytest.raises(BackendError, match="needs a CUDA device, got cpu|triton is not installed"):
        deformable_attention(value, *others, levels=levels, backend="triton")
