"""The Triton kernels, in the interpreter, against the reference in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from headway.core.ops import attention, attention_with_lse, explain_dispatch
from headway.core.testing.gradients import outputs_and_gradients
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret
Options = dict[str, object]


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products

    # Whatever a kernel leaves unwritten is NaN and fails every comparison.
    with bfloat16_products(), nan_filled_memory():
        yield


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def triple(
    batch: int = 2,
    heads: int = 2,
    kv_heads: int = 2,
    queries: int = 70,
    keys: int = 70,
    width: int = 16,
) -> list[Tensor]:
    return [
        normal(batch, heads, queries, width, seed=1),
        normal(batch, kv_heads, keys, width, seed=2),
        normal(batch, kv_heads, keys, width, seed=3),
    ]


def wide(tensors: list[Tensor], options: Options) -> tuple[list[Tensor], Options]:
    cast = {
        name: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in options.items()
    }
    return [x.double() for x in tensors], cast


def with_lse(*tensors: Tensor, **options: object) -> Tensor:
    """Output and log-sum-exp as one tensor, so that both are compared and differentiated."""
    out, lse = attention_with_lse(*tensors, **options)  # pyright: ignore
    return torch.cat([out, lse.to(out.dtype).nan_to_num(neginf=-100.0)[..., None]], dim=-1)


# Odd sizes; where there are more than 64 queries or keys, blocks of 64 leave a tail.
CASES: dict[str, tuple[dict[str, int], Callable[[], Options]]] = {
    "plain": ({}, dict),
    "one-block": ({"queries": 49, "keys": 49, "width": 32}, dict),
    "width-24": ({"width": 24, "queries": 17}, dict),
    "width-40": ({"width": 40, "keys": 33}, dict),
    "width-80": ({"width": 80, "queries": 20, "keys": 20}, dict),
    "width-128": ({"width": 128, "queries": 20, "keys": 70}, dict),
    "one-query": ({"queries": 1, "keys": 130}, lambda: {"causal": True}),
    "one-key": ({"queries": 66, "keys": 1}, dict),
    "scale": ({"queries": 33}, lambda: {"scale": 0.7}),
    "causal": ({}, lambda: {"causal": True}),
    "causal-more-keys": ({"queries": 40, "keys": 131}, lambda: {"causal": True}),
    "causal-more-queries": ({"queries": 131, "keys": 40}, lambda: {"causal": True}),
    "top-left": ({"queries": 40, "keys": 131}, lambda: {"causal": "top-left"}),
    "top-left-more-queries": ({"queries": 131, "keys": 40}, lambda: {"causal": "top-left"}),
    "lengths": ({}, lambda: {"lengths": torch.tensor([65, 0])}),
    "lengths-int32": ({}, lambda: {"lengths": torch.tensor([70, 3], dtype=torch.int32)}),
    "lengths-causal": ({}, lambda: {"lengths": torch.tensor([33, 66]), "causal": True}),
    "grouped": ({"heads": 4, "kv_heads": 2}, dict),
    "multi-query": ({"heads": 3, "kv_heads": 1}, lambda: {"bias": normal(3, 70, 70)}),
    "bias-BHTS": ({}, lambda: {"bias": normal(2, 2, 70, 70)}),
    "bias-1HTS": ({}, lambda: {"bias": normal(1, 2, 70, 70)}),
    "bias-B1TS": ({}, lambda: {"bias": normal(2, 1, 70, 70)}),
    "bias-TS": ({}, lambda: {"bias": normal(70, 70)}),
    "bias-BH1S": ({}, lambda: {"bias": normal(2, 2, 1, 70)}),
    "bias-1H1S": ({}, lambda: {"bias": normal(2, 1, 70)}),
    "bias-S": ({}, lambda: {"bias": normal(70)}),
    "bias-BHT1": ({}, lambda: {"bias": normal(2, 2, 70, 1)}),
    "bias-T1": ({}, lambda: {"bias": normal(70, 1)}),
    "bias-1H11": ({}, lambda: {"bias": normal(2, 1, 1)}),
    "bias-1": ({"batch": 1}, lambda: {"bias": normal(1)}),
    "bias-transposed": ({}, lambda: {"bias": normal(70, 2, 70, 2).permute(1, 3, 2, 0)}),
    "bias-strided": ({}, lambda: {"bias": normal(2, 70, 141)[:, :, 1::2]}),
    "bias-expanded": ({}, lambda: {"bias": normal(1, 2, 70, 1).expand(2, -1, -1, 70)}),
    "bias-many-windows": (
        {"batch": 9, "queries": 16, "keys": 16},
        lambda: {"bias": normal(2, 16, 16)},
    ),
    "bias-hides-a-row": (
        {"queries": 66},
        lambda: {
            "bias": normal(66, 70).masked_fill(torch.arange(66)[:, None] % 5 == 0, -torch.inf)
        },
    ),
    "all": (
        {"heads": 4, "queries": 66, "keys": 71, "width": 24},
        lambda: {
            "bias": normal(4, 66, 71),
            "lengths": torch.tensor([69, 30]),
            "causal": True,
            "scale": 0.3,
        },
    ),
}


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
) -> Tensor:
    """What one writes by hand, every step in the dtype of the inputs."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).tril() == 0, -torch.inf)
    return torch.softmax(scores, dim=-1) @ value


HALF = {
    "plain": {},
    "causal": {"causal": True},
    "bias-BHTS": {"bias": normal(2, 2, 70, 70)},
    "bias-HTS": {"bias": normal(2, 70, 70)},
    "bias-S-causal": {"bias": normal(70), "causal": True},
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
    chosen = {n: x.to(dtype).double() if isinstance(x, Tensor) else x for n, x in options.items()}
    exact = outputs_and_gradients(attention, tensors, chosen | {"backend": "reference"})
    plain = outputs_and_gradients(eager, tensors, chosen, dtype=dtype)
    found = outputs_and_gradients(attention, tensors, chosen | {"backend": "triton"}, dtype=dtype)
    for name, wanted in exact.items():
        assert found[name].dtype == dtype
        error = (found[name].double() - wanted).abs().max()
        bound = (plain[name].double() - wanted).abs().max()
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


def test_a_second_run_gives_the_same_bits() -> None:
    tensors, options = triple(batch=3), {"bias": normal(2, 70, 70), "backend": "triton"}
    first = outputs_and_gradients(with_lse, tensors, options, dtype=torch.float32)
    second = outputs_and_gradients(with_lse, tensors, options, dtype=torch.float32)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


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


@pytest.mark.parametrize(
    "options", [{}, {"causal": True}, {"lengths": torch.tensor([5, 0])}], ids=str
)
@pytest.mark.parametrize("biased", [False, True], ids=["no-bias", "bias"])
def test_second_derivatives_are_those_of_the_reference(options: Options, biased: bool) -> None:
    def twice(*leaves: Tensor, backend: str, bias: Tensor | None = None) -> Tensor:
        out, lse = attention_with_lse(*leaves, bias=bias, **options, backend=backend)  # pyright: ignore
        lse = lse.masked_fill(lse == -torch.inf, 0.0)
        inputs = [*leaves, *([bias] if bias is not None else [])]
        first = torch.autograd.grad(
            out.square().sum() + lse.square().sum(), inputs, create_graph=True
        )
        return torch.cat([grad.square().flatten() for grad in first])

    tensors = triple(queries=9, keys=9)
    chosen: Options = {"bias": normal(2, 9, 9)} if biased else {}
    wanted = outputs_and_gradients(twice, tensors, chosen | {"backend": "reference"})
    found = outputs_and_gradients(
        twice, tensors, chosen | {"backend": "triton"}, dtype=torch.float32
    )
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= 1e-4 * (1.0 + exact.abs().max()), f"{name}: {error}"


@pytest.mark.parametrize(
    ("bias", "lengths", "causal"),
    [
        (None, None, "none"),
        (normal(2, 9, 9).float(), None, "bottom-right"),
        (normal(9).float(), torch.tensor([3, 9]), "top-left"),
    ],
    ids=["plain", "bias", "lengths"],
)
def test_the_operators_pass_the_checks_of_torch_library(
    bias: Tensor | None, lengths: Tensor | None, causal: str
) -> None:
    from headway.core.ops.attention.operator import attention_backward, attention_forward

    query, key, value = (x.float().requires_grad_() for x in triple(queries=9, keys=9))
    if bias is not None:
        bias = bias.requires_grad_()
    torch.library.opcheck(attention_forward, (query, key, value, bias, lengths, 0.25, causal))
    with torch.no_grad():
        out, lse = attention_forward(query, key, value, bias, lengths, 0.25, causal)
    grad_out, grad_lse = torch.ones_like(out), torch.ones_like(lse)
    arguments = (grad_out, grad_lse, query, key, value, bias, lengths, out, lse, 0.25, causal)
    torch.library.opcheck(
        attention_backward,
        (*arguments, bias is not None),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


def test_it_compiles_in_one_graph_that_keeps_the_operator() -> None:
    torch.compiler.reset()
    compiled = torch.compile(with_lse, fullgraph=True, backend="aot_eager", dynamic=True)
    options: Options = {"bias": normal(2, 20, 20).float(), "causal": True, "backend": "triton"}
    tensors = [x.float() for x in triple(queries=20, keys=20)]
    wanted = outputs_and_gradients(with_lse, tensors, options)
    found = outputs_and_gradients(compiled, tensors, options)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor)


class Call(nn.Module):
    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query, key, value, causal=True, backend="triton")


def test_it_exports_with_a_free_batch_and_keeps_the_operator() -> None:
    batch = torch.export.Dim("batch")
    example = tuple(x.float() for x in triple(queries=20, keys=20))
    program = torch.export.export(Call(), example, dynamic_shapes=({0: batch},) * 3)
    names = [str(node.target) for node in program.graph.nodes]
    assert "headway.attention_forward.default" in names
    more = [x.float() for x in triple(batch=5, queries=20, keys=20)]
    torch.testing.assert_close(program.module()(*more), Call()(*more))


@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_empty_inputs_give_zeros_and_zero_gradients(batch: int, queries: int, keys: int) -> None:
    tensors = triple(batch=batch, queries=queries, keys=keys)
    options: Options = {"bias": normal(2, queries, keys), "backend": "triton"}
    found = outputs_and_gradients(attention, tensors, options, dtype=torch.float32)
    assert found["output"].shape == (batch, 2, queries, 16)
    assert all((tensor == 0).all() for tensor in found.values())


def test_the_interpreter_is_for_tests_and_never_chosen_by_itself() -> None:
    query, key, value = (x.float() for x in triple())
    bias = normal(2, 70, 70).float().requires_grad_()
    chosen = explain_dispatch(query, key, value, bias=bias)
    assert chosen.backend == "sdpa"
    assert "triton" not in dict(chosen.refusals)
