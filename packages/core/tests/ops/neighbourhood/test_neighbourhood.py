"""Neighbourhood attention against dense attention with a mask, its C++ kernels, and what it claims."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import NeighbourhoodAttention, SelfAttention
from headway.core.ops import BackendError, attention, neighbourhood_attention
from headway.core.ops.neighbourhood import native
from headway.core.positions import RelativeBias
from headway.core.testing.gradients import outputs_and_gradients

Options = dict[str, object]
compiled = pytest.mark.skipif(
    native.reason_against() is not None, reason=str(native.reason_against())
)


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def triple(tokens: int, *, batch: int = 2, heads: int = 2, width: int = 8) -> list[Tensor]:
    return [normal(batch, heads, tokens, width, seed=n) for n in range(3)]


def entries(window: int | tuple[int, ...], axes: int) -> int:
    sides = (window,) * axes if isinstance(window, int) else window
    return int(torch.tensor([2 * side - 1 for side in sides]).prod())


def window_of(place: int, count: int, size: int, step: int) -> range:
    """The neighbours of a place along one axis, in words of the paper: the nearest ones there are."""
    mine = range(place % step, count, step)
    size = min(size, len(mine))
    start = min(max(place // step - size // 2, 0), len(mine) - size)
    return mine[start : start + size]


def dense(query: Tensor, key: Tensor, value: Tensor, **options: object) -> Tensor:
    """The same by attention to all tokens with a mask and an index."""
    grid: tuple[int, ...] = options["grid"]  # pyright: ignore
    window, step = options["window"], options.get("dilation", 1)
    axes, tokens = len(grid), query.shape[2]
    sides = (window,) * axes if isinstance(window, int) else window
    steps = (step,) * axes if isinstance(step, int) else step
    places = torch.cartesian_prod(*(torch.arange(size) for size in grid)).view(tokens, axes)
    mask = torch.ones(tokens, tokens, dtype=torch.bool)
    index = torch.zeros(tokens, tokens, dtype=torch.long)
    for axis, (size, side, pace) in enumerate(zip(grid, sides, steps, strict=True)):  # pyright: ignore
        near = torch.zeros(size, size, dtype=torch.bool)
        for place in range(size):
            near[place, list(window_of(place, size, side, pace))] = True
        mask &= near[places[:, None, axis], places[None, :, axis]]
        apart = (places[:, None, axis] - places[None, :, axis]) // pace
        index = index * (2 * side - 1) + (apart + side - 1).clamp(0, 2 * side - 2)
    return attention(
        *(query, key, value),
        mask=mask,
        table=options.get("table"),  # pyright: ignore
        index=None if options.get("table") is None else index,
        scale=options.get("scale"),  # pyright: ignore
        backend="reference",
    )


CASES: dict[str, Options] = {
    "picture": {"grid": (5, 6), "window": 3},
    "sequence": {"grid": (17,), "window": 5},
    "even": {"grid": (7, 8), "window": (2, 4)},
    "larger than the grid": {"grid": (3, 9), "window": 5},
    "one token": {"grid": (1,), "window": 3},
    "scale": {"grid": (4, 7), "window": 3, "scale": 0.9},
    "dilated picture": {"grid": (7, 9), "window": 3, "dilation": 2},
    "dilated sequence": {"grid": (19,), "window": 4, "dilation": 3},
    "dilated one way": {"grid": (6, 8), "window": 3, "dilation": (1, 2)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "table"])
@pytest.mark.parametrize("width", [8, 5], ids=["width-8", "width-5"])
@pytest.mark.parametrize(
    ("backend", "dtype", "bound"),
    [
        ("reference", torch.float64, 1e-12),
        pytest.param("native", torch.float32, 2e-5, marks=compiled),
    ],
    ids=["reference", "native"],
)
def test_it_is_dense_attention_to_the_neighbours(
    case: str, biased: bool, width: int, backend: str, dtype: torch.dtype, bound: float
) -> None:
    options = dict(CASES[case])
    grid: tuple[int, ...] = options["grid"]  # pyright: ignore
    if biased:
        options["table"] = normal(entries(options["window"], len(grid)), 2)  # pyright: ignore
    tensors = triple(int(torch.tensor(grid).prod()), width=width)
    wanted = outputs_and_gradients(dense, tensors, options)
    found = outputs_and_gradients(
        neighbourhood_attention, tensors, options | {"backend": backend}, dtype=dtype
    )
    for name, exact in wanted.items():
        if name == "scale":
            continue
        error = (found[name].double() - exact).abs().max()
        assert error <= bound * (1.0 + exact.abs().max()), f"{name}: {error}"


@pytest.mark.parametrize("backend", ["reference", pytest.param("native", marks=compiled)])
@pytest.mark.parametrize("lengths", [[17, 9], [3, 0], [1, 4]], ids=str)
def test_an_item_in_a_padded_batch_equals_the_item_alone(backend: str, lengths: list[int]) -> None:
    table = normal(9, 2).float()
    tensors = [x.float() for x in triple(17, width=8)]
    counts = torch.tensor(lengths)
    beyond = (torch.arange(17) >= counts[:, None])[:, None, :, None]
    poisoned = [x.masked_fill(beyond, torch.nan).requires_grad_() for x in tensors]
    options: Options = {"window": 5, "table": table, "backend": backend}
    out = neighbourhood_attention(*poisoned, grid=(17,), lengths=counts, **options)  # pyright: ignore
    grads = torch.autograd.grad(out.square().sum(), poisoned)
    for item, count in enumerate(lengths):
        assert (out[item, :, count:] == 0).all()
        alone = [x[item : item + 1, :, :count].clone().requires_grad_() for x in tensors]
        if count:
            single = neighbourhood_attention(*alone, grid=(count,), **options)  # pyright: ignore
            torch.testing.assert_close(out[item : item + 1, :, :count], single)
            wanted = torch.autograd.grad(single.square().sum(), alone)
            for grad, exact in zip(grads, wanted, strict=True):
                torch.testing.assert_close(grad[item : item + 1, :, :count], exact)
        for grad in grads:
            assert (grad[item, :, count:] == 0).all()


@compiled
def test_any_stride_gives_the_same_bits_and_so_does_any_number_of_threads() -> None:
    packed = normal(2, 30, 3, 2, 8).float()
    views = list(packed.permute(2, 0, 3, 1, 4).unbind(0))
    options: Options = {"grid": (5, 6), "window": 3, "table": normal(25, 2).float()}
    wanted = outputs_and_gradients(neighbourhood_attention, views, options)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        found = outputs_and_gradients(
            neighbourhood_attention, [x.contiguous() for x in views], options
        )
    finally:
        torch.set_num_threads(threads)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@compiled
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_computes_in_float32(dtype: torch.dtype) -> None:
    tensors = [x.to(dtype) for x in triple(30)]
    out = neighbourhood_attention(*tensors, grid=(5, 6), window=3, backend="native")
    wanted = neighbourhood_attention(*(x.double() for x in tensors), grid=(5, 6), window=3)
    assert out.dtype == dtype
    torch.testing.assert_close(out, wanted.to(dtype), atol=0, rtol=torch.finfo(dtype).eps)


def test_derivatives_of_both_orders_are_those_of_finite_differences() -> None:
    tensors = [x.requires_grad_() for x in triple(6, batch=1, heads=1, width=2)]
    table = normal(9, 1).requires_grad_()

    def call(query: Tensor, key: Tensor, value: Tensor, entries: Tensor) -> Tensor:
        return neighbourhood_attention(query, key, value, grid=(2, 3), window=2, table=entries)

    assert torch.autograd.gradcheck(call, (*tensors, table))
    assert torch.autograd.gradgradcheck(call, (*tensors, table))


@compiled
def test_second_derivatives_of_the_kernels_are_those_of_the_reference() -> None:
    def twice(*leaves: Tensor, table: Tensor, backend: str) -> Tensor:
        out = neighbourhood_attention(*leaves, grid=(3, 4), window=3, table=table, backend=backend)  # pyright: ignore
        first = torch.autograd.grad(out.square().sum(), [*leaves, table], create_graph=True)
        return torch.cat([grad.square().flatten() for grad in first])

    tensors, options = triple(12, width=4), {"table": normal(25, 2)}
    wanted = outputs_and_gradients(twice, tensors, options | {"backend": "reference"})
    found = outputs_and_gradients(
        twice, tensors, options | {"backend": "native"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 1e-4 * (1.0 + exact.abs().max()), f"{name}: {error}"


@compiled
def test_the_operator_passes_the_checks_of_torch_library_and_counts_its_work() -> None:
    from headway.core.ops.neighbourhood.operator import neighbourhood_forward

    tensors = [x.float().unflatten(2, (3, 4)).requires_grad_() for x in triple(12)]
    table = normal(25, 2).float().requires_grad_()
    torch.library.opcheck(neighbourhood_forward, (*tensors, table, None, [3, 3], 0.3))
    counter = FlopCounterMode(display=False)
    with counter:
        neighbourhood_forward(*tensors, table, None, [3, 3], 0.3)[0].sum().backward()
    assert counter.get_total_flops() == (4 + 10) * 2 * 2 * 12 * 9 * 8


@compiled
def test_it_maps_over_an_axis() -> None:
    tensors = [x.float() for x in triple(12, batch=6)]
    table = normal(25, 2).float()

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return neighbourhood_attention(query, key, value, grid=(3, 4), window=3, table=table)

    wanted = call(*tensors).unflatten(0, (3, 2))
    mapped = torch.vmap(call, in_dims=(0, 0, None))
    query, key = (x.unflatten(0, (3, 2)) for x in tensors[:2])
    shared = tensors[2][:2]
    found = mapped(query, key, shared)
    torch.testing.assert_close(found[0], wanted[0])
    each = [call(query[n], key[n], shared) for n in range(3)]
    torch.testing.assert_close(found, torch.stack(each))


@compiled
def test_autocast_and_one_graph_with_free_sizes() -> None:
    tensors = [x.float() for x in triple(12)]
    with torch.autocast("cpu", torch.bfloat16):
        assert neighbourhood_attention(*tensors, grid=(3, 4), window=3).dtype == torch.bfloat16
    torch.compiler.reset()

    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return neighbourhood_attention(query, key, value, grid=(query.shape[2],), window=3)

    graph = torch.compile(call, fullgraph=True, backend="aot_eager", dynamic=True)
    for tokens in (12, 19):
        inputs = [x.float() for x in triple(tokens)]
        wanted = outputs_and_gradients(call, inputs, {})
        found = outputs_and_gradients(graph, inputs, {})
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor)


class Call(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return neighbourhood_attention(query, key, value, grid=(query.shape[2],), window=3)


@compiled
def test_it_exports_with_free_items_and_tokens() -> None:
    sizes = {0: torch.export.Dim("items"), 2: torch.export.Dim("tokens", min=4)}
    example = tuple(x.float() for x in triple(12))
    program = torch.export.export(Call(), example, dynamic_shapes=(sizes,) * 3)
    assert "headway.neighbourhood_forward.default" in {str(n.target) for n in program.graph.nodes}
    more = [x.float() for x in triple(21, batch=3)]
    torch.testing.assert_close(program.module()(*more), Call()(*more))


def test_a_window_over_the_whole_grid_is_attention_with_a_relative_bias() -> None:
    torch.manual_seed(0)
    near = NeighbourhoodAttention(8, 2, window=(4, 4)).double()
    nn.init.normal_(near.position.table)

    def bias(heads: int, head_dim: int) -> RelativeBias:
        return RelativeBias(heads, head_dim, grid=(4, 4))

    far = SelfAttention(8, 2, position=bias).double()
    far.load_state_dict(near.state_dict())
    x = normal(2, 16, 8)
    layout = Layout(grid=(4, 4))
    torch.testing.assert_close(near(x, layout), far(x, layout))
    # On a larger grid a token reaches no further than its window.
    x, layout = normal(1, 64, 8).requires_grad_(), Layout(grid=(8, 8))
    (grad,) = torch.autograd.grad(near(x, layout)[0, 3 * 8 + 3].sum(), x)
    reached = (grad[0].abs().sum(dim=-1) > 0).view(8, 8)
    wanted = torch.zeros(8, 8, dtype=torch.bool)
    wanted[1:5, 1:5] = True
    assert torch.equal(reached, wanted)


def test_as_a_mixer_of_padded_sequences_it_leaves_the_padding_out() -> None:
    torch.manual_seed(0)
    mixer = NeighbourhoodAttention(8, 2, window=(3,))
    x = normal(2, 9, 8).float()
    out = mixer(x, Layout(lengths=torch.tensor([9, 4])))
    torch.testing.assert_close(out[1:, :4], mixer(x[1:, :4]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": (4, 4)}, "does not hold 12 tokens"),
        ({"window": 0}, "needs 2 positive numbers"),
        ({"window": (3,)}, "needs 2 positive numbers"),
        ({"dilation": 5}, "steps over the grid"),
        ({"table": torch.zeros(9, 2)}, r"need \(25, 2\)"),
        ({"lengths": torch.tensor([1, 2])}, "one axis"),
    ],
    ids=["grid", "window", "axes", "dilation", "table", "lengths"],
)
def test_wrong_arguments_are_named(change: Options, message: str) -> None:
    tensors = [x.float() for x in triple(12)]
    options: Options = {"grid": (3, 4), "window": 3} | change
    with pytest.raises(UserError, match=message):
        neighbourhood_attention(*tensors, **options)  # pyright: ignore


def test_backends_that_cannot_run_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tensors = triple(12, width=16)
    for backend, reason in (("native", "float64"), ("triton", "float64"), ("other", "use 'auto'")):
        with pytest.raises(BackendError, match=reason):
            neighbourhood_attention(*tensors, grid=(3, 4), window=3, backend=backend)
    single = [x.float() for x in tensors]
    with pytest.raises(BackendError, match="CUDA device|not installed"):
        neighbourhood_attention(*single, grid=(3, 4), window=3, backend="triton")
