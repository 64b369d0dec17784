"""The base of tasks whose data are recordings with texts."""

import logging

from torch import Tensor

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.speech.batch import SpeechBatch
from headway.speech.data.speech_data import SpeechData
from headway.speech.front_ends import SpecAugment, featured
from headway.speech.speech_model import SpeechModel, SpokenTextModel
from headway.speech.tasks.log_losses import log_losses

log = logging.getLogger(__name__)


class SpeechTask(Task):
    """Brings a model and its data together.

    Before training the vocabulary of the model grows by what the training texts hold, and its front end
    measures what it needs on training recordings.

    Args:
        backbone: A model of speech and text.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.
    """

    def __init__(self, *, backbone: SpeechModel, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)

    def setup(self, stage: str) -> None:
        """Lets the model take the vocabulary and the statistics of the data, and the data its tokens."""
        super().setup(stage)
        data, model = getattr(self.trainer, "datamodule", None), self.backbone
        if not isinstance(data, SpeechData):
            raise UserError(f"{type(self).__name__} needs a data module of recordings with texts")
        assert isinstance(model, SpeechModel)
        if isinstance(model, SpokenTextModel):
            grow(model, data)
        if stage == "fit" and not model.complete:
            model.measure(data.recordings(model.front_end.sample_rate))
        data.use(model)

    def encode_data(self) -> None:
        """Lets the data cut their texts by the vocabulary of the model."""
        data = getattr(self._trainer, "datamodule", None)
        if isinstance(data, SpeechData):
            data.use(self.model)

    @property
    def model(self) -> SpeechModel:
        """The model."""
        assert isinstance(self.backbone, SpeechModel)
        return self.backbone

    def heard(self, batch: SpeechBatch, augment: SpecAugment | None = None) -> SpeechBatch:
        """Returns the batch with features in the place of samples.

        Args:
            batch: Samples.
            augment: Masks parts of the features.
        """
        return featured(self.model.front_end, batch, augment)

    def log_losses(
        self, split: str, losses: dict[str, Tensor], batch: SpeechBatch, **options: bool
    ) -> None:
        """Logs what a loss is made of: ``loss`` and, by name, its parts."""
        log_losses(self, split, losses, len(batch.lengths), **options)


def grow(model: SpokenTextModel, data: SpeechData) -> None:
    """Gives a model the tokens of the training texts that it lacks."""
    tokenizer = model.tokenizer
    if not tokenizer.grows:
        return
    tokens = {token for text in data.texts() for token in tokenizer.split(text)}
    if new := tokenizer.lacking(tokens):
        shown = " ".join(map(repr, new[:50]))
        log.info("the vocabulary grows by %d tokens: %s", len(new), shown)
        model.set_vocabulary((*tokenizer.vocabulary, *new))
