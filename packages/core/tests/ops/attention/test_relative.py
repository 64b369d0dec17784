"""The second product under the scores, in both of the forms that backends see."""

import pytest
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops import BackendError, attention, explain_dispatch
from headway.core.ops.attention import relative
from headway.core.testing.gradients import outputs_and_gradients

Options = dict[str, object]


def normal(*shape: int, seed: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def inputs(batch: int = 2, tokens: int = 6) -> list[Tensor]:
    shapes = ((4, tokens, 8), (2, tokens, 8), (2, tokens, 8), (4, tokens, 5))
    return [normal(batch, *shape, seed=n) for n, shape in enumerate(shapes)]


def by_hand(
    query: Tensor, key: Tensor, value: Tensor, rows: Tensor, *, columns: Tensor, **options: object
) -> Tensor:
    """The same with a bias that is written out."""
    groups = 4 // columns.shape[1] if columns.shape[1] > 1 else 1
    bias = rows @ columns.repeat_interleave(groups, dim=1).mT
    return attention(query, key, value, bias=bias, backend="reference", **options)  # pyright: ignore


def ours(
    query: Tensor, key: Tensor, value: Tensor, rows: Tensor, *, columns: Tensor, **options: object
) -> Tensor:
    return attention(
        query,
        key,
        value,
        relative_query=rows,
        relative_key=columns,
        **options,  # pyright: ignore
    )


OPTIONS: dict[str, Options] = {
    "plain": {"columns": normal(2, 2, 6, 5)},
    "one-for-all": {"columns": normal(1, 1, 6, 5), "causal": True},
    "scale-per-head": {"columns": normal(1, 2, 6, 5), "scale": normal(4)},
    "lengths": {"columns": normal(2, 1, 6, 5), "lengths": torch.tensor([0, 4])},
    "softcap": {"columns": normal(2, 1, 6, 5), "softcap": 0.5},
    "packed": {"columns": normal(1, 1, 6, 5), "offsets": torch.tensor([0, 2, 6])},
}


@pytest.mark.parametrize("wide", [False, True], ids=["bias", "widened"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_a_product_added_to_the_scores_in_gradients_too(
    name: str, backend: str, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relative, "_LARGEST", 0 if wide else 2**25)
    tensors, options = inputs(1 if name == "packed" else 2), OPTIONS[name]
    wanted = outputs_and_gradients(by_hand, tensors, options)
    found = outputs_and_gradients(ours, tensors, options | {"backend": backend})
    assert found.keys() == wanted.keys()
    for key, exact in wanted.items():
        torch.testing.assert_close(found[key], exact)


def gathered(
    query: Tensor, key: Tensor, value: Tensor, rows: Tensor, *, distances: Tensor, **options: object
) -> Tensor:
    """Distances one by one: pair (t, s) takes row s - t + T - 1."""
    queries, keys = query.shape[2], key.shape[2]
    numbers = torch.arange(keys) - torch.arange(queries)[:, None] + queries - 1
    columns = distances[:, numbers]  # (H or 1, T, S, R)
    bias = torch.einsum("bhtr,htsr->bhts", rows, columns.expand(4, -1, -1, -1))
    return attention(query, key, value, bias=bias, backend="reference", **options)  # pyright: ignore


def by_distance(
    query: Tensor, key: Tensor, value: Tensor, rows: Tensor, *, distances: Tensor, **options: object
) -> Tensor:
    return attention(
        query,
        key,
        value,
        relative_query=rows,
        distance_key=distances,
        **options,  # pyright: ignore
    )


DISTANCES: dict[str, Options] = {
    "plain": {"distances": normal(4, 11, 5)},
    "one-for-all": {"distances": normal(1, 11, 5), "causal": True},
    "lengths": {"distances": normal(1, 11, 5), "lengths": torch.tensor([0, 4])},
    "softcap": {"distances": normal(4, 11, 5), "softcap": 0.5},
    "packed": {"distances": normal(4, 11, 5), "offsets": torch.tensor([0, 2, 6])},
}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", DISTANCES)
def test_keys_by_distance_are_those_of_each_pair_in_gradients_too(name: str, backend: str) -> None:
    tensors, options = inputs(1 if name == "packed" else 2), DISTANCES[name]
    wanted = outputs_and_gradients(gathered, tensors, options)
    found = outputs_and_gradients(by_distance, tensors, options | {"backend": backend})
    assert found.keys() == wanted.keys()
    for key, exact in wanted.items():
        torch.testing.assert_close(found[key], exact)


def test_fewer_queries_than_keys_count_distances_from_the_first_query() -> None:
    query, key, value, rows = inputs()
    options: Options = {"distances": normal(4, 8, 5)}
    tensors = (query[:, :, :3], key, value, rows[:, :, :3])
    torch.testing.assert_close(by_distance(*tensors, **options), gathered(*tensors, **options))  # pyright: ignore


def test_a_large_call_makes_nothing_of_the_size_of_the_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple) else (out,):
                if isinstance(x, Tensor):
                    self.size = max(self.size, x.numel())
            return out

    query, key, value, rows = (x.float() for x in inputs(1, tokens=200))
    columns = normal(1, 1, 200, 5).float()
    sizes = []
    for limit in (2**25, 0):
        monkeypatch.setattr(relative, "_LARGEST", limit)
        with Largest() as largest:
            ours(query, key, value, rows, columns=columns)
        sizes.append(largest.size)
    assert sizes[0] == 4 * 200 * 200
    assert sizes[1] == 4 * 200 * (8 + 5)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_what_lies_beyond_the_lengths_changes_nothing(poison: float) -> None:
    query, key, value, rows = inputs()
    lengths = torch.tensor([3, 6])
    columns = normal(2, 1, 6, 5)
    beyond = (torch.arange(6) >= lengths[:, None])[:, None, :, None]
    dirty = columns.masked_fill(beyond, poison).requires_grad_()
    rows.requires_grad_()
    out = ours(query, key, value, rows, columns=dirty, lengths=lengths)
    torch.testing.assert_close(out, ours(query, key, value, rows, columns=columns, lengths=lengths))
    for grad in torch.autograd.grad(out, (rows, dirty), torch.ones_like(out)):
        assert torch.isfinite(grad).all()


def test_on_a_gpu_keys_by_distance_stay_where_kernels_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    pytest.importorskip("triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))

    def explained(width: int, features: int, backend: str = "auto"):
        query = torch.empty(1, 2, 8, width, device="cuda", dtype=torch.bfloat16)
        rows = torch.empty(1, 2, 8, features, device="cuda", dtype=torch.bfloat16)
        columns = torch.empty(2, 15, features, device="cuda", dtype=torch.bfloat16)
        return explain_dispatch(
            query, query, query, relative_query=rows, distance_key=columns, backend=backend
        )

    with FakeTensorMode():
        assert explained(64, 64).backend == "triton"
        # Where they cannot, it is a bias, which SDPA takes.
        assert explained(64, 32).backend == explained(160, 160).backend == "sdpa"
        with pytest.raises(BackendError, match="32 features and heads 64; .* pad them with zeros"):
            explained(64, 32, "triton")
        with pytest.raises(BackendError, match="at most 128 wide, got 160 and 160; use 'sdpa'"):
            explained(160, 160, "triton")


def test_on_a_gpu_it_widens_as_far_as_kernels_reach() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        query = torch.empty(1, 2, 8, 64, device="cuda", dtype=torch.bfloat16)
        for features, width in ((192, 256), (193, 64)):
            rows = torch.empty(1, 2, 8, features, device="cuda", dtype=torch.bfloat16)
            request = relative.Request(
                query=query,
                key=query,
                value=query,
                scale=0.125,
                relative_query=rows,
                relative_key=rows,
            )
            absorbed = relative.absorb(request)
            assert absorbed.query.shape[3] == width
            assert (absorbed.bias is None) == (width == 256)


WRONG = {
    "alone": ({"relative_key": None}, "belong together"),
    "queries": (
        {"relative_query": torch.zeros(2, 4, 5, 3)},
        r"relative_query has shape .*\(2, 4, 6, R",
    ),
    "heads": (
        {"relative_key": torch.zeros(2, 4, 6, 3)},
        "relative_key has shape .*use .2 or 1, 2 or 1",
    ),
    "features": ({"relative_key": torch.zeros(2, 2, 6, 4)}, "3 features and relative_key 4"),
    "dtype": ({"relative_key": torch.zeros(2, 2, 6, 3).half()}, "relative_key is torch.float16"),
    "both": ({"distance_key": torch.zeros(1, 11, 3)}, "were both given"),
    "distances": (
        {"relative_key": None, "distance_key": torch.zeros(4, 12, 3)},
        r"distance_key has shape .4, 12, 3.; use .4 or 1, 11, R.",
    ),
    "distance-heads": (
        {"relative_key": None, "distance_key": torch.zeros(2, 11, 3)},
        r"distance_key has shape .2, 11, 3.; use .4 or 1, 11, R.",
    ),
    "distance-features": (
        {"relative_key": None, "distance_key": torch.zeros(1, 11, 4)},
        "3 features and distance_key 4",
    ),
    "distance-dtype": (
        {"relative_key": None, "distance_key": torch.zeros(1, 11, 3).half()},
        "distance_key is torch.float16",
    ),
    "distances-alone": (
        {"relative_key": None, "relative_query": None, "distance_key": torch.zeros(1, 11, 3)},
        "belong together",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_features_are_named_with_limit_and_remedy(changes: Options, message: str) -> None:
    query, key = torch.zeros(2, 4, 6, 8), torch.zeros(2, 2, 6, 8)
    options: Options = {
        "relative_query": torch.zeros(2, 4, 6, 3),
        "relative_key": torch.zeros(2, 2, 6, 3),
    }
    with pytest.raises(Exception, match=message):
        explain_dispatch(query, key, key, **(options | changes))  # pyright: ignore


def test_packed_keys_with_offsets_of_their_own_have_no_common_distances() -> None:
    query = torch.zeros(1, 4, 6, 8)
    with pytest.raises(UserError, match="no common distances; pass relative_key"):
        explain_dispatch(
            query,
            query,
            query,
            offsets=torch.tensor([0, 2, 6]),
            key_offsets=torch.tensor([0, 3, 6]),
            relative_query=torch.zeros(1, 4, 6, 3),
            distance_key=torch.zeros(1, 11, 3),
        )
