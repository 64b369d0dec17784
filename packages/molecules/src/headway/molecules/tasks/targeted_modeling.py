"""Training of a language model of molecules that is told proteins."""

from typing import Any

import torch
from torch import Tensor

from headway.core.training import Passed
from headway.molecules.data import TargetPairs
from headway.molecules.models import DrugGen
from headway.molecules.tasks.conditional_modeling import ConditionalOptions
from headway.molecules.tasks.language_modeling import LanguageModeling


class TargetedModeling(LanguageModeling):
    """Fine-tunes a model on pairs of protein and molecule; the loss is that of the molecule alone.

    After each validation molecules are written for proteins of the validation set. Otherwise as
    ``LanguageModeling``.

    Args:
        backbone: A ``DrugGen``.
        **options: As of every ``LanguageModeling``.

    Shape:
        A batch is tokens (B, T), lengths (B,), proteins (B, P) and their lengths (B,).
    """

    def __init__(self, *, backbone: DrugGen, **options: Passed[ConditionalOptions]) -> None:
        super().__init__(backbone=backbone, **options)

    @property
    def model(self) -> DrugGen:
        """The language model."""
        assert isinstance(self.backbone, DrugGen)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model grow to what the data need, and encodes molecules and proteins by it."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TargetPairs):
            data.told_by(self.model)
        super().setup(stage)

    def predict_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the log-likelihood of each molecule for its protein, (B,)."""
        tokens, lengths, told = _told(batch)
        return self.model.score(tokens, lengths=lengths, **told).sum(dim=1)

    def on_validation_epoch_end(self) -> None:
        """Writes molecules for proteins of the validation set and says what they are worth."""
        data = getattr(self.trainer, "datamodule", None)
        if not self.samples or self.trainer.sanity_checking or not isinstance(data, TargetPairs):
            return
        held: Any = data.val_set
        if held is None:
            return
        some = [held[place % len(held)] for place in range(self.samples)]
        _, _, told = _told(data.collate(some))
        model = self.model
        found = model.generate(
            [model.tokenizer.prompt("")] * self.samples,
            generator=torch.Generator(self.device).manual_seed(0),
            **{name: value.to(self.device) for name, value in told.items()},
        )
        self.log_quality(found)

    def _loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, int]:
        tokens, lengths, told = _told(batch)
        count = lengths.sum() - len(lengths)
        return -self.model.score(tokens, lengths=lengths, **told).sum() / count, int(count)


def _told(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    tokens, lengths, proteins, protein_lengths = batch
    return tokens, lengths, {"proteins": proteins, "protein_lengths": protein_lengths}
