"""Training of encoders from speech alone."""

from lightning.pytorch.utilities.types import STEP_OUTPUT

from headway.core.training import Passed, TrainingOptions
from headway.speech.batch import SpeechBatch
from headway.speech.speech_model import SpeechModel
from headway.speech.tasks.speech_task import SpeechTask


class SpeechPretraining(SpeechTask):
    """Trains a model that needs no texts; its ``loss`` gets features.

    It logs ``train_loss`` and ``loss`` of ``val`` and ``test``. The run's encoder starts a recogniser
    (``headway.speech.models.pretrained_encoder``).

    Args:
        backbone: The model.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``SpeechBatch`` of samples.
    """

    def __init__(self, *, backbone: SpeechModel, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        losses = self.model.loss(self.heard(batch))
        self.log_losses("train", losses, batch, on_step=False, on_epoch=True)
        return self.with_penalties(losses["loss"])

    def validation_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the loss."""
        self._score(batch, "val")

    def test_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the loss."""
        self._score(batch, "test")

    def _score(self, batch: SpeechBatch, split: str) -> None:
        self.log_losses(split, self.model.loss(self.heard(batch)), batch)
