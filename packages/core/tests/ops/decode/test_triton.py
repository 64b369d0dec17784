"""The Triton kernels, in the interpreter, against the reference in float64.

Run in a process of its own: TRITON_INTERPRET=1 pytest -m interpret.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from headway.core.ops import decode_attention
from headway.core.ops.decode import operator
from headway.core.testing.memory import nan_filled_memory

pytestmark = pytest.mark.interpret


@pytest.fixture(autouse=True, scope="module")
def interpreter() -> Iterator[None]:
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def inputs(
    heads: int = 4,
    kv_heads: int = 2,
    tokens: int = 1,
    keys: int = 70,
    width: int = 16,
    values: int = 16,
) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(keys + tokens)
    shapes = [(3, heads, tokens, width), (3, kv_heads, keys, width), (3, kv_heads, keys, values)]
    lengths = torch.tensor([keys - tokens + 1, 0, keys // 2])
    made = [torch.randn(x, generator=generator, dtype=torch.float64) for x in shapes]
    behind = (torch.arange(keys) >= (lengths + tokens - 1)[:, None])[:, None, :, None]
    return [made[0], *(x.masked_fill(behind, torch.nan) for x in made[1:])], lengths


SIZES = {
    "one": {},
    "one-key": {"keys": 1},
    "splits": {"keys": 600},
    "many-queries": {"heads": 8, "kv_heads": 1, "tokens": 5},
    "width-24-values-40": {"width": 24, "values": 40},
    "width-128": {"width": 128, "values": 128},
}


@pytest.mark.parametrize("window", [None, 5, 300])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_float32_equals_the_reference(sizes: dict[str, int], window: int | None) -> None:
    made, lengths = inputs(**sizes)
    wanted = decode_attention(*made, lengths, window=window, backend="reference")
    found = decode_attention(*(x.float() for x in made), lengths, window=window, backend="triton")
    assert (found.double() - wanted).abs().max() <= 2e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_good_as_eager_code(dtype: torch.dtype) -> None:
    made, _ = inputs(keys=300, width=32, values=32)
    lengths = torch.full((3,), 130)
    halves = [x.to(dtype) for x in made]
    exact = decode_attention(*(x.double() for x in halves), lengths, backend="reference")
    found = decode_attention(*halves, lengths, backend="triton")
    halves = [x[:, :, :130] if n else x for n, x in enumerate(halves)]
    keys, values = (x.nan_to_num().repeat_interleave(2, dim=1) for x in halves[1:])
    seen = torch.arange(130) < lengths[:, None]
    scores = (halves[0] @ keys.mT * 32**-0.5).masked_fill(~seen[:, None, None], -torch.inf)
    eager = scores.softmax(dim=-1) @ values
    rows = torch.tensor([0])  # where no NaN was put before the length
    slack = 4 if dtype == torch.bfloat16 else 2
    bound = slack * (eager[rows].double() - exact[rows]).abs().max()
    assert (found[rows].double() - exact[rows]).abs().max() <= bound


def test_any_order_of_programs_and_a_second_run_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    made, lengths = inputs(keys=600)
    made = [x.float() for x in made]
    first = decode_attention(*made, lengths, backend="triton")
    with permuted_programs(5):
        assert torch.equal(decode_attention(*made, lengths, backend="triton"), first)
    assert torch.equal(decode_attention(*made, lengths, backend="triton"), first)


def test_views_of_any_stride_give_the_same() -> None:
    made, lengths = inputs()
    made = [x.float() for x in made]
    wanted = decode_attention(*made, lengths, backend="triton")
    views = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in made]
    columns = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in made]
    for other in (views, columns):
        assert torch.equal(decode_attention(*other, lengths, backend="triton"), wanted)


def test_the_operator_passes_the_checks_of_torch_library() -> None:
    made, lengths = inputs(tokens=2)
    leaves = [x.float().nan_to_num().requires_grad_() for x in made]
    torch.library.opcheck(operator.decode_attention, (*leaves, lengths, 9, 0.2, "triton"))
