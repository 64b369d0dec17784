"""Training of recognisers."""

import logging
from typing import Any

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torchmetrics.text import CharErrorRate, WordErrorRate

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import (
    Passed,
    Task,
    TrainingOptions,
    score_collection,
)
from headway.speech.batch import SpeechBatch
from headway.speech.data.speech_data import SpeechData
from headway.speech.figures import transcription_figure
from headway.speech.front_ends import SpecAugment
from headway.speech.hypothesis import Hypothesis
from headway.speech.recogniser import Recogniser
from headway.speech.search import Search

log = logging.getLogger(__name__)


class Transcription(Task):
    """Trains a recogniser, whatever its objective, to write down what is said.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss`` and its parts, ``wer`` and ``cer``: word
    and character error rates of greedy search, errors of all recordings over words (characters) of all.
    The run's ``pictures`` folder gets the spectrogram of one recording with what was heard where.

    Before training the vocabulary of the model grows by what the training texts hold, and its front end
    measures what it needs on training recordings.

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
        """Lets the model take the vocabulary and the statistics of the data, and the data its tokens."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SpeechData):
            raise UserError("Transcription needs a data module of recordings with texts")
        self._grow(data)
        if stage == "fit" and not self.model.front_end.complete:
            rate = self.model.front_end.sample_rate
            self.model.front_end.measure(data.recordings(rate))
        data.use(self.model)
        for split in ("val", "test"):
            self.scores[split] = score_collection(
                {"wer": WordErrorRate(), "cer": CharErrorRate()}, prefix=f"{split}_"
            )

    def _grow(self, data: SpeechData) -> None:
        """Gives the model the tokens of the training texts that it lacks."""
        tokenizer = self.model.tokenizer
        if not tokenizer.grows:
            return
        tokens = {token for text in data.texts() for token in tokenizer.split(text)}
        if new := tokenizer.lacking(tokens):
            shown = " ".join(map(repr, new[:50]))
            log.info("the vocabulary grows by %d tokens: %s", len(new), shown)
            self.model.set_vocabulary((*tokenizer.vocabulary, *new))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the vocabulary."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["vocabulary"] = list(self.model.tokenizer.vocabulary)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the vocabulary of the checkpoint, whatever the texts of these data hold."""
        vocabulary = tuple(checkpoint.get("vocabulary", self.model.tokenizer.vocabulary))
        if vocabulary != self.model.tokenizer.vocabulary:
            self.model.set_vocabulary(vocabulary)
            data = getattr(self._trainer, "datamodule", None)
            if isinstance(data, SpeechData):
                data.use(self.model)
        super().on_load_checkpoint(checkpoint)

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        losses = self.model.loss(self._heard(batch, self.augment))
        self._log_losses("train", losses, batch, on_step=False, on_epoch=True)
        return losses["loss"]

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

    def _heard(self, batch: SpeechBatch, augment: SpecAugment | None = None) -> SpeechBatch:
        """Returns the batch with features in the place of samples."""
        with torch.no_grad():
            inputs, lengths = self.model.front_end(batch.inputs, batch.lengths)
            if augment is not None:
                inputs = augment(inputs, lengths)
        return batch._replace(inputs=inputs, lengths=lengths)

    def _score(self, batch: SpeechBatch, split: str) -> None:
        model, batch = self.model, self._heard(batch)
        losses = model.loss(batch)
        search = Search(curves=self._shown is None)
        found = model.transcribe(model.encode(batch.inputs, batch.lengths), search=search)
        heard = [model.tokenizer.decode(one.tokens) for one in found]
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        said = [model.tokenizer.decode(tokens[:length]) for tokens, length in targets]
        if self._shown is None:
            inputs = batch.inputs[0, : int(batch.lengths[0])]
            self._shown = (inputs.detach().cpu(), found[0], said[0])
        metrics: Any = self.scores[split]
        metrics.update(heard, said)
        self._log_losses(split, losses, batch, prog_bar=True)
        self.log_dict(metrics, prog_bar=True, batch_size=len(batch.lengths))

    def _log_losses(
        self, split: str, losses: dict[str, Tensor], batch: SpeechBatch, **options: bool
    ) -> None:
        for name, value in losses.items():
            shown = f"{split}_loss" if name == "loss" else f"{split}_{name}_loss"
            size = len(batch.lengths)
            options["prog_bar"] = name == "loss"
            self.log(shown, value, batch_size=size, **options)
