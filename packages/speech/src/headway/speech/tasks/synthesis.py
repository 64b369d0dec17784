"""Training of synthesisers."""

from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from headway.core.files import save_figure
from headway.core.training import Passed, TrainingOptions
from headway.speech.batch import SpeechBatch
from headway.speech.figures import synthesis_figure
from headway.speech.synthesiser import Synthesiser
from headway.speech.tasks.speech_task import SpeechTask


class Synthesis(SpeechTask):
    """Trains a synthesiser to speak.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, each with its parts. The run's
    ``pictures`` folder gets a recording beside what the model makes of its text, with the durations.

    Args:
        backbone: A synthesiser.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``SpeechBatch`` of samples.
    """

    monitor = "val_mel_loss"

    def __init__(self, *, backbone: Synthesiser, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)
        # Samples and tokens of the first recording of a validation or test.
        self._shown: tuple[Tensor, Tensor] | None = None

    @property
    def model(self) -> Synthesiser:
        """The synthesiser."""
        assert isinstance(self.backbone, Synthesiser)
        return self.backbone

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        losses = self.model.loss(batch)
        self.log_losses("train", losses, batch, on_step=False, on_epoch=True)
        return self.with_penalties(losses["loss"])

    def validation_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the losses."""
        self._score(batch, "val")

    def test_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the losses."""
        self._score(batch, "test")

    def _score(self, batch: SpeechBatch, split: str) -> None:
        self.log_losses(split, self.model.loss(batch), batch)
        if self._shown is None:
            samples, tokens = int(batch.lengths[0]), int(batch.target_lengths[0])
            self._shown = (batch.inputs[0, :samples], batch.targets[0, :tokens])

    def draw(self, split: str) -> None:
        """Draws a recording beside what the model makes of its text."""
        folder = self.pictures
        if self._shown is None or folder is None:
            return
        model, (waveform, tokens) = self.model.eval(), self._shown
        said = model.tokenizer.decode(tokens.tolist())
        figure = synthesis_figure(model, waveform, tokens, said)
        save_figure(figure, folder / f"{split}_synthesis.png")
