"""The backends of the CPU against the reference in float64: outputs and every gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headway.core.ops import attention, native
from headway.core.ops.attention.native.launch import SOURCE
from headway.core.testing.gradients import outputs_and_gradients

needs_compiler = pytest.mark.skipif(
    native.reason_against(SOURCE) is not None, reason="no C++ compiler here"
)
SHAPES = {
    "B2-H4-T5-S5-D8": (2, 4, 4, 5, 5, 8),
    "B2-H4-G2-T3-S7-D8": (2, 4, 2, 3, 7, 8),
    "B1-H6-G6-T7-S3-D16": (1, 6, 1, 7, 3, 16),
    "B3-H2-T17-S33-D5": (3, 2, 2, 17, 33, 5),
}
Shape = tuple[int, int, int, int, int, int]


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def some(*shape: int) -> Tensor:
    return normal(*shape, seed=11) > -0.3


def lengths_of(shape: Shape) -> Tensor:
    batch, *_, keys, _ = shape
    return torch.tensor([keys - 1, 0, keys])[:batch]


def bias(pattern: str) -> Callable[[Shape], dict[str, object]]:
    def build(shape: Shape) -> dict[str, object]:
        batch, heads, _, queries, keys, _ = shape
        sizes = {"B": batch, "H": heads, "T": queries, "S": keys, "1": 1}
        return {"bias": normal(*(sizes[letter] for letter in pattern))}

    return build


def transposed_bias(shape: Shape) -> dict[str, object]:
    batch, heads, _, queries, keys, _ = shape
    return {"bias": normal(keys, batch, queries, heads).permute(1, 3, 2, 0)}


def strided_bias(shape: Shape) -> dict[str, object]:
    _, heads, _, queries, keys, _ = shape
    return {"bias": normal(heads, queries, 2 * keys + 1)[:, :, 1::2]}


def expanded_bias(shape: Shape) -> dict[str, object]:
    batch, heads, _, queries, keys, _ = shape
    return {"bias": normal(1, heads, queries, 1).expand(batch, -1, -1, keys)}


OPTIONS: dict[str, Callable[[Shape], dict[str, object]]] = {
    "plain": lambda s: {},
    "causal": lambda s: {"causal": True},
    "bottom-right": lambda s: {"causal": "bottom-right"},
    "top-left": lambda s: {"causal": "top-left"},
    "lengths": lambda s: {"lengths": lengths_of(s)},
    "lengths-causal": lambda s: {"lengths": lengths_of(s), "causal": True},
    "mask-BHTS": lambda s: {"mask": some(s[0], s[1], s[3], s[4])},
    "mask-B1TS": lambda s: {"mask": some(s[0], 1, s[3], s[4])},
    "mask-B11S": lambda s: {"mask": some(s[0], 1, 1, s[4])},
    "mask-11T1": lambda s: {"mask": some(1, 1, s[3], 1)},
    "mask-S": lambda s: {"mask": some(s[4])},
    **{f"bias-{p}": bias(p) for p in ("BHTS", "1HTS", "B1TS", "11TS", "BH1S", "BHT1", "1H11")},
    **{f"bias-{p}": bias(p) for p in ("HTS", "TS", "T1", "S", "1")},
    "bias-transposed": transposed_bias,
    "bias-strided": strided_bias,
    "bias-expanded": expanded_bias,
    "bias-mask-causal": lambda s: {
        "bias": normal(s[1], s[3], s[4]),
        "mask": some(s[0], 1, s[3], s[4]),
        "causal": True,
    },
    "bias-lengths": lambda s: {"bias": normal(s[1], s[3], s[4]), "lengths": lengths_of(s)},
    "scale": lambda s: {"scale": 0.2},
    "scale-per-head": lambda s: {"scale": normal(s[1])},
    "alibi": lambda s: {"alibi_slopes": normal(s[1]).abs()},
    "alibi-top-left": lambda s: {"alibi_slopes": normal(s[1]).abs(), "causal": "top-left"},
    "table": lambda s: {
        "table": normal(9, s[1]),
        "index": (normal(s[3], s[4]).abs() * 4).long().clamp(max=8),
    },
    "table-per-item": lambda s: {
        "table": normal(9, s[1]),
        "index": (normal(s[0], s[3], s[4]).abs() * 4).int().clamp(max=8),
        "causal": True,
    },
    "window": lambda s: {"window": 1},
    "window-left": lambda s: {"window": (2, 0)},
    "window-open": lambda s: {"window": (1, None), "causal": "top-left"},
    "all": lambda s: {
        "bias": normal(1, s[1], s[3], 1),
        "mask": some(s[0], 1, 1, s[4]),
        "lengths": lengths_of(s),
        "causal": True,
        "window": (4, None),
        "scale": normal(s[1]),
        "alibi_slopes": normal(s[1]).abs(),
        "table": normal(3, s[1]),
        "index": torch.zeros(s[3], s[4], dtype=torch.long),
    },
}


def inputs(shape: Shape) -> list[Tensor]:
    batch, heads, kv_heads, queries, keys, width = shape
    return [
        normal(batch, heads, queries, width, seed=1),
        normal(batch, kv_heads, keys, width, seed=2),
        normal(batch, kv_heads, keys, width, seed=3),
    ]


def compare(
    shape: Shape, options: dict[str, object], backend: str, dtype: torch.dtype, tolerance: float
) -> None:
    tensors = inputs(shape)
    wanted = outputs_and_gradients(attention, tensors, options | {"backend": "reference"})
    found = outputs_and_gradients(attention, tensors, options | {"backend": backend}, dtype=dtype)
    assert found.keys() == wanted.keys()
    for name, exact in wanted.items():
        error = (found[name].double() - exact).abs().max()
        assert error <= tolerance * (1.0 + exact.abs().max()), f"{name}: {error}"


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    ("backend", "dtype", "tolerance"),
    [
        ("sdpa", torch.float64, 1e-12),
        ("sdpa", torch.float32, 5e-6),
        pytest.param("native", torch.float32, 5e-6, marks=needs_compiler),
    ],
)
def test_backend_equals_reference_in_outputs_and_all_gradients(
    shape: Shape,
    options: Callable[[Shape], dict[str, object]],
    backend: str,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    compare(shape, options(shape), backend, dtype, tolerance)


@pytest.mark.parametrize(
    ("backend", "dtype"),
    [
        ("sdpa", torch.float16),
        ("sdpa", torch.bfloat16),
        pytest.param("native", torch.bfloat16, marks=needs_compiler),
    ],
)
@pytest.mark.parametrize("option", ["plain", "causal", "lengths", "bias-HTS", "all"])
def test_half_precision_errs_no_more_than_twice_plain_code(
    option: str, backend: str, dtype: torch.dtype
) -> None:
    shape = SHAPES["B3-H2-T17-S33-D5"]
    tensors = [x.to(dtype).double() for x in inputs(shape)]
    options = {
        name: x.to(dtype).double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in OPTIONS[option](shape).items()
    }
    exact = outputs_and_gradients(attention, tensors, options | {"backend": "reference"})
    found = outputs_and_gradients(attention, tensors, options | {"backend": backend}, dtype=dtype)
    unit = torch.finfo(dtype).eps
    for name, wanted in exact.items():
        error = (found[name].double() - wanted).abs().max()
        assert error <= 2 * unit * (1.0 + wanted.abs().max()), f"{name}: {error}"


@pytest.mark.parametrize(
    "options", [{}, {"causal": True}, {"lengths": torch.tensor([3, 5])}], ids=str
)
def test_views_of_one_packed_projection_give_the_same(options: dict[str, object]) -> None:
    packed = normal(2, 5, 3, 4, 8)
    views = list(packed.permute(2, 0, 3, 1, 4).unbind(0))
    dense = [x.contiguous() for x in views]
    assert not views[0].is_contiguous()
    torch.testing.assert_close(attention(*views, **options), attention(*dense, **options))
