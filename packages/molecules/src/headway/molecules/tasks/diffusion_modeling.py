"""Training of masked diffusion over molecules."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import MaskedDiffusion
from headway.core.training import Passed
from headway.molecules.data import SmilesFile
from headway.molecules.tasks.joint_modeling import JointOptions
from headway.molecules.tasks.language_modeling import LanguageModeling


class DiffusionModeling(LanguageModeling):
    """Trains a model to say tokens of molecules of which any share is hidden.

    It logs what ``LanguageModeling`` does; the losses are the bound on the negative log-likelihood, nats per
    token. The model takes from the training data how long molecules are, unless it knows.

    Args:
        backbone: A ``MaskedDiffusion``.
        shuffle: Whether the parts between dots, the fragments of SAFE, stand in a new order in every step.
        **options: As of every ``LanguageModeling``.

    Shape:
        A batch is tokens (B, T) and lengths (B,).

    Raises:
        UserError: If parts shall be shuffled and the tokenizer has no start or end.

    Source:
        Sahoo et al. 2024, https://arxiv.org/abs/2406.07524; Lee et al. 2025,
        https://arxiv.org/abs/2501.06158, section 3. The new orders are ours.
    """

    def __init__(
        self,
        *,
        backbone: MaskedDiffusion,
        shuffle: bool = True,
        **options: Passed[JointOptions],
    ) -> None:
        super().__init__(backbone=backbone, **options)
        self.shuffle = shuffle
        if shuffle and (backbone.tokenizer.start is None or backbone.tokenizer.end is None):
            raise UserError("parts are shuffled between start and end, which the tokenizer lacks")

    @property
    def model(self) -> MaskedDiffusion:
        """The model."""
        assert isinstance(self.backbone, MaskedDiffusion)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model grow to what the data need, and tells it how long molecules are."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, SmilesFile) and not int(self.model.length_counts.sum()):
            self.model.fit_lengths(data.lengths)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the bound per token."""
        tokens, lengths = batch
        if self.shuffle:
            batch = (shuffled(tokens, lengths, self.model.tokenizer.numbers.get(".")), lengths)
        return super().training_step(batch, index)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the bound; what is hidden depends on its place alone."""
        loss, tokens = self._loss(batch, torch.Generator().manual_seed(index))
        self.log("val_loss", loss, prog_bar=True, batch_size=tokens)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the bound; what is hidden depends on its place alone."""
        loss, tokens = self._loss(batch, torch.Generator().manual_seed(index))
        self.log("test_loss", loss, batch_size=tokens)

    def predict_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns an estimate of the negative bound of each molecule, (B,)."""
        generator = torch.Generator().manual_seed(index)
        return -self.model.bound(batch[0], lengths=batch[1], generator=generator)

    def _loss(
        self, batch: tuple[Tensor, Tensor], generator: torch.Generator | None = None
    ) -> tuple[Tensor, int]:
        tokens, lengths = batch
        count = self.model.free(tokens, lengths).sum()
        bound = self.model.bound(tokens, lengths=lengths, generator=generator)
        return bound.sum() / count.clamp_min(1), int(count)


def shuffled(tokens: Tensor, lengths: Tensor, dot: int | None) -> Tensor:
    """Returns rows whose parts between dots stand in a new order, drawn by the default generator.

    Args:
        tokens: Start token, parts, end token, padding.
        lengths: Real tokens of each row.
        dot: Number of the dot; None where the vocabulary has none, then nothing changes.

    Shape:
        tokens: (B, T). lengths: (B,). Output: (B, T).
    """
    if dot is None:
        return tokens
    rows = tokens.tolist()
    for row, length in zip(rows, lengths.tolist(), strict=True):
        parts: list[list[int]] = [[]]
        for token in row[1 : length - 1]:
            if token == dot:
                parts.append([])
            else:
                parts[-1].append(token)
        order = torch.randperm(len(parts)).tolist()
        mixed = [token for place in order for token in (*parts[place], dot)]
        row[1 : length - 1] = mixed[:-1]
    return torch.tensor(rows, device=tokens.device)
