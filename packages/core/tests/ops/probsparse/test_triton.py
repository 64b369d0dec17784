"""The Triton kernel, in the interpreter, against the reference in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops.probsparse import blocked, probsparse_attention
from headway.core.ops.probsparse.operator import probsparse_measure
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def inputs(
    queries: int, keys: int, sampled: int, width: int, masked: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    generator = torch.Generator().manual_seed(queries + width)
    query = torch.randn(2, 2, queries, width, generator=generator, dtype=torch.float64)
    key = torch.randn(2, 2, keys, width, generator=generator, dtype=torch.float64)
    sample = torch.randint(keys, (2, sampled), generator=generator)
    mask = torch.arange(sampled) < torch.tensor([[sampled], [1]]) if masked else None
    return query, key, sample, mask, torch.tensor([keys, 3])


SIZES = {
    "one": (1, 1, 1, 16),
    "tails": (70, 90, 35, 24),
    "two-blocks-of-keys": (33, 300, 100, 16),
    "width-128": (66, 40, 20, 128),
}


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_float32_equals_the_reference(sizes: tuple[int, int, int, int], masked: bool) -> None:
    query, key, *rest = inputs(*sizes, masked)
    exact = blocked.measure(query, key, *rest)
    found = probsparse_measure(query.float(), key.float(), *rest, "triton")
    assert (found.double() - exact).abs().max() <= 2e-5 * (1 + exact.abs().max())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_good_as_eager_code(dtype: torch.dtype) -> None:
    query, key, sample, mask, counts = inputs(70, 90, 35, 32, False)
    query, key = query.to(dtype), key.to(dtype)
    exact = blocked.measure(query.double(), key.double(), sample, mask, counts)
    found = probsparse_measure(query, key, sample, mask, counts, "triton")
    picked = key.gather(2, sample[:, None, :, None].expand(-1, 2, -1, 32))
    scores = query @ picked.mT
    eager = scores.amax(-1) - scores.sum(-1) / counts[:, None, None]
    assert (found.double() - exact).abs().max() <= 2 * (eager.double() - exact).abs().max()


def test_the_same_queries_attend_and_any_order_of_programs_gives_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    query, key, sample, mask, _ = inputs(130, 130, 20, 16, False)

    def run(backend: str) -> list[Tensor]:
        made = [x.float().requires_grad_() for x in (query, key, key)]
        out = probsparse_attention(
            *made, sample=sample, sample_mask=mask, factor=2.0, causal=True, backend=backend
        )
        return [out.detach(), *torch.autograd.grad(out.sin().sum(), made)]

    first = run("triton")
    with permuted_programs(1):
        permuted = run("triton")
    for one, other, plain in zip(first, permuted, run("reference"), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, plain, atol=2e-5, rtol=2e-5)


def test_views_of_any_stride_give_the_same() -> None:
    query, key, sample, mask, counts = inputs(70, 90, 35, 16, True)
    wanted = probsparse_measure(query.float(), key.float(), sample, mask, counts, "triton")
    columns = [x.float().transpose(2, 3).contiguous().transpose(2, 3) for x in (query, key)]
    assert torch.equal(probsparse_measure(*columns, sample, mask, counts, "triton"), wanted)


def test_the_operator_passes_the_checks_of_torch_library() -> None:
    query, key, *rest = inputs(9, 9, 4, 16, True)
    torch.library.opcheck(probsparse_measure, (query.float(), key.float(), *rest, "triton"))
