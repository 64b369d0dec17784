import pytest
import torch
from torch import nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.transforms import normalize
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.losses import ClassificationLoss

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 1, 1])
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


def test_smoothing_and_weights_equal_torch() -> None:
    found = ClassificationLoss(label_smoothing=0.1, class_weights=WEIGHTS)(LOGITS, LABELS)
    expected = nn.CrossEntropyLoss(torch.tensor(WEIGHTS), label_smoothing=0.1)(LOGITS, LABELS)
    torch.testing.assert_close(found, expected)


def test_hard_labels_and_their_probabilities_give_the_same_loss() -> None:
    soft = F.one_hot(LABELS, 4).float()
    for kind in ("cross_entropy", "binary"):
        loss = ClassificationLoss(kind=kind, label_smoothing=0.2)
        torch.testing.assert_close(loss(LOGITS, LABELS), loss(LOGITS, soft))


def test_binary_loss_equals_its_formula() -> None:
    targets = (torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    smoothed = targets * 0.9 + 0.05
    p = LOGITS.sigmoid()
    expected = -(torch.tensor(WEIGHTS) * smoothed * p.log() + (1 - smoothed) * (1 - p).log()).mean()
    loss = ClassificationLoss(kind="binary", label_smoothing=0.1, class_weights=WEIGHTS)
    torch.testing.assert_close(loss(LOGITS, targets), expected)


@pytest.mark.parametrize(
    "wrong", [{"kind": "hinge"}, {"label_smoothing": 1.0}, {"class_weights": (1.0, 0.0)}]
)
def test_wrong_losses_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        ClassificationLoss(**wrong)


class Teacher(nn.Module):
    """Answers with weighted channel means, and remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4)
        self.dropout = nn.Dropout(0.9)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = images
        return self.dropout(self.head(images.mean((2, 3))))


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def test_hard_distillation_is_the_mean_of_two_cross_entropies() -> None:
    teacher = Teacher()
    decision = teacher.eval()(IMAGES).argmax(1)
    found = Distillation(teacher=teacher)(IMAGES, LOGITS, torch.tensor(2.0))
    torch.testing.assert_close(found, 0.5 * 2.0 + 0.5 * F.cross_entropy(LOGITS, decision))


def test_soft_distillation_equals_its_formula() -> None:
    teacher, t = Teacher(), 3.0
    p = (teacher.eval()(IMAGES) / t).softmax(1)
    q = (LOGITS / t).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean() * t**2
    distillation = Distillation(teacher=teacher, kind="soft", temperature=t, alpha=0.7)
    found = distillation(IMAGES, LOGITS, torch.tensor(2.0))
    torch.testing.assert_close(found, 0.3 * 2.0 + 0.7 * divergence)


def test_the_teacher_is_frozen_and_sees_its_own_normalisation() -> None:
    teacher = Teacher()
    teacher.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.25,) * 3}  # pyright: ignore
    distillation = Distillation(teacher=teacher)
    data = Preprocessing(input_size=(3, 8, 8), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    teacher.train()
    distillation.prepare(data.as_dict(), torch.device("cpu"))
    pixels = torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    distillation.answers(normalize(pixels, data))
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    torch.testing.assert_close(teacher.seen, torch.full((2, 3, 16, 16), (200 / 255 - 0.5) / 0.25))


def test_a_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(UserError, match="4 classes and the student 7"):
        Distillation(teacher=Teacher())(IMAGES, torch.zeros(6, 7), torch.tensor(0.0))


@pytest.mark.parametrize("wrong", [{"alpha": 2}, {"temperature": 0}, {"kind": "warm"}])
def test_wrong_distillations_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError):
        Distillation(teacher=Teacher(), **wrong)
