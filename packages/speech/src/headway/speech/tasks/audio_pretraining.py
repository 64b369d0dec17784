"""Training of classifiers of recordings before there are classes."""

from lightning.pytorch.utilities.types import STEP_OUTPUT

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.speech.audio_batch import AudioBatch
from headway.speech.data.audio_data import AudioData
from headway.speech.front_ends import featured
from headway.speech.models.asit import ASiT
from headway.speech.tasks.log_losses import log_losses


class AudioPretraining(Task):
    """Trains an ``ASiT``, which reads no classes; its ``loss`` gets features.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, and their parts. The run starts a
    classifier (``headway.speech.models.pretrained_classifier``).

    Args:
        backbone: The model.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is an ``AudioBatch`` of samples.
    """

    def __init__(self, *, backbone: ASiT, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)

    @property
    def model(self) -> ASiT:
        """The model."""
        assert isinstance(self.backbone, ASiT)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Gives the data the model's sample rate, and the model the statistics of the data."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, AudioData):
            raise UserError(
                "AudioPretraining needs a data module of recordings, such as AudioFolder"
            )
        data.use(self.model.classifier)
        if stage == "fit" and not self.model.front_end.complete:
            self.model.front_end.measure(data.recordings())

    def training_step(self, batch: AudioBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        losses = self._losses(batch, "train", on_step=False, on_epoch=True)
        return self.with_penalties(losses["loss"])

    def on_train_batch_end(self, outputs: object, batch: AudioBatch, batch_idx: int) -> None:
        """Lets the teacher follow."""
        self.model.follow()

    def validation_step(self, batch: AudioBatch, index: int) -> None:
        """Adds a batch to the loss."""
        self._losses(batch, "val")

    def test_step(self, batch: AudioBatch, index: int) -> None:
        """Adds a batch to the loss."""
        self._losses(batch, "test")

    def _losses(self, batch: AudioBatch, split: str, **options: bool) -> dict:
        losses = self.model.loss(featured(self.model.front_end, batch))
        log_losses(self, split, losses, len(batch.labels), **options)
        return losses
