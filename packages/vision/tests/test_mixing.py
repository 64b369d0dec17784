import pytest
import torch
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.tasks.mixing import Mixing


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    # Picture i is the constant i, so that pixels show their share.
    images = torch.arange(8.0)[:, None, None, None].expand(8, 3, 16, 16).contiguous()
    return images, F.one_hot(torch.arange(8), 8).float()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
@pytest.mark.parametrize("seed", range(8))
def test_targets_sum_to_one_and_follow_the_pixels(kind: str, seed: int) -> None:
    images, targets = batch()
    before = images.clone()
    mixing = Mixing(mixup=1.0, cutmix=0.0) if kind == "mixup" else Mixing(mixup=0.0, cutmix=1.0)
    torch.manual_seed(seed)
    mixed, probabilities = mixing(images, targets)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(8))
    # The mean pixel of a picture is the mean of its sources, weighted by their targets.
    expected = probabilities @ torch.arange(8.0)
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected, atol=1e-4, rtol=0)
    assert torch.equal(images, before)
    if kind == "cutmix":
        assert set(mixed.unique().tolist()) <= set(range(8))


def test_the_share_follows_the_beta_distribution() -> None:
    torch.manual_seed(0)
    images, targets = batch()
    shares = [Mixing(mixup=0.2, cutmix=0)(images, targets)[1][0, 0].item() for _ in range(400)]
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
    found = torch.tensor(shares)
    assert abs(found.mean() - 0.5) < 0.05
    assert abs(found.var() - 1 / (4 * 1.4)) < 0.03


def test_probability_and_switch_are_kept() -> None:
    torch.manual_seed(0)
    images, targets = batch()
    mixing = Mixing(mixup=1.0, cutmix=1.0, probability=0.5, switch=0.2)
    results = [mixing(images, targets)[0] for _ in range(400)]
    mixed = [r for r in results if not torch.equal(r, images)]
    cut = [r for r in mixed if torch.equal(r, r.round())]
    assert 0.4 < len(mixed) / 400 < 0.6
    assert 0.1 < len(cut) / len(mixed) < 0.3


@pytest.mark.parametrize("wrong", [{"mixup": 0, "cutmix": 0}, {"mixup": -1}, {"probability": 1.1}])
def test_wrong_values_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        Mixing(**wrong)
