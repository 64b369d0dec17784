"""Small calls of attention with every option, for the tests of its kernels and operators."""

from collections.abc import Callable

import torch
from torch import Tensor

from headway.core.ops import attention_with_lse

Options = dict[str, object]


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
    value_width: int = 0,
) -> list[Tensor]:
    return [
        normal(batch, heads, queries, width, seed=1),
        normal(batch, kv_heads, keys, width, seed=2),
        normal(batch, kv_heads, keys, value_width or width, seed=3),
    ]


def some(*shape: int) -> Tensor:
    return normal(*shape, seed=11) > -0.3


def relative(queries: int, keys: int, reach: int = 9) -> Tensor:
    """Entries for clipped distances, numbered from 0."""
    steps = torch.arange(keys) - torch.arange(queries)[:, None]
    return steps.clamp(-reach, reach) + reach


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
    "width-256": ({"width": 256, "queries": 20, "keys": 33}, lambda: {"bias": normal(20, 33)}),
    "value-wider": ({"width": 24, "value_width": 40}, lambda: {"bias": normal(70, 70)}),
    "value-narrower": ({"width": 64, "value_width": 16}, lambda: {"causal": True}),
    "mask-B1TS": ({}, lambda: {"mask": some(2, 1, 70, 70)}),
    "mask-T1": ({}, lambda: {"mask": some(70, 1)}),
    "mask-transposed": ({}, lambda: {"mask": some(70, 2, 70, 2).permute(1, 3, 2, 0)}),
    "mask-strided-bias": (
        {},
        lambda: {"mask": some(2, 70, 141)[:, :, 1::2], "bias": normal(2, 1, 1, 70)},
    ),
    "window": ({"queries": 150, "keys": 140}, lambda: {"window": (20, 5)}),
    "window-causal": (
        {"queries": 66, "keys": 140},
        lambda: {"window": 20, "causal": True, "lengths": torch.tensor([140, 90])},
    ),
    "window-top-left": (
        {"queries": 131, "keys": 70},
        lambda: {"window": (20, None), "causal": "top-left"},
    ),
    "window-right": ({"queries": 40, "keys": 131}, lambda: {"window": (None, 0)}),
    "alibi": ({}, lambda: {"alibi_slopes": normal(2).abs()}),
    "alibi-grouped": (
        {"heads": 4, "queries": 33, "keys": 80},
        lambda: {"alibi_slopes": normal(4).abs(), "causal": True},
    ),
    "alibi-top-left": (
        {"queries": 40},
        lambda: {"alibi_slopes": normal(2).abs(), "causal": "top-left"},
    ),
    "softcap": ({}, lambda: {"softcap": 1.5}),
    "softcap-bias": ({}, lambda: {"softcap": 0.5, "bias": normal(2, 70, 70), "scale": 2.0}),
    "sinks": ({}, lambda: {"sinks": normal(2), "lengths": torch.tensor([0, 40])}),
    "sinks-of-nothing": (
        {},
        lambda: {
            "sinks": torch.tensor([-torch.inf, 0.5]).double(),
            "lengths": torch.tensor([0, 9]),
        },
    ),
    "scale-per-head": ({}, lambda: {"scale": normal(2)}),
    "scale-grouped-softcap": (
        {"heads": 4, "queries": 33, "keys": 20},
        lambda: {"scale": normal(4), "softcap": 2.0},
    ),
    "table": ({"batch": 1}, lambda: {"table": normal(9, 2), "index": relative(70, 70, reach=4)}),
    "table-per-item": (
        {"queries": 33},
        lambda: {
            "table": normal(2, 9).T,
            "index": torch.stack([relative(70, 33, 4).T, relative(33, 70, 4)]).int(),
            "causal": True,
        },
    ),
    "table-many-windows": (
        {"batch": 5, "queries": 16, "keys": 16},
        lambda: {
            "table": normal(5, 2),
            "index": relative(16, 16, reach=2),
            "mask": some(5, 1, 16, 16),
        },
    ),
    "dropout": ({}, lambda: {"dropout": 0.3, "seed": 5}),
    "dropout-bias": (
        {"heads": 4, "queries": 33},
        lambda: {"dropout": 0.7, "seed": -5, "causal": True, "bias": normal(33, 70)},
    ),
    "packed": (
        {"batch": 1, "queries": 90, "keys": 90},
        lambda: {"offsets": torch.tensor([0, 70, 71, 71, 90])},
    ),
    "packed-tail": (
        {"batch": 1, "queries": 80, "keys": 80, "heads": 2, "kv_heads": 1},
        lambda: {"offsets": torch.tensor([0, 66, 70], dtype=torch.int32), "causal": "top-left"},
    ),
    "packed-keys": (
        {"batch": 1, "queries": 40, "keys": 140},
        lambda: {
            "offsets": torch.tensor([0, 10, 21, 21, 40]),
            "key_offsets": torch.tensor([0, 70, 71, 90, 130]),
            "causal": True,
            "window": (30, None),
            "alibi_slopes": normal(2).abs(),
            "dropout": 0.1,
            "seed": 3,
        },
    ),
    "relative": (
        {"heads": 4, "queries": 33},
        lambda: {"relative_query": normal(2, 4, 33, 24), "relative_key": normal(1, 2, 70, 24)},
    ),
    "distances": (
        {"queries": 70, "keys": 70},
        lambda: {
            "relative_query": normal(2, 2, 70, 16),
            "distance_key": normal(2, 139, 16, seed=9),
            "lengths": torch.tensor([65, 33]),
        },
    ),
    "distances-one-for-all": (
        {"batch": 3, "queries": 20, "keys": 131, "width": 24, "value_width": 40},
        lambda: {
            "relative_query": normal(3, 2, 20, 24),
            "distance_key": normal(1, 150, 24, seed=9),
            "causal": True,
            "softcap": 1.5,
            "alibi_slopes": normal(2).abs(),
            "sinks": normal(2),
        },
    ),
    "distances-grouped": (
        {"heads": 4, "kv_heads": 2, "queries": 131, "keys": 40},
        lambda: {
            # Neither of both has its features side by side.
            "relative_query": normal(2, 4, 16, 131).mT,
            "distance_key": normal(4, 16, 170, seed=9).mT,
            "window": (50, 7),
            "causal": "top-left",
            "dropout": 0.2,
            "seed": 9,
            "scale": normal(4),
        },
    ),
    "distances-planes": (
        {"queries": 66, "keys": 70},
        lambda: {
            "relative_query": normal(2, 2, 66, 16),
            "distance_key": normal(2, 135, 16, seed=9),
            "bias": normal(2, 66, 70),
            "mask": some(2, 1, 66, 70),
            "table": normal(9, 2),
            "index": relative(66, 70, reach=4),
        },
    ),
    "distances-packed": (
        {"batch": 1, "queries": 140, "keys": 140},
        lambda: {
            "relative_query": normal(1, 2, 140, 16),
            "distance_key": normal(2, 279, 16, seed=9),
            "offsets": torch.tensor([0, 70, 71, 71, 130]),
        },
    ),
    "distances-packed-causal": (
        {"batch": 1, "queries": 90, "keys": 90, "heads": 2, "kv_heads": 1},
        lambda: {
            "relative_query": normal(1, 2, 90, 16),
            "distance_key": normal(1, 179, 16, seed=9),
            "offsets": torch.tensor([0, 66, 90], dtype=torch.int32),
            "causal": True,
            "window": 20,
        },
    ),
    "packed-relative": (
        {"batch": 1, "queries": 40, "keys": 40},
        lambda: {
            "offsets": torch.tensor([0, 33, 40]),
            "scale": normal(2),
            "relative_query": normal(1, 2, 40, 24),
            "relative_key": normal(1, 1, 40, 24, seed=8),
        },
    ),
    "packed-planes": (
        {"batch": 1, "queries": 80, "keys": 80},
        lambda: {
            "offsets": torch.tensor([0, 33, 80]),
            "bias": normal(2, 80, 80),
            "mask": some(1, 80),
            "table": normal(5, 2),
            "index": relative(80, 80, reach=2),
        },
    ),
    "all": (
        {"kv_heads": 1, "queries": 40, "keys": 71, "width": 24, "value_width": 40},
        lambda: {
            "bias": normal(2, 40, 71),
            "mask": some(2, 1, 40, 71),
            "lengths": torch.tensor([69, 30]),
            "causal": True,
            "window": (40, None),
            "scale": normal(2),
            "alibi_slopes": normal(2).abs(),
            "table": normal(9, 2),
            "index": relative(40, 71, reach=4),
            "softcap": 3.0,
            "sinks": normal(2, seed=3),
            "dropout": 0.2,
            "seed": 9,
        },
    ),
}
