"""The distillation token: two answers in training, their mean in evaluation."""

import pytest
import torch
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.models import DistilledLogits, DistilledViT, create_model
from headway.vision.models.vit_distilled import ViT


def model(seed: int = 0) -> DistilledViT:
    torch.manual_seed(seed)
    return DistilledViT(image_size=32, num_classes=4, dim=24, depth=2, heads=2)


def test_training_returns_both_logits_and_evaluation_their_mean() -> None:
    vit, images = model(), torch.randn(2, 3, 32, 32)
    both = vit.train()(images)
    assert isinstance(both, DistilledLogits)
    assert not torch.allclose(both.logits, both.distillation_logits)
    torch.testing.assert_close(vit.eval()(images), (both.logits + both.distillation_logits) / 2)


def test_the_distillation_head_reads_the_distillation_token_alone() -> None:
    vit = model()
    tokens = torch.randn(2, 6, 24, requires_grad=True)
    both = vit.both(tokens, None)
    (gradient,) = torch.autograd.grad(both.distillation_logits.sum(), tokens, retain_graph=True)
    assert gradient[:, 1].abs().sum() > 0
    assert gradient[:, [0, 2, 3, 4, 5]].abs().sum() == 0


@pytest.mark.learns
def test_a_teacher_moves_the_distillation_answer_away_from_the_labels(seed: int, measured) -> None:
    """What the second token learns is the teacher's answer, not the label's.

    Worst of seeds 0 to 4, with the C++ kernels and without: both tokens are always right; by chance 0.25.
    """
    vit, images = model(seed), torch.randn(16, 3, 32, 32)
    labels = torch.arange(16) % 4
    teacher = (labels + 1) % 4
    optimizer = torch.optim.Adam(vit.parameters(), lr=3e-3)
    for _ in range(60):
        both = vit.train()(images)
        loss = F.cross_entropy(both.logits, labels) + F.cross_entropy(
            both.distillation_logits, teacher
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    both = vit.train()(images)
    measured("labels", (both.logits.argmax(1) == labels).float().mean(), above=0.75)
    taught = (both.distillation_logits.argmax(1) == teacher).float().mean()
    measured("teacher", taught, above=0.75)


def test_reset_replaces_both_classifiers() -> None:
    vit = create_model("deit_tiny_distilled_patch16_224", img_size=32)
    assert isinstance(vit, ViT)
    vit.reset_classifier(3)
    assert vit.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 3)


def test_tokens_without_a_distillation_token_are_refused() -> None:
    from headway.vision.layers import ImageTokens

    with pytest.raises(UserError, match="distillation_token"):
        DistilledViT(image_size=32, tokens=ImageTokens)
