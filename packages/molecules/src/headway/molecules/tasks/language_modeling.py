"""Training of a language model of molecules."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation import Generated
from headway.core.language import LanguageModel
from headway.core.training import Passed, Task, TrainingOptions
from headway.molecules.data import SmilesFile
from headway.molecules.figures import save_grid
from headway.molecules.metrics import Quality, measure
from headway.molecules.tasks.growing import encode, grow

SHOWN = 20


class LanguageModeling(Task):
    """Trains a language model to say the next token of a molecule.

    It logs ``train_loss`` and ``loss`` of ``val`` and ``test`` (nats per token), and of molecules that
    are generated after each validation ``validity`` and ``uniqueness``. The run's ``pictures`` folder
    gets the last of them.

    The vocabulary of the model grows by the tokens of the data before training starts, and so does the
    length of the molecules that it generates.

    Args:
        backbone: A ``LanguageModel``.
        samples: Molecules generated after each validation; 0 for none.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is tokens (B, T) and lengths (B,).
    """

    def __init__(
        self,
        *,
        backbone: LanguageModel,
        samples: int = 200,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if samples < 0:
            raise UserError(f"samples is {samples}; it must be 0 (none) or more")
        self.samples = samples
        self.generated: Quality | None = None

    @property
    def model(self) -> LanguageModel:
        """The language model."""
        assert isinstance(self.backbone, LanguageModel)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model grow to what the data need, and encodes the data by its vocabulary."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, SmilesFile):
            grow(self.model, data)

    def encode_data(self) -> None:
        """Cuts the molecules by the vocabulary of the model."""
        encode(self, self.model)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the loss per token."""
        loss, tokens = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=tokens)
        return self.with_penalties(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the loss."""
        loss, tokens = self._loss(batch)
        self.log("val_loss", loss, prog_bar=True, batch_size=tokens)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the loss."""
        loss, tokens = self._loss(batch)
        self.log("test_loss", loss, batch_size=tokens)

    def predict_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the log-likelihood of each molecule, (B,)."""
        tokens, lengths = batch
        return self.model.score(tokens, lengths=lengths).sum(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Generates molecules and says what they are worth."""
        if not self.samples or self.trainer.sanity_checking:
            return
        model = self.model
        generator = torch.Generator(self.device).manual_seed(0)
        found = model.generate([model.tokenizer.prompt("")] * self.samples, generator=generator)
        self.log_quality(found)

    def log_quality(self, found: Generated) -> Quality:
        """Logs what generated molecules are worth, keeps it for the picture, and returns it."""
        quality = measure([self.model.tokenizer.decode(row) for row in found.tokens.tolist()])
        self.generated = quality
        self.log("val_validity", quality.validity, prog_bar=True)
        self.log("val_uniqueness", quality.uniqueness)
        return quality

    def draw(self, split: str) -> None:
        """Draws molecules that were generated after the last validation."""
        folder = self.pictures
        if split != "val" or self.generated is None or folder is None:
            return
        valid = [text for text in self.generated.canonical if text]
        if valid:
            save_grid(valid[:SHOWN], folder / "val_molecules.png")

    def _loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
        tokens, lengths = batch
        count = lengths.sum() - len(lengths)
        return -self.model.score(tokens, lengths=lengths).sum() / count, int(count)
