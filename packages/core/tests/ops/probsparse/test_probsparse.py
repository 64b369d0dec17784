import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import (
    CrossAttention,
    ProbSparseAttention,
    ProbSparseCrossAttention,
    SelfAttention,
)
from headway.core.ops.probsparse import probsparse_attention, sample_keys, sparse_number
from headway.core.taps import record


def tensors(queries: int, keys: int) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(2, 3, queries, 4), (2, 3, keys, 4), (2, 3, keys, 4)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def by_hand(query: Tensor, key: Tensor, value: Tensor, sample: Tensor, top: int, causal: bool):
    """Row by row, as the paper says."""
    rows = []
    for b in range(query.shape[0]):
        for h in range(query.shape[1]):
            q, k, v = query[b, h], key[b, h], value[b, h]
            scores = q @ k[sample].T
            measure = scores.max(dim=1).values - scores.sum(dim=1) / len(k)
            best = set(measure.topk(top).indices.tolist())
            for t in range(len(q)):
                seen = slice(0, t + 1) if causal else slice(None)
                if t in best:
                    weights = (q[t] @ k[seen].T / math.sqrt(q.shape[1])).softmax(dim=0)
                    rows.append(weights @ v[seen])
                else:
                    rows.append(v[seen].sum(dim=0) if causal else v.mean(dim=0))
    return torch.stack(rows).view(query.shape)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 33])
def test_it_is_what_the_paper_says(tokens: int, causal: bool) -> None:
    ours, theirs = tensors(tokens, tokens), tensors(tokens, tokens)
    sample, _ = sample_keys(tokens, 2)
    out = probsparse_attention(*ours, sample=sample, factor=2, causal=causal)
    expected = by_hand(*theirs, sample, int(sparse_number(tokens, 2)), causal)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@pytest.mark.parametrize("causal", [False, True])
def test_with_every_query_chosen_it_is_dense_attention(causal: bool) -> None:
    query, key, value = tensors(21, 21)
    sample, _ = sample_keys(21, 100)
    assert sample.tolist() == list(range(21))
    out = probsparse_attention(query, key, value, sample=sample, factor=100, causal=causal)
    dense = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    torch.testing.assert_close(out, dense)


def test_it_finds_the_queries_that_prefer_a_key() -> None:
    torch.manual_seed(0)
    key = F.normalize(torch.randn(1, 1, 96, 16), dim=-1)
    query = 0.1 * torch.randn(1, 1, 96, 16)
    peaked = torch.tensor([5, 40, 77])
    query[0, 0, peaked] = 60 * key[0, 0, ::32][:3]
    value = torch.randn(1, 1, 96, 16)
    sample, _ = sample_keys(96, 3)
    out = probsparse_attention(query, key, value, sample=sample, factor=3)
    dense = F.scaled_dot_product_attention(query, key, value)
    # The mean of the values would be far off for them, and for the others it is close.
    assert (value.mean(dim=2) - dense[0, 0, peaked]).abs().amax() > 1
    torch.testing.assert_close(out[0, 0, peaked], dense[0, 0, peaked], atol=1e-5, rtol=1e-5)
    assert (out - dense).abs().amax() < 0.2
    attending = (out[0, 0] - value.mean(dim=2)[0]).abs().amax(dim=1) > 1e-6
    assert int(attending.sum()) == int(sparse_number(96, 3)) == 15


def test_the_numbers_of_the_paper() -> None:
    assert [int(sparse_number(n, 5)) for n in (1, 2, 10, 96, 720)] == [1, 2, 10, 25, 35]
    places, seen = sample_keys(10, 1, torch.arange(10) < torch.tensor([[4], [10]]))
    assert places[0, :2].tolist() == [0, 2]
    assert seen is not None
    assert seen.sum(dim=1).tolist() == [2, 3]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["lengths", "valid"])
def test_an_item_alone_is_the_item_in_a_padded_batch(kind: str, causal: bool) -> None:
    torch.manual_seed(0)
    mixer = ProbSparseAttention(8, 2, factor=1, causal=causal).eval()
    lengths = torch.tensor([17, 5, 11])
    x = torch.randn(3, 17, 8)
    real = torch.arange(17) < lengths[:, None]
    if kind == "valid":
        real = real.flip(1)
    layout = Layout(lengths=lengths) if kind == "lengths" else Layout(valid=real)
    garbage = x.masked_fill(~real[..., None], 1e4).requires_grad_()
    out = mixer(garbage, layout)
    out[real].square().sum().backward()
    weight = mixer.qkv.weight.grad.clone()
    mixer.zero_grad()
    for row in range(3):
        alone = mixer(x[row, real[row]][None])
        torch.testing.assert_close(out[row, real[row]], alone[0], atol=1e-5, rtol=1e-5)
        alone.square().sum().backward()
    torch.testing.assert_close(weight, mixer.qkv.weight.grad, atol=1e-4, rtol=1e-4)
    assert garbage.grad[~real].abs().max() == 0


def test_evaluation_is_deterministic_and_training_draws() -> None:
    torch.manual_seed(0)
    mixer = ProbSparseAttention(8, 2, factor=1)
    x = torch.randn(2, 50, 8)
    draws = [mixer(x) for _ in range(5)]
    assert any(not torch.equal(draws[0], other) for other in draws[1:])
    mixer.eval()
    assert torch.equal(mixer(x), mixer(x))


@pytest.mark.parametrize("cross", [False, True])
def test_the_mixers_with_every_query_are_the_dense_ones(cross: bool) -> None:
    torch.manual_seed(0)
    kinds = (
        (ProbSparseCrossAttention, CrossAttention)
        if cross
        else (ProbSparseAttention, SelfAttention)
    )
    sparse, dense = kinds[0](8, 2, factor=100).eval(), kinds[1](8, 2).eval()
    dense.load_state_dict(sparse.state_dict())
    x = torch.randn(2, 9, 8)
    options = {"context": torch.randn(2, 6, 8)} if cross else {}
    torch.testing.assert_close(sparse(x, **options), dense(x, **options))
    with record(sparse, "weights") as taken:
        sparse(x, **options)
    with record(dense, "weights") as expected:
        dense(x, **options)
    torch.testing.assert_close(taken["weights"][""][0], expected["weights"][""][0])


def test_mixed_heads_are_the_heads_read_as_tokens() -> None:
    torch.manual_seed(0)
    plain = ProbSparseAttention(8, 2).eval()
    mixed = ProbSparseAttention(8, 2, mix_heads=True).eval()
    mixed.load_state_dict(plain.state_dict())
    seen: list[Tensor] = []
    for mixer in (plain, mixed):
        mixer.projection.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        mixer(torch.ones(1, 6, 8).cumsum(1))
    heads = seen[0].unflatten(2, (2, 4)).transpose(1, 2)
    assert torch.equal(seen[1], heads.reshape(1, 6, 8))
    with pytest.raises(UserError, match="mixes neighbouring tokens, padding included"):
        mixed(torch.ones(1, 6, 8), Layout(lengths=torch.tensor([5])))
