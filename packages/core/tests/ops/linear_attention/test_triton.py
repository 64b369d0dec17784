"""The Triton kernels, in the interpreter, against the reference in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import linear_attention
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def tensors(
    tokens: int,
    *,
    width: int = 16,
    values: int = 16,
    decay: bool = False,
    normalize: bool = True,
    batch: int = 2,
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens + width)

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    made = [
        rand(batch, 2, tokens, width),
        rand(batch, 2, tokens, width),
        rand(batch, 2, tokens, values) - 0.5,
        rand(batch, 2, width, values + normalize),
    ]
    if decay:
        made.append(-6 * rand(batch, 2, tokens, 1) ** 4)
    return made


def run(
    made: list[Tensor], normalize: bool, backend: str, dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Output, state and all gradients."""
    leaves = [
        x if dtype is None else x.to(dtype if n < 3 else torch.float32) for n, x in enumerate(made)
    ]
    leaves = [x.detach().requires_grad_() for x in leaves]
    found = linear_attention(
        *leaves[:3],
        causal=True,
        state=leaves[3],
        log_decay=leaves[4] if len(leaves) > 4 else None,
        normalize=normalize,
        backend=backend,
    )
    generator = torch.Generator().manual_seed(0)
    grads = [
        torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype) for x in found
    ]
    return [*(x.detach() for x in found), *torch.autograd.grad(found, leaves, grads)]


CASES = {
    "one-token": {"tokens": 1},
    "one-chunk": {"tokens": 64},
    "tail": {"tokens": 70},
    "three-chunks": {"tokens": 131},
    "width-24-values-40": {"tokens": 70, "width": 24, "values": 40},
    "width-5": {"tokens": 20, "width": 5, "values": 3},
    "values-in-two-blocks": {"tokens": 70, "width": 32, "values": 100},
    "width-128": {"tokens": 66, "width": 128, "values": 128},
}


@pytest.mark.parametrize("normalize", [True, False], ids=["average", "sum"])
@pytest.mark.parametrize("decay", [False, True], ids=["constant", "decay"])
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES)
def test_float32_equals_the_reference_in_outputs_and_all_gradients(
    sizes: dict[str, int], decay: bool, normalize: bool
) -> None:
    made = tensors(**sizes, decay=decay, normalize=normalize)
    wanted = run(made, normalize, "reference")
    for one, exact in zip(run(made, normalize, "triton", torch.float32), wanted, strict=True):
        error = (one.double() - exact).abs().max()
        assert error <= 2e-5 * (1.0 + exact.abs().max()), error


def eager(made: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """What one writes by hand, every step in the dtype of the inputs."""
    query, key, value, state = (x.to(dtype).requires_grad_() for x in made[:4])
    weights = (query @ key.mT).tril()
    total = weights.sum(-1, keepdim=True) + query @ state[..., -1:]
    out = (weights @ value + query @ state[..., :-1]) / total
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(dtype)
    return [out.detach(), *torch.autograd.grad(out, (query, key, value), grad)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_good_as_eager_code(dtype: torch.dtype) -> None:
    made = [x.to(dtype).double() for x in tensors(100, width=32, values=32)]
    leaves = [x.detach().requires_grad_() for x in made]
    exact = eager(leaves, torch.float64)
    plain = eager(leaves, dtype)
    query, key, value = (x.to(dtype).requires_grad_() for x in made[:3])
    out, _ = linear_attention(
        query, key, value, causal=True, state=made[3].float(), backend="triton"
    )
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(dtype)
    found = [out.detach(), *torch.autograd.grad(out, (query, key, value), grad)]
    # The interpreter cuts bfloat16 off instead of rounding it.
    slack = 2 if dtype == torch.bfloat16 else 1
    for number, (one, other, truth) in enumerate(zip(found, plain, exact, strict=True)):
        bound = slack * (2 if number == 0 else 3) * (other.double() - truth).abs().max()
        assert (one.double() - truth).abs().max() <= bound


def test_float16_holds_sums_beyond_its_range() -> None:
    query = torch.full((1, 1, 130, 16), 30.0, dtype=torch.float16)
    out, state = linear_attention(query, query, query, causal=True, backend="triton")
    assert state.max() > 100_000
    torch.testing.assert_close(out, query)


@pytest.mark.parametrize("normalize", [True, False], ids=["average", "sum"])
def test_neither_the_order_of_programs_nor_a_second_run_changes_a_bit(normalize: bool) -> None:
    from headway.core.testing.interpreter import permuted_programs

    made = tensors(131, decay=True, normalize=normalize)
    first = run(made, normalize, "triton", torch.float32)
    with permuted_programs(3):
        permuted = run(made, normalize, "triton", torch.float32)
    second = run(made, normalize, "triton", torch.float32)
    for one, other, third in zip(first, permuted, second, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_views_of_one_packed_projection_give_the_same() -> None:
    packed = torch.rand(2, 70, 3, 2, 16)
    views = list(packed.permute(2, 0, 3, 1, 4).unbind(0))
    dense = [x.contiguous() for x in views]
    columns = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in views]
    wanted, _ = linear_attention(*dense, causal=True, backend="triton")
    for other in (views, columns):
        assert torch.equal(linear_attention(*other, causal=True, backend="triton")[0], wanted)
    assert wanted.transpose(1, 2).is_contiguous()


def test_rows_without_weights_are_zero_with_finite_gradients() -> None:
    query, key, value = (x.float().requires_grad_() for x in tensors(70)[:3])
    mask = torch.ones(2, 70, dtype=torch.bool)
    mask[0] = False
    out, _ = linear_attention(query, key, value, causal=True, mask=mask, backend="triton")
    assert bool((out[0] == 0).all())
    grads = torch.autograd.grad(out.sum(), (query, key, value))
    assert all(bool((grad[0] == 0).all()) and bool(grad.isfinite().all()) for grad in grads)


def test_second_derivatives_are_those_of_the_reference() -> None:
    def twice(backend: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_() for x in tensors(9, decay=True)]
        found = linear_attention(
            *leaves[:3], causal=True, state=leaves[3], log_decay=leaves[4], backend=backend
        )
        first = torch.autograd.grad(sum(x.square().sum() for x in found), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(x.square().sum() for x in first), leaves))

    for one, exact in zip(
        twice("triton", torch.float32), twice("reference", torch.float64), strict=True
    ):
        assert (one.double() - exact).abs().max() <= 1e-4 * (1.0 + exact.abs().max())


def test_the_operators_pass_the_checks_of_torch_library() -> None:
    from headway.core.ops.linear_attention.operator import (
        linear_attention_backward,
        linear_attention_forward,
    )

    for decay in (False, True):
        made = [x.float().requires_grad_() for x in tensors(5, decay=decay)]
        inputs = (*made[:3], made[4] if decay else None, made[3], True, "triton")
        torch.library.opcheck(linear_attention_forward, inputs)
        out, total, last = (x.detach() for x in linear_attention_forward(*inputs))
        torch.library.opcheck(
            linear_attention_backward,
            (torch.ones_like(out), torch.ones_like(last), *inputs[:5], out, total, True, "triton"),
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )


def test_nothing_to_do_is_done() -> None:
    for shape in ((0, 2, 3, 4), (2, 2, 0, 4)):
        query = torch.zeros(shape, requires_grad=True)
        out, state = linear_attention(query, query, query, causal=True, backend="triton")
        assert out.shape == shape
        assert bool((state == 0).all())
        (out.sum() + state.sum()).backward()


def test_a_decay_per_channel_is_refused_with_the_remedy() -> None:
    from headway.core.errors import UserError

    query = torch.rand(1, 1, 4, 3)
    with pytest.raises(UserError, match="per channel is not built; use backend='chunked'"):
        linear_attention(query, query, query, causal=True, log_decay=-query, backend="triton")
