"""The Triton kernels, in the interpreter, against the recurrences in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import associative_scan, selective_scan
from headway.core.ops.scan.operator import selective_scan_backward, selective_scan_forward
from headway.core.ops.scan.recurrence import scan_rows
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def rand(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(3, 1), (5, 130), (70, 64)], ids=str)
def test_the_associative_scan_equals_its_recurrence(shape: tuple[int, int]) -> None:
    exact = [rand(*shape).sigmoid(), rand(*shape, seed=1)]
    found = []
    for dtype, backend in ((torch.float64, "reference"), (torch.float32, "triton")):
        leaves = [x.to(dtype).requires_grad_() for x in exact]
        out = associative_scan(*leaves, backend=backend)
        first = torch.autograd.grad(out.sin().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(x.square().sum() for x in first), leaves)
        found.append([out, *first, *second])
    for one, wanted in zip(found[1], found[0], strict=True):
        assert (one - wanted).abs().max() <= 2e-5 * (1 + wanted.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_in_half_precision_what_is_carried_stays_wide(dtype: torch.dtype) -> None:
    decay, added = rand(4, 130).sigmoid().to(dtype), rand(4, 130, seed=1).to(dtype)
    exact = associative_scan(decay.double(), added.double(), backend="reference")
    found = associative_scan(decay, added, backend="triton")
    eager = associative_scan(decay, added, backend="reference")
    assert (found - exact).abs().max() <= 2 * (eager - exact).abs().max()


def tensors(tokens: int, channels: int, states: int) -> list[Tensor]:
    return [
        rand(2, tokens, channels),
        rand(2, tokens, channels, seed=1).abs(),
        -rand(channels, states).exp(),
        rand(2, tokens, states),
        rand(2, tokens, states, seed=1),
        rand(2, channels, states),
    ]


def run(made: list[Tensor], backend: str, dtype: torch.dtype) -> list[Tensor]:
    leaves = [x.to(dtype).requires_grad_() for x in made]
    found = selective_scan(*leaves[:5], state=leaves[5], backend=backend)
    grads = [rand(*x.shape, seed=3).to(x.dtype) for x in found]
    return [*(x.detach() for x in found), *torch.autograd.grad(found, leaves, grads)]


SIZES = {"one": (1, 1, 1), "tails": (40, 5, 3), "two-blocks": (9, 70, 16), "chunks": (70, 8, 8)}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_selective_scan_equals_its_recurrence_in_outputs_and_all_gradients(
    sizes: tuple[int, int, int],
) -> None:
    made = tensors(*sizes)
    wanted = run(made, "reference", torch.float64)
    for one, exact in zip(run(made, "triton", torch.float32), wanted, strict=True):
        assert (one - exact).abs().max() <= 2e-5 * (1 + exact.abs().max())


def test_any_order_of_programs_and_a_second_run_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    made = tensors(9, 70, 4)
    first = run(made, "triton", torch.float32)
    with permuted_programs(2):
        permuted = run(made, "triton", torch.float32)
    for one, other, third in zip(first, permuted, run(made, "triton", torch.float32), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_rounds_once(dtype: torch.dtype) -> None:
    made = tensors(20, 5, 4)
    u = made[0].to(dtype)
    rest = [x.float() for x in made[1:5]]
    out, state = selective_scan(u, *rest, backend="triton")
    exact, _ = selective_scan(u.double(), *(x.double() for x in rest), backend="reference")
    assert state.dtype == torch.float32
    assert (out - exact).abs().max() <= torch.finfo(dtype).eps * exact.abs().max()


def test_the_operators_pass_the_checks_of_torch_library() -> None:
    leaves = [x.float().requires_grad_() for x in tensors(4, 3, 2)]
    torch.library.opcheck(selective_scan_forward, (*leaves, "triton"))
    grads = (torch.ones_like(leaves[0]), torch.ones_like(leaves[5]))
    torch.library.opcheck(
        selective_scan_backward,
        (*grads, *leaves, "triton"),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    rows = [rand(3, 7).float().requires_grad_() for _ in range(2)]
    torch.library.opcheck(scan_rows, (*rows, True, "triton"))
