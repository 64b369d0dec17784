"""The Triton kernels, in the interpreter, against the reference in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from attention_cases import CASES, Options, normal, relative, triple, wide, with_lse
from torch import Tensor

from headway.core.ops import attention, attention_with_lse, explain_dispatch
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    # Whatever a kernel leaves unwritten is NaN and fails every comparison; what it writes elsewhere is
    # an error.
    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


@pytest.mark.parametrize(("sizes", "options"), CASES.values(), ids=CASES)
def test_float32_equals_the_reference_in_outputs_lse_and_all_gradients(
    sizes: dict[str, int], options: Callable[[], Options]
) -> None:
    tensors, chosen = triple(**sizes), options()
    wanted = outputs_and_gradients(with_lse, tensors, chosen | {"backend": "reference"})
    found = outputs_and_gradients(
        with_lse, tensors, chosen | {"backend": "triton"}, dtype=torch.float32
    )
    assert found.keys() == wanted.keys()
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 2e-5 * (1.0 + exact.abs().max()), f"{name}: {error}"


def eager(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None = None,
    causal: bool = False,
    scale: Tensor | None = None,
    table: Tensor | None = None,
    index: Tensor | None = None,
    alibi_slopes: Tensor | None = None,
    softcap: float | None = None,
    relative_query: Tensor | None = None,
    distance_key: Tensor | None = None,
) -> Tensor:
    """What one writes by hand, every step in the dtype of the inputs."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale[:, None, None]
    scores = query @ key.transpose(-2, -1) * factor
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if bias is not None:
        scores = scores + bias
    if relative_query is not None and distance_key is not None:
        rows = (torch.arange(70) - torch.arange(70)[:, None] + 69).expand(2, 2, 70, 70)
        scores = scores + (relative_query @ distance_key.mT).gather(3, rows)
    if table is not None:
        scores = scores + table[index].movedim(-1, 0)
    if alibi_slopes is not None:
        steps = torch.arange(70) - torch.arange(70)[:, None]
        scores = scores - alibi_slopes[:, None, None] * steps.abs().to(scores.dtype)
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).tril() == 0, -torch.inf)
    return torch.softmax(scores, dim=-1) @ value


HALF: dict[str, Options] = {
    "plain": {},
    "causal": {"causal": True},
    "bias-BHTS": {"bias": normal(2, 2, 70, 70)},
    "bias-HTS": {"bias": normal(2, 70, 70)},
    "bias-S-causal": {"bias": normal(70), "causal": True},
    "table-scale": {
        "table": normal(9, 2),
        "index": relative(70, 70, reach=4),
        "scale": torch.tensor([0.2, 0.5]).double(),
    },
    "distances": {
        "relative_query": 0.3 * normal(2, 2, 70, 32),
        "distance_key": normal(2, 139, 32, seed=9),
        "causal": True,
    },
    "alibi-softcap": {
        "alibi_slopes": torch.tensor([0.25, 0.0625]).double(),
        "softcap": 2.0,
        "causal": True,
    },
}


@pytest.mark.parametrize("options", HALF.values(), ids=HALF)
@pytest.mark.parametrize(
    ("dtype", "forward", "backward"),
    # The interpreter cuts off where a GPU rounds to bfloat16, hence the looser bounds there.
    [(torch.float16, 2.0, 3.0), (torch.bfloat16, 4.0, 6.0)],
    ids=["float16", "bfloat16"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_half_precision_errs_little_more_than_eager_code(
    options: Options, dtype: torch.dtype, forward: float, backward: float
) -> None:
    tensors = [x.to(dtype).double() for x in triple(width=32)]
    rounded = {
        n: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x
        for n, x in options.items()
    }
    tensors, chosen = wide(tensors, rounded)
    exact = outputs_and_gradients(attention, tensors, chosen | {"backend": "reference"})
    plain = outputs_and_gradients(eager, tensors, chosen, dtype=dtype)
    found = outputs_and_gradients(attention, tensors, chosen | {"backend": "triton"}, dtype=dtype)
    for name, wanted in exact.items():
        assert found[name].dtype == dtype
        error = (found[name].double() - wanted).abs().max()
        # One number per head may come out of eager code by chance closer than it can be written.
        unit = torch.finfo(dtype).eps / 2
        bound = torch.maximum((plain[name].double() - wanted).abs(), unit * wanted.abs()).max()
        factor = forward if name == "output" else backward
        assert error <= factor * bound, f"{name}: {error} > {factor} x {bound}"


def test_a_float32_bias_goes_with_half_precision_inputs() -> None:
    tensors = [x.half() for x in triple()]
    bias = normal(2, 70, 70).float().requires_grad_()
    out = attention(*tensors, bias=bias, backend="triton")
    exact = attention(*wide(tensors, {})[0], bias=bias.double(), backend="reference")
    assert out.dtype == torch.float16
    torch.testing.assert_close(out.double(), exact, atol=2e-3, rtol=0)
    (grad,) = torch.autograd.grad(out, bias, torch.ones_like(out))
    assert grad.dtype == torch.float32


def test_rows_without_keys_are_zero_in_output_and_all_gradients() -> None:
    query, key, value = (x.float().requires_grad_() for x in triple(queries=80))
    bias = normal(2, 2, 80, 70).float().requires_grad_()
    options: Options = {"bias": bias, "lengths": torch.tensor([0, 70]), "causal": True}
    out, lse = attention_with_lse(query, key, value, **options, backend="triton")  # pyright: ignore
    assert (out[0] == 0).all()
    assert (lse[0] == -torch.inf).all()
    assert (out[1, :, :10] == 0).all()
    grads = torch.autograd.grad(
        (out, lse),
        (query, key, value, bias),
        (torch.ones_like(out), torch.full_like(lse, torch.nan).where(lse == -torch.inf, 1.0)),
    )
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert all((grad[0] == 0).all() for grad in grads)
    assert (grads[0][1, :, :10] == 0).all()
    assert (grads[0][1, :, 20:] != 0).any()


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_what_lies_beyond_the_lengths_changes_nothing(poison: float) -> None:
    lengths = torch.tensor([3, 66])
    beyond = (torch.arange(70) >= lengths[:, None])[:, None, :, None]
    query, key, value = (x.float() for x in triple())
    bias = normal(2, 1, 70, 70).float()
    dirty = [x.masked_fill(beyond, poison).requires_grad_() for x in (key, value)]
    dirty_bias = bias.masked_fill(beyond.movedim(-1, -2), poison).requires_grad_()
    options: Options = {"lengths": lengths, "backend": "triton"}
    clean = attention(query, key, value, bias=bias, **options)  # pyright: ignore
    out = attention(query, *dirty, bias=dirty_bias, **options)  # pyright: ignore
    assert torch.equal(out, clean)
    for grad in torch.autograd.grad(out, [*dirty, dirty_bias], torch.ones_like(out)):
        assert torch.isfinite(grad).all()
        mask = beyond if grad.shape[-1] == 16 else beyond.movedim(-1, -2)
        assert (grad.masked_select(mask) == 0).all()


@pytest.mark.parametrize(
    "case",
    [
        "grouped",
        "bias-TS",
        "table-per-item",
        "packed-keys",
        "distances-grouped",
        "distances-packed-causal",
        "all",
    ],
)
def test_a_second_run_in_another_order_of_programs_gives_the_same_bits(case: str) -> None:
    from headway.core.testing.interpreter import permuted_programs

    sizes, options = CASES[case]
    tensors, chosen = triple(**sizes), options() | {"backend": "triton"}
    first = outputs_and_gradients(with_lse, tensors, chosen, dtype=torch.float32)
    with permuted_programs(seed=3):
        second = outputs_and_gradients(with_lse, tensors, chosen, dtype=torch.float32)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_seeded_dropout_drops_the_weights_that_the_reference_drops() -> None:
    query, key, _ = (x.float() for x in triple(queries=40, keys=64))
    identity = torch.eye(64).expand(2, 2, 64, 64)
    kept = [
        attention(query, key, identity, dropout=0.4, seed=2**40 + 7, backend=backend) != 0
        for backend in ("triton", "reference")
    ]
    assert torch.equal(*kept)
    assert 0.55 < kept[0].float().mean() < 0.65


def test_draws_are_those_of_the_reference_at_places_beyond_32_bits() -> None:
    from attention_draws import draws_kernel

    from headway.core.ops.draws import kept_positions

    line, keys = 2**37 + 11, 12345
    out = torch.empty(16, 16, dtype=torch.int32)
    seed = torch.tensor(99)
    draws_kernel[(1,)](out, seed, 2**31 - 1, line, keys, BLOCK=16)
    numbers = (line + torch.arange(16)[:, None]) * keys + torch.arange(16)
    assert torch.equal(out.bool(), kept_positions(numbers, 99, 0.5))


def test_dropout_without_a_seed_follows_the_generator_of_torch() -> None:
    tensors = [x.float() for x in triple(queries=20, keys=20)]
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(attention(*tensors, dropout=0.5, backend="triton"))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_an_index_outside_the_table_shows_as_nan_and_reads_nothing_else() -> None:
    query, key, value = (x.float() for x in triple(queries=9, keys=9))
    index = relative(9, 9, reach=2)
    index[4, 3] = 5
    out = attention(query, key, value, table=normal(5, 2).float(), index=index, backend="triton")
    assert out[:, :, 4].isnan().all()
    assert out[:, :, :4].isfinite().all()


def test_views_of_one_packed_projection_give_the_same_and_gradients_of_any_stride() -> None:
    packed = normal(2, 70, 3, 2, 16).float()
    views = list(packed.permute(2, 0, 3, 1, 4).unbind(0))
    dense = [x.contiguous() for x in views]
    assert torch.equal(attention(*views, backend="triton"), attention(*dense, backend="triton"))
    columns = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in views]
    assert columns[0].stride(3) != 1
    assert torch.equal(attention(*columns, backend="triton"), attention(*dense, backend="triton"))


def test_heads_of_the_output_merge_without_a_copy() -> None:
    out = attention(*(x.float() for x in triple()), backend="triton")
    assert out.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_empty_inputs_give_zeros_and_zero_gradients(batch: int, queries: int, keys: int) -> None:
    tensors = triple(batch=batch, queries=queries, keys=keys)
    options: Options = {"bias": normal(2, queries, keys), "backend": "triton"}
    found = outputs_and_gradients(attention, tensors, options, dtype=torch.float32)
    assert found["output"].shape == (batch, 2, queries, 16)
    assert all((tensor == 0).all() for tensor in found.values())


@pytest.mark.parametrize("sizes", [(64, 32), (32, 64), (64, 16), (16, 32)])
def test_distances_are_shifted_right_in_tiles_that_are_not_square(
    sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from headway.core.ops.kernels import tiles

    monkeypatch.setattr(tiles, "_INTERPRETED", tiles.Tile(*sizes, 4, 1))
    tensors = triple(1, heads=1, kv_heads=1, queries=70, keys=50)
    options: Options = {
        "relative_query": normal(1, 1, 70, 16),
        "distance_key": normal(1, 119, 16, seed=9),
        "window": (30, 60),
    }
    wanted = outputs_and_gradients(with_lse, tensors, options | {"backend": "reference"})
    found = outputs_and_gradients(
        with_lse, tensors, options | {"backend": "triton"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 2e-5 * (1.0 + exact.abs().max()), f"{name}: {error}"


class Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The size in bytes of the largest tensor that an operation of PyTorch gives back."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, Tensor):
                self.bytes = max(self.bytes, x.nbytes)
        return out


def test_distances_and_their_gradients_make_nothing_of_the_size_of_the_scores() -> None:
    from headway.core.ops.attention.request import Request
    from headway.core.ops.attention.results import Wanted
    from headway.core.ops.attention.triton import launch

    tokens = 320
    query, key, value = (x.float() for x in triple(1, queries=tokens, keys=tokens))
    rows, columns = normal(1, 2, tokens, 16).float(), normal(2, 2 * tokens - 1, 16).float()
    request = Request(
        query=query, key=key, value=value, scale=0.25, relative_query=rows, distance_key=columns
    )
    wanted = Wanted(relative=True, distances=True)
    with Largest() as ours:
        out, lse = launch.forward(request)
        launch.backward(request, torch.ones_like(out), None, out, lse, wanted)
    # Not a byte for each pair of one head; the partial sums of the distances are the largest.
    assert columns.nbytes <= ours.bytes < tokens * tokens
    with Largest() as theirs:
        attention(query, key, value, relative_query=rows, distance_key=columns, backend="reference")
    assert theirs.bytes >= 2 * tokens * tokens * 4


def test_the_interpreter_is_for_tests_and_never_chosen_by_itself() -> None:
    query, key, value = (x.float() for x in triple())
    bias = normal(2, 70, 70).float().requires_grad_()
    chosen = explain_dispatch(query, key, value, bias=bias)
    assert chosen.backend == "sdpa"
    assert "triton" not in dict(chosen.refusals)
