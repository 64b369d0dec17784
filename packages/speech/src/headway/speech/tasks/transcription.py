"""Training of recognisers."""

from typing import Any

from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torchmetrics.text import CharErrorRate, WordErrorRate

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, TrainingOptions, score_collection
from headway.speech.batch import SpeechBatch
from headway.speech.figures import transcription_figure
from headway.speech.front_ends import SpecAugment
from headway.speech.hypothesis import Hypothesis
from headway.speech.recogniser import Recogniser
from headway.speech.search import Search
from headway.speech.tasks.speech_task import SpeechTask


class Transcription(SpeechTask):
    """Trains a recogniser, whatever its objective, to write down what is said.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss`` and its parts, ``wer`` and ``cer``: word
    and character error rates of greedy search, errors of all recordings over words (characters) of all.
    The run's ``pictures`` folder gets the spectrogram of one recording with what was heard where.

    Args:
        backbone: A recogniser.
        augment: Masks parts of the features in training.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``SpeechBatch`` of samples.
    """

    monitor = "val_wer"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: Recogniser,
        augment: SpecAugment | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if augment is not None and backbone.front_end.bands is None:
            raise UserError(
                "SpecAugment masks bands of a spectrum, and this model hears samples; set augment to null"
            )
        self.augment = augment
        self.scores = nn.ModuleDict()
        # Features, what was heard and what was said in the first recording of a validation or test.
        self._shown: tuple[Tensor, Hypothesis, str] | None = None

    @property
    def model(self) -> Recogniser:
        """The recogniser."""
        assert isinstance(self.backbone, Recogniser)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Brings model and data together, and makes the scores."""
        super().setup(stage)
        for split in ("val", "test"):
            self.scores[split] = score_collection(
                {"wer": WordErrorRate(), "cer": CharErrorRate()}, prefix=f"{split}_"
            )

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        losses = self.model.loss(self.heard(batch, self.augment))
        self.log_losses("train", losses, batch, on_step=False, on_epoch=True)
        return self.with_penalties(losses["loss"])

    def validation_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: SpeechBatch, index: int) -> list[str]:
        """Returns what was heard in each recording."""
        return [found.text for found in self.model.hear(batch.inputs, batch.lengths)]

    def on_validation_start(self) -> None:
        """Forgets which recording was to be drawn."""
        self._shown = None

    def on_test_start(self) -> None:
        """Forgets which recording was to be drawn."""
        self._shown = None

    def draw(self, split: str) -> None:
        """Draws a recording with what was heard."""
        folder = self.pictures
        if self._shown is None or folder is None:
            return
        inputs, heard, said = self._shown
        seconds = len(inputs) / self.model.front_end.rate
        figure = transcription_figure(inputs, heard, seconds=seconds, said=said)
        save_figure(figure, folder / f"{split}_transcription.png")

    def _score(self, batch: SpeechBatch, split: str) -> None:
        model, batch = self.model, self.heard(batch)
        encoded = model.encode(batch.inputs, batch.lengths)
        losses = model.loss(batch, encoded)
        found = model.transcribe(encoded, search=Search(curves=self._shown is None))
        heard = [model.tokenizer.decode(one.tokens) for one in found]
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        said = [model.tokenizer.decode(tokens[:length]) for tokens, length in targets]
        if self._shown is None:
            inputs = batch.inputs[0, : int(batch.lengths[0])]
            self._shown = (inputs.detach().cpu(), found[0], said[0])
        metrics: Any = self.scores[split]
        metrics.update(heard, said)
        self.log_losses(split, losses, batch)
        self.log_dict(metrics, prog_bar=True, batch_size=len(batch.lengths))
