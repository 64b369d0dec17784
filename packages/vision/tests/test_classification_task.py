import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.training import AdamW, DataModule
from headway.core.training.confusion import confusion_figure
from headway.vision.data.batch_augmentation import PadCropFlip
from headway.vision.data.digits import Digits
from headway.vision.figures import prediction_grid
from headway.vision.metrics.per_class import per_class
from headway.vision.models import ViT
from headway.vision.tasks.classification import ImageClassification
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.mixing import Mixing


def trainer(path: Path, **options) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=path,
        **options,
    )


def linear(classes: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))


class Table(DataModule):
    """Pictures whose first pixels are the logits that ``Echo`` answers with."""

    def __init__(self, logits: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
        super().__init__(batch_size=2)
        self.num_classes = len(classes)
        self.classes = list(classes)
        self.val_set = self.test_set = TensorDataset(logits, labels)

    def preprocessing(self) -> dict:
        return {"classes": self.classes}


def test_scores_equal_a_hand_computation(tmp_path: Path) -> None:
    # Truth a a a b b c; predictions a a b b c c.
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    predictions = torch.tensor([0, 0, 1, 1, 2, 2])
    logits = 5 * nn.functional.one_hot(predictions, 3).float()
    task = ImageClassification(backbone=nn.Identity(), optimizer=AdamW(lr=1e-3))
    data = Table(logits, labels, "abc")
    found = trainer(tmp_path).test(task, data, verbose=False)[0]
    assert found["test_top1"] == pytest.approx(4 / 6)
    f1 = [2 * 2 / (3 + 2), 2 * 1 / (2 + 2), 2 * 1 / (1 + 2)]
    assert found["test_macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["test_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels).item())
    assert "test_top5" not in found
    rows = list(csv.DictReader((tmp_path / "pictures" / "test_per_class.csv").open()))
    assert [row["class"] for row in rows] == ["a", "b", "c"]
    assert [float(row["recall"]) for row in rows] == pytest.approx([2 / 3, 1 / 2, 1], abs=1e-6)
    assert [float(row["precision"]) for row in rows] == pytest.approx([1, 1 / 2, 1 / 2])
    assert [float(row["f1"]) for row in rows] == pytest.approx(f1, abs=1e-6)
    assert [row["most_confused_with"] for row in rows] == ["b", "c", ""]
    assert (tmp_path / "pictures" / "test_confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_first_batch_without_a_mistake_does_not_tie_scores_together(tmp_path: Path) -> None:
    perfect = 5 * torch.eye(10)
    # Right at the third place.
    third = perfect + 6 * torch.eye(10).roll(1, 0) + 7 * torch.eye(10).roll(2, 0)
    data = Table(torch.cat([perfect, third]), torch.arange(10).repeat(2), "0123456789")
    task = ImageClassification(backbone=nn.Identity(), optimizer=AdamW(lr=1e-3))
    found = trainer(tmp_path).test(task, data, verbose=False)[0]
    assert found["test_top1"] == pytest.approx(0.5)
    assert found["test_top5"] == pytest.approx(1.0)


def test_top5_counts_labels_among_the_first_five(tmp_path: Path) -> None:
    logits = torch.arange(10.0, 0, -1).repeat(10, 1)
    task = ImageClassification(backbone=nn.Identity(), optimizer=AdamW(lr=1e-3))
    data = Table(logits, torch.arange(10), [str(k) for k in range(10)])
    found = trainer(tmp_path).validate(task, data, verbose=False)[0]
    assert (found["val_top1"], found["val_top5"]) == (pytest.approx(0.1), pytest.approx(0.5))
    assert (tmp_path / "pictures" / "val_confusion.png").exists()


def test_several_labels_are_scored_one_by_one(tmp_path: Path) -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0], [-2.0, 2.0, 2.0], [2.0, 2.0, -2.0], [-2.0, 2.0, 2.0]])
    labels = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]])
    task = ImageClassification(backbone=nn.Identity(), optimizer=AdamW(lr=1e-3), multi_label=True)
    data = Table(logits, labels, "abc")
    found = trainer(tmp_path).test(task, data, verbose=False)[0]
    assert found["test_macro_f1"] == pytest.approx((1 + 4 / 5 + 6 / 7) / 3, abs=1e-5)
    task.trainer = trainer(tmp_path)
    assert task.predict_step(logits, 0).sum(1).max() > 1


@pytest.mark.learns
def test_a_small_vit_learns_the_digits(tmp_path: Path, seed: int, measured) -> None:
    """Worst of seeds 0 to 4: 0.78; chance is 0.1."""
    lightning.seed_everything(seed, verbose=False)
    patches = partial(PatchEmbedding, patch=2)
    model = ViT(image_size=8, num_classes=10, dim=48, depth=2, heads=3, embedding=patches)
    task = ImageClassification(backbone=model, optimizer=AdamW(lr=3e-3))
    run = trainer(tmp_path, max_epochs=5)
    run.fit(task, Digits(batch_size=32))
    measured("top1", run.callback_metrics["val_top1"], above=0.4)
    assert (tmp_path / "pictures" / "val_per_class.csv").exists()


class Two(NamedTuple):
    logits: Tensor
    distillation_logits: Tensor


class TwoHeads(nn.Module):
    num_classes = 10

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(192, 10), nn.Linear(192, 10)

    def forward(self, images: Tensor) -> Tensor | Two:
        x = images.flatten(1)
        if self.training:
            return Two(self.first(x), self.second(x))
        return (self.first(x) + self.second(x)) / 2


@pytest.mark.parametrize("taught", [False, True])
def test_both_heads_of_a_distilled_model_learn(tmp_path: Path, taught: bool) -> None:
    teacher = linear()
    model = TwoHeads()
    task = ImageClassification(
        backbone=model,
        optimizer=AdamW(lr=1e-3),
        distillation=Distillation(teacher=teacher) if taught else None,
    )
    before = [p.clone() for p in (*teacher.parameters(), *model.parameters())]
    trainer(tmp_path, max_steps=2).fit(task, Digits())
    after = [*teacher.parameters(), *model.parameters()]
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False] * 2 + [True] * 4
    assert not any("teacher" in name or "distillation" in name for name in task.state_dict())


def test_mixing_and_augmentation_train_to_the_same_weights_again(tmp_path: Path) -> None:
    def weights() -> Tensor:
        lightning.seed_everything(3, verbose=False)
        task = ImageClassification(
            backbone=linear(), optimizer=AdamW(lr=1e-2), mix=Mixing(), label_smoothing=0.1
        )
        trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0).fit(
            task, Digits(augment=PadCropFlip(padding=1), seed=3)
        )
        return task.backbone[1].weight.detach()  # pyright: ignore

    assert torch.equal(weights(), weights())


def test_wrong_numbers_of_classes_are_named(tmp_path: Path) -> None:
    model = TwoHeads()
    model.num_classes = 7  # pyright: ignore
    task = ImageClassification(backbone=model, optimizer=AdamW(lr=1e-3))
    with pytest.raises(UserError, match="10 classes and the model answers for 7; set the model's"):
        trainer(tmp_path, max_steps=1).fit(task, Digits())
    task = ImageClassification(backbone=linear(), optimizer=AdamW(lr=1e-3), class_weights=[1, 2])
    with pytest.raises(UserError, match="2 values for 10 classes"):
        trainer(tmp_path, max_steps=1).fit(task, Digits())
    loader = DataLoader(TensorDataset(torch.zeros(2, 192), torch.zeros(2).long()))
    task = ImageClassification(backbone=linear(), optimizer=AdamW(lr=1e-3))
    with pytest.raises(UserError, match="neither the data module nor the backbone"):
        trainer(tmp_path, max_steps=1).fit(task, loader)


def test_a_class_that_never_occurs_has_no_nan() -> None:
    rows = per_class(torch.tensor([[3, 0], [0, 0]]), "ab")
    assert rows[1] == {
        "class": "b", "pictures": 0, "recall": 0.0, "precision": 0.0, "f1": 0.0, "most_confused_with": "",
    }  # fmt: skip


def test_pictures_are_drawn_for_few_and_many_classes() -> None:
    for classes in (2, 60):
        figure = confusion_figure(torch.eye(classes).long(), [str(k) for k in range(classes)])
        assert len(figure.axes) == 1
    images = torch.rand(5, 3, 8, 8)
    figure = prediction_grid(images, list("abcab"), list("abbab"), torch.rand(5, 2, 2), columns=3)
    # Five pictures alone and five under a heat map; the other axes stay empty.
    assert sorted(len(axes.images) for axes in figure.axes if axes.images) == [1] * 5 + [2] * 5
    colours = {axes.get_title(): axes.title.get_color() for axes in figure.axes if axes.get_title()}
    assert colours["c (is b)"] == "tab:red"
    assert colours["a"] == "tab:green"
    prediction_grid(torch.rand(2, 1, 8, 8), list("ab"), probabilities=[0.5, 1.0])
