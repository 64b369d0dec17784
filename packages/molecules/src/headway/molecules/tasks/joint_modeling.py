"""Training of a Joint Transformer: it writes, fills in and predicts with the same weights."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.training import Passed, TrainingOptions
from headway.molecules.models import JointTransformer
from headway.molecules.tasks.growing import labelled_data
from headway.molecules.tasks.hidden import hidden_loss, log_squares, masked
from headway.molecules.tasks.language_modeling import LanguageModeling


class JointOptions(TrainingOptions, total=False):
    """What the task passes on."""

    samples: int


class JointModeling(LanguageModeling):
    """Trains the next token of a molecule, hidden tokens of it, and its properties, one stack for all.

    Each step writes or fills in, as is drawn, and predicts. Besides what ``LanguageModeling`` logs there is
    ``val_mse_NAME`` of each property. The model takes mean and deviation of the properties from the training
    data, unless it has some.

    Args:
        backbone: A ``JointTransformer``.
        reconstruct: Share of the steps that fill in hidden tokens.
        hidden: Share of the tokens that are hidden then.
        prediction: Weight of the squared error of the properties, in deviations; 0 for none.
        **options: As of every ``LanguageModeling``.

    Shape:
        A batch is tokens (B, T), lengths (B,) and properties (B, P), nan where one is unknown.

    Raises:
        UserError: If a number is out of range.

    Source:
        Izdebski et al. 2023, https://arxiv.org/abs/2310.02066; the shares are ours.
    """

    def __init__(
        self,
        *,
        backbone: JointTransformer,
        reconstruct: float = 0.3,
        hidden: float = 0.15,
        prediction: float = 1.0,
        **options: Passed[JointOptions],
    ) -> None:
        super().__init__(backbone=backbone, **options)
        if not 0 <= reconstruct <= 1 or not 0 < hidden < 1:
            raise UserError(
                f"reconstruct is {reconstruct} and hidden {hidden}; both are shares of 1"
            )
        if prediction < 0:
            raise UserError(f"prediction is {prediction}; a weight is 0 or more")
        self.reconstruct, self.hidden, self.prediction = reconstruct, hidden, prediction

    @property
    def model(self) -> JointTransformer:
        """The model."""
        assert isinstance(self.backbone, JointTransformer)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the model grow to what the data need, and tells it how their properties are distributed.

        Raises:
            UserError: If the data have other properties than the model.
        """
        super().setup(stage)
        data = labelled_data(self, self.model.properties)
        if data is not None and not int(self.model.seen):
            self.model.fit_statistics(data.values["train"])

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the loss of writing or filling in, and of predicting."""
        loss = self.joint_loss(batch)
        self.log(
            "train_loss",
            loss,
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch[0]),
        )
        return self.with_penalties(loss)

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Adds a batch to the loss of writing and to the errors of the properties."""
        super().validation_step(batch, index)  # pyright: ignore[reportArgumentType]
        tokens, lengths, values = batch
        off = self.model.predict(tokens, lengths=lengths) - values
        log_squares(self, "val", self.model.properties, off)

    def predict_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the expected properties, (B, P)."""
        return self.model.predict(batch[0], lengths=batch[1])

    def joint_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Returns the loss of a step: per token, and the squared error of the properties."""
        tokens, lengths, values = batch
        if float(torch.rand(())) < self.reconstruct:
            loss = self.filled_in(tokens, lengths)
        else:
            loss = self._loss(batch)[0]
        if not self.prediction:
            return loss
        mean, deviation = self.model.statistics
        wanted = (values - mean) / deviation
        off = self.model.standardized(tokens, lengths=lengths).float() - wanted.nan_to_num()
        known = ~wanted.isnan()
        squares = off.square().masked_fill(~known, 0.0).sum() / known.sum().clamp_min(1)
        return loss + self.prediction * squares

    def filled_in(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Returns the loss per hidden token."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        inner = (places > 0) & (places < lengths[:, None] - 1)
        hidden = (torch.rand(tokens.shape, device=tokens.device) < self.hidden) & inner
        seen = masked(tokens, hidden, self.model.tokenizer)
        return hidden_loss(self.model.reconstruct(seen, lengths=lengths), tokens, hidden)

    def _loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, int]:
        return super()._loss(batch[:2])  # pyright: ignore[reportArgumentType]
