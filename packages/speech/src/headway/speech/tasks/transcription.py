"""Speech recognition by connectionist temporal classification."""

from typing import Any

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.text import CharErrorRate, WordErrorRate

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import (
    Passed,
    Task,
    TrainingOptions,
    score_collection,
)
from headway.speech.data.batching import SpeechBatch
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.speech_data import SpeechData
from headway.speech.data.tokenizer import Tokenizer
from headway.speech.decoding import Hypothesis, greedy
from headway.speech.figures import transcription_figure
from headway.speech.models.ctc import CTCOutput


class Transcription(Task):
    """Trains ``backbone(inputs, lengths) -> log_probs, lengths`` with the CTC loss.

    It logs ``train_loss`` and, for ``val`` and ``test``, ``loss``, ``wer`` and ``cer``: word and character
    error rates of greedy decoding, errors of all recordings over words (characters) of all. The run's
    ``pictures`` folder gets the spectrogram of one recording with what was heard where.

    Args:
        backbone: A recogniser.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``SpeechBatch``.
    """

    monitor = "val_wer"
    monitor_mode = "min"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.tokenizer: Tokenizer | None = None
        self.scores = nn.ModuleDict()
        # Input, log-probabilities and text of the first recording of a validation or test.
        self._shown: tuple[Tensor, Tensor, str] | None = None

    @property
    def blank(self) -> int:
        """Entry of the vocabulary that stands for nothing."""
        return getattr(self.backbone, "blank", 0)

    def setup(self, stage: str) -> None:
        """Takes the vocabulary of the data and checks that the model has it."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SpeechData):
            raise UserError("Transcription needs a data module of recordings with texts")
        self.tokenizer = data.tokenizer
        known, found = getattr(self.backbone, "vocab_size", None), len(self.tokenizer.tokens)
        if known is not None and known != found:
            raise UserError(
                f"the data have a vocabulary of {found} entries (blank counted) and the model answers "
                f"for {known}; set the model's vocab_size to {found}"
            )
        if self.tokenizer.blank != self.blank:
            raise UserError(
                f"the vocabulary's blank is entry {self.tokenizer.blank}, the model's {self.blank}"
            )
        for split in ("val", "test"):
            self.scores[split] = score_collection(
                {"wer": WordErrorRate(), "cer": CharErrorRate()}, prefix=f"{split}_"
            )

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss."""
        loss = self._loss(self.backbone(batch.inputs, batch.lengths), batch)
        size = len(batch.lengths)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def validation_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: SpeechBatch, index: int) -> list[str]:
        """Returns what was heard in each recording."""
        assert self.tokenizer is not None
        heard = self._heard(self.backbone(batch.inputs, batch.lengths))
        return [self.tokenizer.decode(hypothesis.entries) for hypothesis in heard]

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
        data: Any = getattr(self.trainer, "datamodule", None)
        assert self.tokenizer is not None
        inputs, log_probs, said = self._shown
        rate = FrontEnd.from_dict(data.preprocessing()["frontend"]).rate
        [heard] = greedy(log_probs[None], torch.tensor([len(log_probs)]), blank=self.blank)
        figure = transcription_figure(
            inputs, log_probs, heard, self.tokenizer, seconds=len(inputs) / rate, said=said
        )
        save_figure(figure, folder / f"{split}_transcription.png")

    def _heard(self, output: CTCOutput) -> list[Hypothesis]:
        return greedy(*output, blank=self.blank)

    def _loss(self, output: CTCOutput, batch: SpeechBatch) -> Tensor:
        return F.ctc_loss(
            output.log_probs.transpose(0, 1),
            batch.targets,
            output.lengths,
            batch.target_lengths,
            blank=self.blank,
            # A recording too short for its text, such as one cut by augmentation, teaches nothing.
            zero_infinity=True,
        )

    def _score(self, batch: SpeechBatch, split: str) -> None:
        assert self.tokenizer is not None
        output = self.backbone(batch.inputs, batch.lengths)
        heard = [self.tokenizer.decode(found.entries) for found in self._heard(output)]
        targets = zip(batch.targets.tolist(), batch.target_lengths.tolist(), strict=True)
        said = [self.tokenizer.decode(entries[:length]) for entries, length in targets]
        if self._shown is None:
            length, tokens = int(batch.lengths[0]), int(output.lengths[0])
            inputs, log_probs = batch.inputs[0, :length], output.log_probs[0, :tokens]
            self._shown = (inputs.detach().cpu(), log_probs.detach().float().cpu(), said[0])
        metrics: Any = self.scores[split]
        metrics.update(heard, said)
        size = len(batch.lengths)
        self.log(f"{split}_loss", self._loss(output, batch), prog_bar=True, batch_size=size)
        self.log_dict(metrics, prog_bar=True, batch_size=size)
