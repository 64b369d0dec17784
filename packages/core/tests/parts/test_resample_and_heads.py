from functools import partial

import numpy as np
import pytest
import torch

from headway.core.errors import UserError
from headway.core.heads import (
    AttentionPooling,
    AveragePooling,
    ClassificationHead,
    MaxPooling,
    QuantileHead,
    StudentT,
    StudentTHead,
    TokenAveragePooling,
    TokenPooling,
)
from headway.core.layout import Layout
from headway.core.resample import PatchMerging, TokenMerging, unmerge


def test_patch_merging_joins_neighbours_in_swins_order() -> None:
    from timm.models.swin_transformer import PatchMerging as Theirs

    torch.manual_seed(0)
    theirs, ours = Theirs(6), PatchMerging(6)
    ours.norm.eps = theirs.norm.eps
    ours.norm.load_state_dict(theirs.norm.state_dict())
    ours.projection.load_state_dict(theirs.reduction.state_dict())
    x = torch.randn(2, 5, 4, 6)  # an odd side is padded
    out, layout = ours(x.flatten(1, 2), Layout(grid=(5, 4)))
    assert layout.grid == (3, 2)
    torch.testing.assert_close(out, theirs(x).flatten(1, 2))


def test_token_merging_merges_the_most_similar_pairs_to_weighted_means() -> None:
    a, b, c, d = (torch.eye(4)[i] for i in range(4))
    x = torch.stack([a, 1.2 * a, b, c, d, d + 0.5 * a])[None]  # first set: 0, 2, 4; second: 1, 3, 5
    sizes = torch.tensor([[3.0, 1, 1, 1, 1, 1]])
    out, layout = TokenMerging(1)(x, Layout(grid=(2, 3), sizes=sizes))
    assert out.shape == (1, 5, 4)
    torch.testing.assert_close(out[0, 0], (3 * a + 1.2 * a) / 4)  # 0 went into 1
    assert layout.sizes[0].tolist() == [4, 1, 1, 1, 1]
    torch.testing.assert_close(layout.positions[0, 0], torch.tensor([0.0, 0.25]))


def test_token_merging_conserves_sums_and_leaves_the_prefix_alone() -> None:
    x = torch.randn(2, 11, 8)
    out, layout = TokenMerging(4)(x, Layout(grid=(2, 5), prefix=1))
    assert out.shape[1] == 7
    torch.testing.assert_close(out[:, 0], x[:, 0])
    torch.testing.assert_close((out * layout.sizes[..., None]).sum(1), x.sum(1))
    torch.testing.assert_close(layout.sizes.sum(1), torch.full((2,), 11.0))
    again, further = TokenMerging(2)(out, layout)
    torch.testing.assert_close((again * further.sizes[..., None]).sum(1), x.sum(1))
    values = torch.arange(5.0).expand(2, -1)
    back = unmerge(values, Layout(grid=(2, 5)).token_positions(10), further)
    assert back.shape == (2, 10)


@pytest.mark.parametrize("kind", ["lengths", "valid"])
def test_token_merging_never_merges_padding(kind: str) -> None:
    # Item 1 has 7 tokens of 10, one of them in front of the places; its padding holds NaN.
    x = torch.randn(2, 10, 4)
    real = torch.ones(2, 10, dtype=torch.bool)
    real[1, [7, 8, 9] if kind == "lengths" else [2, 4, 9]] = False
    alone, wanted = TokenMerging(3)(x[1:, real[1]], Layout(prefix=1))
    x[1, ~real[1]] = torch.nan
    padding = {"valid": real} if kind == "valid" else {"lengths": torch.tensor([10, 7])}
    out, layout = TokenMerging(3)(x, Layout(prefix=1, **padding))
    assert layout.lengths.tolist() == [7, 4]
    torch.testing.assert_close(out[1, :4], alone[0])
    torch.testing.assert_close(layout.positions[1, :4], wanted.positions[0])
    torch.testing.assert_close(layout.sizes[1, :4], wanted.sizes[0])
    full, _ = TokenMerging(3)(x[:1], Layout(prefix=1))
    torch.testing.assert_close(out[0], full[0])


def test_token_merging_refuses_packed_items() -> None:
    with pytest.raises(UserError, match="packed items cannot be merged; pad the items"):
        TokenMerging(1)(torch.zeros(1, 4, 2), Layout(offsets=torch.tensor([0, 4]), max_length=4))


POOLINGS = {
    "token": TokenPooling,
    "average": AveragePooling,
    "with prefix": partial(AveragePooling, include_prefix=True),
    "both": TokenAveragePooling,
    "attention": partial(AttentionPooling, heads=2),
}


@pytest.mark.parametrize("name", [*POOLINGS, "max"])
def test_pooling_ignores_padding_even_if_it_is_nan(name: str) -> None:
    torch.manual_seed(0)
    pooling = (MaxPooling if name == "max" else POOLINGS[name])(8)
    x = torch.randn(2, 6, 8)
    if name != "attention":  # projections of NaN are for the stack to prevent
        x[0, 4:] = torch.nan
    out = pooling(x, Layout(lengths=torch.tensor([4, 6]), prefix=1))
    torch.testing.assert_close(out[:1], pooling(x[:1, :4], Layout(prefix=1)))
    torch.testing.assert_close(out[1:], pooling(x[1:], Layout(prefix=1)))


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_of_packed_items_equals_items_alone(name: str) -> None:
    torch.manual_seed(0)
    pooling, x = POOLINGS[name](8), torch.randn(1, 9, 8)
    out = pooling(x, Layout(offsets=torch.tensor([0, 4, 9]), max_length=5, prefix=1))
    torch.testing.assert_close(out[:1], pooling(x[:, :4], Layout(prefix=1)))
    torch.testing.assert_close(out[1:], pooling(x[:, 4:], Layout(prefix=1)))


def test_average_pooling_is_the_mean_behind_the_prefix() -> None:
    x = torch.randn(2, 5, 3)
    np.testing.assert_allclose(
        AveragePooling(3)(x, Layout(prefix=2)), x[:, 2:].numpy().mean(1), atol=1e-6
    )


def test_a_reset_head_has_new_classes_and_keeps_its_pooling() -> None:
    head = ClassificationHead(8, 3, pooling=TokenAveragePooling)
    head.reset(5)
    assert head(torch.randn(2, 4, 8)).shape == (2, 5)
    head.reset(0)
    assert head(torch.randn(2, 4, 8)).shape == (2, 16)


def test_quantiles_never_cross() -> None:
    head = QuantileHead(8, 3, quantiles=[0.1, 0.5, 0.9, 0.95])
    out = head(100 * torch.randn(4, 7, 8))
    assert (out.diff(dim=-1) >= 0).all()
    with pytest.raises(UserError, match="rise strictly"):
        QuantileHead(8, 1, quantiles=[0.9, 0.1])


def test_student_t_is_that_of_torch_and_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    head = StudentTHead(8, 3).double()
    answer = head(3 * torch.randn(4, 5, 8, dtype=torch.float64))
    assert answer.loc.shape == (4, 5, 3)
    assert (answer.df > 2).all()
    y = torch.randn(4, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(
        answer.log_prob(y), torch.distributions.StudentT(*answer).log_prob(y)
    )
    levels = [0.02, 0.1, 0.5, 0.7, 0.975]
    with torch.no_grad():
        known = stats.t.ppf(levels, *(part[..., None].numpy() for part in answer))
        found = answer.quantiles(levels)
        tails = stats.t.ppf(0.02, 3.0) / StudentT(*torch.tensor([3.0, 0.0, 1.0])).quantiles([0.02])
    torch.testing.assert_close(found, torch.from_numpy(known), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(tails, torch.ones(1), rtol=1e-4, atol=0)
    torch.testing.assert_close(found[..., 2], answer.loc)
    answer.log_prob(y).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
