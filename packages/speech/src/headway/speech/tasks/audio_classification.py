"""Training of what tells classes of recordings."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.core.training.confusion import confusion_figure
from headway.speech.audio_batch import AudioBatch
from headway.speech.audio_classifier import AudioClassifier
from headway.speech.data.audio_data import AudioData
from headway.speech.front_ends import SpecAugment, featured


class AudioClassification(Task):
    """Trains a classifier of recordings.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss`` and ``accuracy``. The run's ``pictures``
    folder gets the confusion matrix. Before training the model takes the classes of the data, unless they
    are its own already, and its front end measures what it needs on training recordings.

    Args:
        backbone: An ``AudioClassifier``.
        augment: Masks parts of the features in training.
        label_smoothing: Share of the target that is spread evenly.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is an ``AudioBatch`` of samples.
    """

    monitor = "val_accuracy"
    monitor_mode = "max"

    def __init__(
        self,
        *,
        backbone: AudioClassifier,
        augment: SpecAugment | None = None,
        label_smoothing: float = 0.0,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing is {label_smoothing}; it lies in 0..1")
        self.augment, self.label_smoothing = augment, label_smoothing
        self.scores, self.confusion = nn.ModuleDict(), nn.ModuleDict()
        self._begun: tuple[str, ...] = ()

    @property
    def model(self) -> AudioClassifier:
        """The classifier."""
        assert isinstance(self.backbone, AudioClassifier)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model take the classes and the statistics of the data, and the data its sample rate."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, AudioData):
            raise UserError("AudioClassification needs a data module of recordings with classes")
        data.use(self.model)
        if data.classes != self.model.classes:
            # A run may begin with other classes; its checkpoint, read later, says which it learned.
            self._begun = self.model.classes if stage != "fit" else ()
            self.model.set_classes(data.classes)
        if stage == "fit" and not self.model.front_end.complete:
            self.model.front_end.measure(data.recordings())
        for split in ("val", "test"):
            number = len(data.classes)
            self.scores[split] = MulticlassAccuracy(number, average="micro")
            self.confusion[split] = MulticlassConfusionMatrix(number)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the classes."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["classes"] = list(self.model.classes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other classes.

        Raises:
            UserError: If they are not those of the data.
        """
        known = tuple(checkpoint.get("classes", self.model.classes))
        if known != self.model.classes:
            raise UserError(_differ(self.model.classes, known))
        self._begun = ()
        super().on_load_checkpoint(checkpoint)

    def training_step(self, batch: AudioBatch, index: int) -> Tensor:
        """Returns the loss."""
        logits = self._logits(batch, self.augment)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        size = len(batch.labels)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return self.with_penalties(loss)

    def validation_step(self, batch: AudioBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: AudioBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: AudioBatch, index: int) -> Tensor:
        """Returns the probabilities of the classes, (B, classes)."""
        return self.model.hear(batch.inputs, batch.lengths)

    def on_validation_epoch_start(self) -> None:
        """Forgets the confusion of the last validation."""
        self._start("val")

    def on_test_epoch_start(self) -> None:
        """Forgets the confusion of the last test."""
        self._start("test")

    def draw(self, split: str) -> None:
        """Draws the confusion matrix."""
        if split not in self.confusion or not self._matrix(split).update_called:
            return
        matrix = self._matrix(split).compute().cpu()
        if self.pictures is not None:
            figure = confusion_figure(matrix, self.model.classes, split)
            save_figure(figure, self.pictures / f"{split}_confusion.png")

    def _logits(self, batch: AudioBatch, augment: SpecAugment | None = None) -> Tensor:
        heard = featured(self.model.front_end, batch, augment)
        return self.model(heard.inputs, heard.lengths)

    def _score(self, batch: AudioBatch, split: str) -> None:
        logits, size = self._logits(batch), len(batch.labels)
        metric: Any = self.scores[split]
        metric.update(logits, batch.labels)
        self._matrix(split).update(logits, batch.labels)
        loss = F.cross_entropy(logits, batch.labels)
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=size)
        self.log(f"{split}_accuracy", metric, prog_bar=True, batch_size=size)

    def _start(self, split: str) -> None:
        """Forgets the last confusion.

        Raises:
            UserError: If nothing was learned about the classes of the data.
        """
        if self._begun:
            raise UserError(_differ(self.model.classes, self._begun))
        self._matrix(split).reset()

    def _matrix(self, split: str) -> Any:
        return self.confusion[split]


def _differ(data: Sequence[str], model: Sequence[str]) -> str:
    return (
        f"the data have the classes {', '.join(data):.80} and the model {', '.join(model):.80}; "
        "give it data of its own classes"
    )
