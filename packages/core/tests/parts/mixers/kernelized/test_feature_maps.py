import pytest
import torch

from headway.core.errors import UserError
from headway.core.mixers import LinearAttention, RandomFeatures, SelfAttention
from headway.core.mixers.kernelized.feature_maps import orthogonal_gaussians


def estimates(maps: int, features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernels estimated by so many maps, (maps, N, N), and what they estimate."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 6, 8).double() * 0.7
    found = []
    for _ in range(maps):
        features_of = RandomFeatures(8, features=features)
        found.append(features_of(query) @ features_of(key).T)
    return torch.stack(found), (query @ key.T / 8**0.5).exp()


def test_products_of_random_features_are_the_softmax_kernel_on_average() -> None:
    found, wanted = estimates(4000, 4)
    error = (found.mean(dim=0) - wanted) / (found.std(dim=0) / 4000**0.5)
    # In units of the standard error of the mean: 36 numbers, each within 4.5.
    assert error.abs().max() < 4.5
    # Were it biased by a tenth, it would show.
    assert (wanted * 0.1 / (found.std(dim=0) / 4000**0.5)).max() > 6


def test_more_features_estimate_better_and_orthogonal_ones_better_than_independent() -> None:
    few, many = estimates(300, 8)[0].var(dim=0), estimates(300, 64)[0].var(dim=0)
    assert (many / few).mean() < 0.25
    torch.manual_seed(1)
    x = torch.randn(2, 8).double() * 0.5
    orthogonal, independent = [], []
    for _ in range(2000):
        for found, directions in (
            (orthogonal, orthogonal_gaussians(8, 8)),
            (independent, torch.randn(8, 8)),
        ):
            features = (x @ directions.double().T / 8**0.5).exp()
            found.append((features[0] * features[1]).mean())
    assert torch.stack(orthogonal).var() < torch.stack(independent).var()


def test_the_features_are_saved_and_never_drawn_again() -> None:
    torch.manual_seed(2)
    mixer = LinearAttention(16, 2, feature_map=RandomFeatures)
    x = torch.randn(1, 5, 16)
    first = mixer.train()(x)
    assert torch.equal(mixer(x), first)
    other = LinearAttention(16, 2, feature_map=RandomFeatures)
    assert not torch.equal(other(x), first)
    other.load_state_dict(mixer.state_dict())
    assert torch.equal(other(x), first)


@pytest.mark.parametrize("causal", [False, True])
def test_with_many_features_it_is_softmax_attention(causal: bool) -> None:
    torch.manual_seed(3)

    def feature_map(head_dim: int) -> RandomFeatures:
        return RandomFeatures(head_dim, features=20_000)

    mixer = LinearAttention(16, 2, causal=causal, feature_map=feature_map)
    dense = SelfAttention(16, 2, causal=causal)
    dense.load_state_dict(mixer.state_dict(), strict=False)
    x = torch.randn(1, 7, 16)
    softmax = dense(x)
    assert (mixer(x) - softmax).abs().max() < 0.02
    # Another feature map is not within it.
    plain = LinearAttention(16, 2, causal=causal)
    plain.load_state_dict(dense.state_dict(), strict=False)
    assert (plain(x) - softmax).abs().max() > 0.04


def test_no_features_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1, got 0"):
        RandomFeatures(8, features=0)
