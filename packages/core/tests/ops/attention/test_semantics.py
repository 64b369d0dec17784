"""What attention promises, whatever computes it; the reference is held to plain formulas."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from headway.core.ops import attention, attention_with_lse
from headway.core.ops.attention.sdpa import opened

BACKENDS = ("reference", "sdpa")


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def triple(
    batch: int = 2, heads: int = 2, queries: int = 4, keys: int = 5, width: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    query = normal(batch, heads, queries, width, seed=1).requires_grad_()
    key = normal(batch, heads, keys, width, seed=2).requires_grad_()
    value = normal(batch, heads, keys, width, seed=3).requires_grad_()
    return query, key, value


def test_reference_is_the_textbook_formula() -> None:
    query, key, value = (x.detach() for x in triple())
    bias, slopes, scale = normal(2, 4, 5), torch.tensor([0.5, 0.25]).double(), 0.3
    out, lse = attention_with_lse(
        query,
        key,
        value,
        bias=bias,
        causal=True,
        window=(2, 0),
        alibi_slopes=slopes,
        scale=scale,
        softcap=2.0,
        sinks=torch.tensor([0.1, -1.0]).double(),
        backend="reference",
    )
    sinks = [0.1, -1.0]
    for b in range(2):
        for h in range(2):
            for t in range(4):
                place = t + 1  # five keys, four queries: the last query sees the last key
                scores = {
                    s: 2.0 * math.tanh(float(query[b, h, t] @ key[b, h, s]) * scale / 2.0)
                    + float(bias[h, t, s])
                    - float(slopes[h]) * (place - s)
                    for s in range(5)
                    if place - 2 <= s <= place
                }
                total = sum(math.exp(x) for x in scores.values()) + math.exp(sinks[h])
                wanted = sum(math.exp(x) / total * value[b, h, s] for s, x in scores.items())
                torch.testing.assert_close(out[b, h, t], wanted)
                assert float(lse[b, h, t]) == pytest.approx(math.log(total))


@pytest.mark.parametrize("backend", BACKENDS)
def test_bottom_right_lets_the_last_query_see_every_key(backend: str) -> None:
    query, key, value = triple(queries=2, keys=5)
    causal = attention(query, key, value, causal=True, backend=backend)
    free = attention(query, key, value, backend=backend)
    torch.testing.assert_close(causal[:, :, -1], free[:, :, -1])
    assert not torch.allclose(causal[:, :, 0], free[:, :, 0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_top_left_lets_the_first_query_see_the_first_key_alone(backend: str) -> None:
    query, key, value = triple(queries=2, keys=5)
    out = attention(query, key, value, causal="top-left", backend=backend)
    torch.testing.assert_close(out[:, :, 0], value[:, :, 0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["lengths", "mask", "bias", "causal", "window", "gradient"])
def test_a_row_with_nothing_to_attend_to_is_zero_in_output_and_gradients(
    backend: str, how: str
) -> None:
    queries = 7 if how in ("causal", "window") else 4
    query, key, value = triple(queries=queries)
    mask = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    mask[0] = False
    hidden = torch.zeros(2, 1, 4, 5, dtype=torch.float64).masked_fill(~mask, -torch.inf)
    options: dict[str, dict[str, object]] = {
        "lengths": {"lengths": torch.tensor([0, 5])},
        "mask": {"mask": mask},
        "bias": {"bias": hidden},
        "causal": {"causal": True},
        "window": {"causal": True, "window": 1},
        "gradient": {"bias": hidden.clone().requires_grad_()},
    }
    chosen = options[how]
    out = attention(query, key, value, **chosen, backend=backend)  # pyright: ignore
    rows = (slice(None), slice(None), slice(0, 2)) if queries == 7 else (0,)
    assert (out[rows] == 0).all()
    assert (out != 0).any()
    leaves = [query, key, value]
    if how == "gradient":
        leaves.append(chosen["bias"])  # pyright: ignore
    grads = torch.autograd.grad(out, leaves, torch.ones_like(out))
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert (grads[0][rows] == 0).all()
    if queries == 4:
        assert all((grad[0] == 0).all() for grad in grads)
        assert (grads[0][1] != 0).any()


def test_the_log_sum_exp_of_an_empty_row_is_minus_infinity_and_sends_no_gradient() -> None:
    query, key, value = triple()
    _, lse = attention_with_lse(query, key, value, lengths=torch.tensor([0, 5]))
    assert (lse[0] == -torch.inf).all()
    grads = torch.autograd.grad(lse[1].sum() + lse[0].nan_to_num(neginf=0.0).sum(), (query, key))
    assert all((grad[0] == 0).all() and torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
def test_what_lies_beyond_the_lengths_changes_nothing(backend: str, poison: float) -> None:
    lengths = torch.tensor([3, 4])
    query, key, value = triple()
    beyond = (torch.arange(5) >= lengths[:, None])[:, None, :, None]
    dirty = [x.detach().masked_fill(beyond, poison).requires_grad_() for x in (key, value)]
    clean = attention(query, key, value, lengths=lengths, backend=backend)
    out = attention(query, *dirty, lengths=lengths, backend=backend)
    torch.testing.assert_close(out, clean)
    for grad in torch.autograd.grad(out, dirty, torch.ones_like(out)):
        assert torch.isfinite(grad).all()
        assert (grad.masked_select(beyond) == 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_item_alone_equals_the_same_item_padded(backend: str) -> None:
    query, key, value = triple()
    padded = attention(query, key, value, lengths=torch.tensor([3, 5]), backend=backend)
    alone = attention(query[:1], key[:1, :, :3], value[:1, :, :3], backend=backend)
    torch.testing.assert_close(padded[:1], alone)


PACKED = {
    "plain": {},
    "causal": {"causal": True},
    "top-left": {"causal": "top-left"},
    "window": {"window": 1},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.1]).double()},
    "scale-per-head": {"scale": torch.tensor([0.5, 0.1]).double()},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", PACKED.values(), ids=PACKED)
def test_packed_items_equal_each_item_by_itself_in_gradients_too(
    backend: str, options: dict[str, object]
) -> None:
    bounds, key_bounds = [0, 3, 3, 7, 8], [0, 2, 4, 9, 12]
    query = normal(1, 2, 10, 4, seed=1).requires_grad_()
    key, value = (normal(1, 2, 13, 4, seed=n).requires_grad_() for n in (2, 3))
    out = attention(
        query,
        key,
        value,
        offsets=torch.tensor(bounds),
        key_offsets=torch.tensor(key_bounds),
        backend=backend,
        **options,  # pyright: ignore
    )
    alone = []
    for n in range(4):
        rows, columns = slice(*bounds[n : n + 2]), slice(*key_bounds[n : n + 2])
        item = (query[:, :, rows], key[:, :, columns], value[:, :, columns])
        alone.append(attention(*item, **options, backend=backend))  # pyright: ignore
    wanted = torch.cat([*alone, torch.zeros(1, 2, 2, 4)], dim=2)
    torch.testing.assert_close(out, wanted)
    grad = normal(*out.shape, seed=9)
    found = torch.autograd.grad(out, (query, key, value), grad, retain_graph=True)
    for one, other in zip(
        found, torch.autograd.grad(wanted, (query, key, value), grad), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_bias_and_mask_of_packed_input_address_the_packed_axes() -> None:
    query, key, value = triple(batch=1, queries=6, keys=6)
    bias, mask = normal(2, 6, 6, seed=5), normal(6, 6, seed=6) > -0.5
    offsets = torch.tensor([0, 2, 6])
    options = {"bias": bias, "mask": mask, "offsets": offsets}
    found = attention(query, key, value, **options)
    first = attention(
        query[:, :, :2],
        key[:, :, :2],
        value[:, :, :2],
        bias=bias[:, :2, :2],
        mask=mask[:2, :2],
    )
    torch.testing.assert_close(found[:, :, :2], first)
    torch.testing.assert_close(found, attention(query, key, value, **options, backend="reference"))


def test_no_nan_crosses_from_one_packed_item_to_another() -> None:
    query, key, value = (x.detach().clone() for x in triple(batch=1, queries=6, keys=6))
    clean = attention(query, key, value, offsets=torch.tensor([0, 2, 6]))
    value[:, :, 2:], key[:, :, 2:] = torch.nan, torch.nan
    out = attention(query, key, value, offsets=torch.tensor([0, 2, 6]))
    torch.testing.assert_close(out[:, :, :2], clean[:, :, :2])


def test_results_over_disjoint_keys_merge_by_their_log_sum_exps() -> None:
    query, key, value = triple(keys=6)
    whole = attention(query, key, value)
    parts = [
        attention_with_lse(query, key[:, :, part], value[:, :, part])
        for part in (slice(0, 2), slice(2, 6))
    ]
    lse = torch.stack([part[1] for part in parts])
    shares = torch.softmax(lse, dim=0)[..., None]
    merged = sum(share * part[0] for share, part in zip(shares, parts, strict=True))
    torch.testing.assert_close(merged, whole)
    wanted = torch.autograd.grad(whole.square().sum(), (query, key, value))
    found = torch.autograd.grad(merged.square().sum(), (query, key, value))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_a_sink_takes_the_share_of_a_key_with_a_zero_value() -> None:
    query, key, value = triple()
    sinks = torch.tensor([0.3, -2.0]).double()
    found = attention(query, key, value, sinks=sinks)
    more = [torch.cat([x, torch.zeros(2, 2, 1, 3)], dim=2) for x in (key, value)]
    bias = torch.cat([torch.zeros(2, 4, 5), sinks[:, None, None].expand(2, 4, 1)], dim=2)
    torch.testing.assert_close(found, attention(query, *more, bias=bias))


def test_softcap_bounds_the_scores_and_a_large_one_changes_nothing() -> None:
    query, key, value = triple()
    torch.testing.assert_close(
        attention(query, key, value, softcap=1e6), attention(query, key, value)
    )
    _, lse = attention_with_lse(100 * query, key, value, softcap=2.0)
    assert (lse <= 2.0 + math.log(5)).all()


def test_seeded_dropout_repeats_itself_and_drops_the_stated_share() -> None:
    query, key = torch.zeros(4, 4, 64, 2), torch.zeros(4, 4, 128, 2)
    value = torch.ones(4, 4, 128, 2)
    first = attention(query, key, value, dropout=0.25, seed=3)
    assert torch.equal(first, attention(query, key, value, dropout=0.25, seed=3))
    assert not torch.equal(first, attention(query, key, value, dropout=0.25, seed=4))
    # Each output is a mean over 128 kept-or-dropped ones, scaled to keep its expectation.
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(first.std()) == pytest.approx(math.sqrt(0.25 / 0.75 / 128), rel=0.1)


def test_unseeded_dropout_follows_the_global_generator() -> None:
    query, key, value = triple()
    torch.manual_seed(0)
    first = attention(query, key, value, dropout=0.5)
    assert not torch.equal(first, attention(query, key, value, dropout=0.5))
    torch.manual_seed(0)
    assert torch.equal(first, attention(query, key, value, dropout=0.5))


def test_values_may_be_wider_than_keys() -> None:
    query, key, _ = triple()
    value = normal(2, 2, 5, 7, seed=4)
    out = attention(query, key, value, lengths=torch.tensor([2, 5]))
    assert out.shape == (2, 2, 4, 7)
    torch.testing.assert_close(out[:1], attention(query[:1], key[:1, :, :2], value[:1, :, :2]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0)])
def test_no_queries_or_no_keys_give_zeros_of_the_right_shape(
    backend: str, queries: int, keys: int
) -> None:
    query, key, value = triple(queries=queries, keys=keys)
    out = attention(query, key, value, backend=backend)
    assert out.shape == (2, 2, queries, 3)
    assert (out == 0).all()


DIFFERENTIABLE = {
    "plain": {},
    "causal": {"causal": True},
    "lengths": {"lengths": torch.tensor([2, 0])},
    "bias": {"bias": normal(2, 3, 4, seed=8)},
    "bias-broadcast": {"bias": normal(2, 1, 1, 4, seed=8)},
    "constant-mask": {"mask": normal(3, 4, seed=8) > -0.5},
    "scale-per-head": {"scale": torch.tensor([0.5, 0.8]).double()},
    "table": {"table": normal(3, 2, seed=8), "index": torch.arange(12).view(3, 4) % 3},
    "alibi": {"alibi_slopes": torch.tensor([0.5, 0.8]).double()},
    "packed": {"offsets": torch.tensor([0, 2, 3]), "key_offsets": torch.tensor([0, 1, 4])},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
def test_first_and_second_derivatives_are_those_of_finite_differences(
    backend: str, options: dict[str, Tensor]
) -> None:
    batch = 1 if "offsets" in options else 2
    tensors = triple(batch=batch, queries=3, keys=4, width=2)
    named = {n: x for n, x in options.items() if isinstance(x, Tensor) and x.is_floating_point()}
    fixed = {n: x for n, x in options.items() if n not in named}
    leaves = [*tensors, *(x.clone().requires_grad_() for x in named.values())]

    def function(query: Tensor, key: Tensor, value: Tensor, *rest: Tensor) -> Tensor:
        chosen = dict(zip(named, rest, strict=True)) | fixed
        return attention(query, key, value, **chosen, backend=backend)  # pyright: ignore

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("option", ["softcap", "sinks"])
def test_options_of_the_reference_alone_are_differentiable_twice(option: str) -> None:
    leaves = [*triple(queries=3, keys=4, width=2), torch.tensor([0.5, 1.5]).double()]
    leaves[3].requires_grad_()

    def function(query: Tensor, key: Tensor, value: Tensor, sinks: Tensor) -> Tensor:
        if option == "sinks":
            return attention(query, key, value, sinks=sinks)
        return attention(query * sinks.mean(), key, value, softcap=1.5)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


# PyTorch says so of its own kernel.
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients_of_single_items_by_vmap_equal_a_loop() -> None:
    query, key, value = (x.detach() for x in triple())

    def loss(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query[None], key[None], value[None]).square().sum()

    found = torch.func.vmap(torch.func.grad(loss))(query, key, value)
    for n in range(2):
        wanted = torch.func.grad(loss)(query[n], key[n], value[n])
        torch.testing.assert_close(found[n], wanted)


@pytest.mark.parametrize(
    "options",
    [
        lambda keys: {},
        lambda keys: {"causal": True},
        lambda keys: {"causal": "top-left"},
        lambda keys: {"window": 9},
        lambda keys: {"bias": normal(3, 1, 80, keys), "mask": normal(keys, seed=6) > -1.0},
        lambda keys: {"table": normal(4, 4), "index": torch.arange(80 * keys).view(80, keys) % 4},
    ],
    ids=["plain", "causal", "top-left", "window", "bias-mask", "table"],
)
@pytest.mark.parametrize("keys", [80, 120], ids=["square", "more-keys"])
def test_large_padded_items_equal_the_reference_in_gradients_too(
    keys: int, options: Callable[[int], dict[str, object]]
) -> None:
    tensors = triple(batch=3, heads=4, queries=80, keys=keys, width=48)
    chosen = options(keys) | {"lengths": torch.tensor([keys, 0, 33])}
    found = attention(*tensors, **chosen)  # pyright: ignore
    wanted = attention(*tensors, **chosen, backend="reference")  # pyright: ignore
    torch.testing.assert_close(found, wanted)
    grad = normal(*found.shape, seed=4)
    pairs = zip(
        torch.autograd.grad(found, tensors, grad),
        torch.autograd.grad(wanted, tensors, grad),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)
        assert other.isfinite().all()


def test_lengths_that_hide_nothing_cost_no_mask() -> None:
    query, key, value = triple()
    full = attention(query, key, value, lengths=torch.tensor([5, 5]))
    assert torch.equal(full, attention(query, key, value, scale=3**-0.5))


@pytest.mark.parametrize("additive", [False, True])
def test_empty_rows_can_be_opened_for_kernels_that_cannot_take_them(additive: bool) -> None:
    query, key, value = (x.detach() for x in triple())
    mask = normal(2, 1, 4, 5, seed=4) > 0.0
    mask[0, 0, 2] = False
    wanted = attention(query, key, value, mask=mask)
    given = torch.zeros(2, 1, 4, 5).double().masked_fill(~mask, -torch.inf) if additive else mask
    visible, empty = opened(given)
    assert (visible > -torch.inf).any(-1).all()
    assert empty.flatten().nonzero().tolist() == [[2]]
    option = {"bias": visible} if additive else {"mask": visible}
    found = attention(query, key, value, **option).masked_fill(empty, 0.0)
    torch.testing.assert_close(found, wanted)
