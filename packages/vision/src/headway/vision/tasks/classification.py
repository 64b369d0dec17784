"""Image classification: labels, mixed labels, several labels at once, and a teacher."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MultilabelAveragePrecision,
    MultilabelF1Score,
)

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import (
    Passed,
    Task,
    TrainingOptions,
    score_collection,
)
from headway.core.training.confusion import confusion_figure
from headway.vision.metrics.per_class import write_per_class
from headway.vision.tasks.distillation import Distillation
from headway.vision.tasks.losses import ClassificationLoss
from headway.vision.tasks.mixing import Mixing


class ImageClassification(Task):
    """Trains ``backbone(images) -> logits``.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, ``top1``, ``top5`` and ``macro_f1``
    (with several labels ``macro_f1`` and ``average_precision``). The run's ``pictures`` folder gets the
    confusion matrix of the last validation and of the test, as a picture and as scores of each class.

    Args:
        backbone: An image classifier.
        loss: ``cross_entropy``, or ``binary``: one decision per class.
        label_smoothing: Share of the target that is spread evenly.
        class_weights: Weight of each class, in the order of the labels.
        multi_label: A picture has any number of labels, (B, K) of 0 and 1; implies ``binary``.
        mix: Mixup and CutMix.
        distillation: A teacher.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is images (B, C, H, W) and labels (B,), or (B, K) with several labels.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        loss: Literal["cross_entropy", "binary"] = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        multi_label: bool = False,
        mix: Mixing | None = None,
        distillation: Distillation | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.loss = ClassificationLoss(
            kind="binary" if multi_label else loss,
            label_smoothing=label_smoothing,
            class_weights=None if class_weights is None else tuple(class_weights),
        )
        self.multi_label = multi_label
        self.monitor = "val_macro_f1" if multi_label else "val_top1"
        self.monitor_mode = "max"
        self.mix = mix
        self.distillation = distillation
        self.num_classes: int | None = None
        self.scores = nn.ModuleDict()
        self.confusion = nn.ModuleDict()

    def setup(self, stage: str) -> None:
        """Makes the metrics, for as many classes as the data have."""
        super().setup(stage)
        known = getattr(self.backbone, "num_classes", None)
        data = getattr(getattr(self.trainer, "datamodule", None), "num_classes", None)
        if known is not None and data is not None and known != data:
            raise UserError(
                f"the data have {data} classes and the model answers for {known}; "
                f"set the model's num_classes to {data}"
            )
        self.num_classes = data if data is not None else known
        if self.num_classes is None:
            raise UserError("neither the data module nor the backbone has num_classes")
        if self.loss.weights is not None and len(self.loss.weights) != self.num_classes:
            raise UserError(
                f"class_weights has {len(self.loss.weights)} values for {self.num_classes} classes"
            )
        for split in ("val", "test"):
            self.scores[split] = _metrics(self.num_classes, self.multi_label, f"{split}_")
            if not self.multi_label:
                self.confusion[split] = MulticlassConfusionMatrix(self.num_classes)

    def on_fit_start(self) -> None:
        """Puts the teacher where the pictures will be."""
        super().on_fit_start()
        if self.distillation is not None:
            self.distillation.prepare(self.preprocessing(), self.device)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the loss of labels and teacher."""
        images, targets = batch
        if self.mix is not None:
            images, targets = self.mix(images, self._probabilities(targets))
        logits, distilled = _heads(self.backbone(images))
        loss = self._label_loss(logits, distilled, targets)
        if self.distillation is not None:
            loss = self.distillation(images, logits if distilled is None else distilled, loss)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return self.with_penalties(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: Any, index: int) -> Tensor:
        """Returns the probabilities of the classes, (B, K)."""
        images = batch[0] if isinstance(batch, tuple | list) else batch
        logits, _ = _heads(self.backbone(images))
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=-1)

    def on_validation_epoch_start(self) -> None:
        """Forgets the confusion of the last validation."""
        self._forget("val")

    def on_test_epoch_start(self) -> None:
        """Forgets the confusion of the last test."""
        self._forget("test")

    def draw(self, split: str) -> None:
        """Draws the confusion matrix, and writes the scores of each class."""
        if split not in self.confusion or not self._matrix(split).update_called:
            return
        # On every process: what each has seen is put together.
        matrix = self._matrix(split).compute().cpu()
        folder = self.pictures
        if folder is None:
            return
        classes = self.preprocessing().get("classes") or [str(k) for k in range(len(matrix))]
        write_per_class(folder / f"{split}_per_class.csv", matrix, classes)
        save_figure(confusion_figure(matrix, classes, split), folder / f"{split}_confusion.png")

    def preprocessing(self) -> dict[str, Any]:
        """Returns what the data module says, and whether every class is decided for itself."""
        found = super().preprocessing()
        return {**found, "multi_label": True} if self.multi_label else found

    def _probabilities(self, labels: Tensor) -> Tensor:
        assert self.num_classes is not None
        return labels if labels.ndim == 2 else F.one_hot(labels, self.num_classes).float()

    def _label_loss(self, logits: Tensor, distilled: Tensor | None, targets: Tensor) -> Tensor:
        loss = self.loss(logits, targets)
        if distilled is None or self.distillation is not None:
            return loss
        # Without a teacher the second head learns the labels too: the mean of both is what predicts.
        return (loss + self.loss(distilled, targets)) / 2

    def _score(self, batch: tuple[Tensor, Tensor], split: str) -> None:
        images, labels = batch
        logits, _ = _heads(self.backbone(images))
        metrics: Any = self.scores[split]
        metrics.update(logits, labels.int() if self.multi_label else labels)
        if split in self.confusion:
            self._matrix(split).update(logits, labels)
        self.log(f"{split}_loss", self.loss(logits, labels), prog_bar=True, batch_size=len(images))
        self.log_dict(metrics, prog_bar=True, batch_size=len(images))

    def _matrix(self, split: str) -> Metric:
        return self.confusion[split]  # pyright: ignore[reportReturnType]

    def _forget(self, split: str) -> None:
        if split in self.confusion:
            self._matrix(split).reset()


def _heads(output: Any) -> tuple[Tensor, Tensor | None]:
    """Splits what a classifier returned into its logits and those of a distillation head."""
    if isinstance(output, Tensor):
        return output, None
    return output.logits, getattr(output, "distillation_logits", None)


def _metrics(classes: int, multi_label: bool, prefix: str) -> nn.Module:
    if multi_label:
        scores: dict[str, Metric] = {
            "macro_f1": MultilabelF1Score(classes),
            "average_precision": MultilabelAveragePrecision(classes),
        }
    else:
        scores = {
            "top1": MulticlassAccuracy(classes, average="micro"),
            "macro_f1": MulticlassF1Score(classes),
        }
        if classes > 5:
            scores["top5"] = MulticlassAccuracy(classes, top_k=5, average="micro")
    return score_collection(scores, prefix=prefix)
