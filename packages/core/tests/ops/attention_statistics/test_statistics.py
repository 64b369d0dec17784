"""Statistics of attention against the matrix of weights; in the interpreter, the kernels too."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops import BackendError, attention, attention_statistics
from headway.core.testing.memory import nan_filled_memory

Options = dict[str, object]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BACKENDS = [
    pytest.param("blocked", marks=pytest.mark.skipif(INTERPRETED, reason="run without it")),
    pytest.param("triton", marks=pytest.mark.interpret),
]


@pytest.fixture(autouse=True, scope="module")
def memory() -> Iterator[None]:
    if not INTERPRETED:
        yield
        return
    from headway.core.testing.interpreter import bfloat16_products, guarded_memory

    with bfloat16_products(), nan_filled_memory(), guarded_memory():
        yield


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def weights_of(query: Tensor, key: Tensor, options: Options) -> Tensor:
    """The whole matrix, by attention over the identity."""
    keys = key.shape[2]
    identity = torch.eye(keys, dtype=torch.float64).expand(*key.shape[:2], keys, keys)
    return attention(query, key, identity, backend="reference", **options)  # pyright: ignore


# More than one block of 64 queries and keys, grouped heads, rows that see nothing or few keys.
CASES: dict[str, tuple[tuple[int, int, int, int, int], Callable[[], Options]]] = {
    "plain": ((2, 2, 2, 20, 33), dict),
    "causal": ((1, 4, 2, 70, 90), lambda: {"causal": True}),
    "more queries": ((1, 2, 1, 90, 20), lambda: {"causal": True}),
    "lengths": ((3, 2, 2, 9, 70), lambda: {"lengths": torch.tensor([70, 2, 0])}),
    "mask and bias": (
        (1, 2, 2, 17, 18),
        lambda: {"mask": normal(17, 18) > 0, "bias": normal(2, 1, 18)},
    ),
    "window": ((1, 2, 2, 70, 70), lambda: {"window": (3, 1), "alibi_slopes": normal(2).abs()}),
    "cap and sinks": (
        (1, 2, 2, 9, 30),
        lambda: {"softcap": 2.0, "sinks": normal(2), "scale": normal(2).abs()},
    ),
    "packed": (
        (1, 2, 2, 80, 80),
        lambda: {"offsets": torch.tensor([0, 3, 70, 80]), "causal": True},
    ),
    "relative": (
        (1, 2, 1, 9, 10),
        lambda: {"relative_query": normal(1, 2, 9, 5), "relative_key": normal(1, 1, 10, 5, seed=8)},
    ),
    "table": (
        (1, 2, 2, 5, 6),
        lambda: {"table": normal(4, 2), "index": torch.arange(30).view(5, 6) % 4},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_all_statistics_are_those_of_the_matrix_of_weights(case: str, backend: str) -> None:
    (batch, heads, kv_heads, queries, keys), make = CASES[case]
    options = make()
    query = normal(batch, heads, queries, 16, seed=1)
    key = normal(batch, kv_heads, keys, 16, seed=2)
    rows = normal(batch, 1, queries, seed=3)
    weights = weights_of(query, key, options)
    given, single = (query, key, rows), backend == "triton"
    if single:
        given = tuple(x.float() for x in given)
        options = {
            n: x.float() if isinstance(x, Tensor) and x.is_floating_point() else x
            for n, x in options.items()
        }
    found = attention_statistics(
        given[0], given[1], rows=given[2], top=3, backend=backend, **options
    )  # pyright: ignore
    bound = 2e-5 if single else 1e-10
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)
    torch.testing.assert_close(found.entropy.double(), entropy, atol=bound, rtol=bound)
    received = torch.einsum("bht,bhts->bhs", rows.expand(batch, heads, -1), weights)
    assert found.received is not None
    torch.testing.assert_close(found.received.double(), received, atol=10 * bound, rtol=bound)
    most = weights.topk(3, dim=-1)
    assert found.top_weights is not None
    assert found.top_keys is not None
    torch.testing.assert_close(found.top_weights.double(), most.values, atol=bound, rtol=bound)
    seen = most.values > 0
    assert torch.equal(found.top_keys[seen], most.indices[seen])
    assert (found.top_keys[~seen] == -1).all()
    empty = weights.sum(dim=-1) == 0
    assert (found.entropy[empty] == 0).all()
    if "sinks" not in options:
        assert torch.equal(found.lse == -torch.inf, empty)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lies_beyond_the_lengths_changes_nothing(backend: str) -> None:
    lengths = torch.tensor([3, 66])
    beyond = (torch.arange(70) >= lengths[:, None])[:, None, :, None]
    query, key = normal(2, 2, 9, 16).float(), normal(2, 2, 70, 16, seed=2).float()
    ones = torch.ones(())
    clean, dirty = (
        attention_statistics(query, x, rows=ones, top=4, lengths=lengths, backend=backend)
        for x in (key, key.masked_fill(beyond, torch.nan))
    )
    for name in clean._fields:
        torch.testing.assert_close(getattr(clean, name), getattr(dirty, name))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_vector_carried_through_layers_is_attention_rollout(backend: str) -> None:
    layers = [(normal(1, 2, 12, 16, seed=n), normal(1, 2, 12, 16, seed=n + 9)) for n in range(3)]
    whole = torch.eye(12, dtype=torch.float64)
    for query, key in layers:
        whole = (0.5 * weights_of(query, key, {}).mean(dim=1)[0] + 0.5 * torch.eye(12)) @ whole
    row = torch.zeros(1, 1, 12)
    row[..., 0] = 1.0
    for query, key in reversed(layers):
        found = attention_statistics(query.float(), key.float(), rows=row, backend=backend)
        assert found.received is not None
        row = 0.5 * found.received.mean(dim=1, keepdim=True) + 0.5 * row
    torch.testing.assert_close(row[0, 0].double(), whole[0], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter copies all memory")
def test_memory_grows_with_queries_plus_keys() -> None:
    query, key = torch.randn(1, 1, 20_000, 8), torch.randn(1, 1, 20_000, 8)
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        attention_statistics(query, key, rows=torch.ones(()))
    largest = max(
        event.cpu_memory_usage for event in seen.events() if event.cpu_memory_usage is not None
    )
    assert largest <= 2**26 < 20_000 * 20_000 * 4 / 20


@pytest.mark.interpret
def test_programs_in_another_order_give_the_same_bits() -> None:
    from headway.core.testing.interpreter import permuted_programs

    query, key = normal(1, 2, 130, 16).float(), normal(1, 2, 130, 16, seed=2).float()
    options: Options = {"rows": torch.ones(()), "top": 2, "causal": True, "backend": "triton"}
    first = attention_statistics(query, key, **options)  # pyright: ignore
    with permuted_programs(5):
        second = attention_statistics(query, key, **options)  # pyright: ignore
    for name in first._fields:
        assert torch.equal(getattr(first, name), getattr(second, name)), name


@pytest.mark.parametrize(("batch", "queries", "keys"), [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_inputs(batch: int, queries: int, keys: int, backend: str) -> None:
    query, key = torch.zeros(batch, 1, queries, 16), torch.zeros(batch, 1, keys, 16)
    found = attention_statistics(query, key, rows=torch.ones(()), top=2, backend=backend)
    assert found.received is not None
    assert found.top_keys is not None
    assert found.received.shape == (batch, 1, keys)
    if not keys:
        assert (found.entropy == 0).all()
        assert (found.lse == -torch.inf).all()
        assert (found.top_keys == -1).all()


@pytest.mark.skipif(INTERPRETED, reason="run without it")
def test_wrong_arguments_are_named() -> None:
    query = torch.zeros(1, 2, 5, 16)
    with pytest.raises(UserError, match="top is -1"):
        attention_statistics(query, query, top=-1)
    with pytest.raises(UserError, match="rows has shape"):
        attention_statistics(query, query, rows=torch.ones(4))
    with pytest.raises(BackendError, match="use 'auto'"):
        attention_statistics(query, query, backend="fast")
    with pytest.raises(BackendError, match="more than 32"):
        attention_statistics(query, query, top=40, backend="triton")
    with pytest.raises(BackendError, match="CUDA device|not installed"):
        attention_statistics(query, query, backend="triton")
