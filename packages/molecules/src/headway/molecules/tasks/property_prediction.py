"""Training of what reads properties from molecules."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.molecules.data import PropertyFile, PropertyGraphs
from headway.molecules.metrics import PropertyScores
from headway.molecules.models import GraphPredictor, Predictor, PropertyPredictor
from headway.molecules.property_figures import properties_figure
from headway.molecules.tasks.growing import encode, grow


class PropertyPrediction(Task):
    """Trains a model to say properties of molecules, numbers and classes, several at once.

    The loss is the mean over the labels that are known: squared errors of numbers in units of their deviation
    in the training part, cross entropy of classes. It logs ``train_loss`` and, of ``val`` and ``test``,
    ``loss``, and ``rmse``, ``mae`` and ``r2`` (in the units of the file) or ``auc`` as the mean over the
    properties and, where there are several, of each (``val_auc_NR-AR``). The run's ``pictures`` folder gets
    what was answered and what is known.

    Which properties there are the data say, and so they do of tokens and lengths. A model that has the same
    properties already keeps what it learned of them, and their units.

    Args:
        backbone: A ``PropertyPredictor`` of texts, or a ``GraphPredictor``.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is what the model reads (tokens and lengths, or graphs) and labels (B, properties), nan where
        nothing is known.
    """

    def __init__(self, *, backbone: Predictor, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)
        self.scores = nn.ModuleDict()

    @property
    def model(self) -> Predictor:
        """The model."""
        assert isinstance(self.backbone, Predictor)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Gives the model what the data have: properties, tokens, lengths."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, PropertyFile):
            if isinstance(self.model, PropertyPredictor):
                grow(self.model, data)
            else:
                if isinstance(data, PropertyGraphs) and isinstance(self.model, GraphPredictor):
                    data.form = self.model.backbone.graphs
                data.use(data.tokenizer)
            if self.model.properties != data.kinds():
                self.model.set_properties(data.kinds())
                self.model.set_statistics(*data.statistics())
        for split in ("val", "test"):
            self.scores[split] = PropertyScores(self.model.properties)

    def encode_data(self) -> None:
        """Cuts the molecules by the vocabulary of the model."""
        if isinstance(self.model, PropertyPredictor):
            encode(self, self.model)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the properties."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["properties"] = dict(self.model.properties)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of other properties.

        Raises:
            UserError: If they are not those of the data.
        """
        known = checkpoint.get("properties", self.model.properties)
        if known != self.model.properties:
            had, given = (
                ", ".join(f"{name} ({kind})" for name, kind in one.items())
                for one in (known, self.model.properties)
            )
            raise UserError(
                f"the checkpoint predicts {had}, these data have {given}; name its own properties "
                "(--data.properties), or begin a new run"
            )
        super().on_load_checkpoint(checkpoint)

    def training_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the loss."""
        loss, known, _ = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=known)
        return self.with_penalties(loss)

    def validation_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, ...], index: int) -> None:
        """Adds a batch to the scores."""
        self._score(batch, "test")

    def predict_step(self, batch: tuple[Tensor, ...], index: int) -> Tensor:
        """Returns the numbers in their units and the probabilities of the classes, (B, properties)."""
        return self.model.predict(*batch[:-1])

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self._collected("val").reset()

    def on_test_epoch_start(self) -> None:
        """Forgets the last test."""
        self._collected("test").reset()

    def on_validation_epoch_end(self) -> None:
        """Logs the scores."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Logs the scores."""
        self._log_scores("test")

    def draw(self, split: str) -> None:
        """Draws answers against labels."""
        if split not in self.scores or not self._collected(split).update_called:
            return
        answers, labels = self._collected(split).pairs()
        if self.pictures is not None:
            figure = properties_figure(answers.cpu(), labels.cpu(), self.model.properties)
            save_figure(figure, self.pictures / f"{split}_properties.png")

    def _loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, int, Tensor]:
        """Returns the loss, how many labels are known, and the answers."""
        *inputs, labels = batch
        model = self.model
        answers, known = model.answer(*inputs).float(), ~labels.isnan()
        wanted = model.standardised(labels).nan_to_num(0.0)
        each = torch.where(
            model.classes,
            F.binary_cross_entropy_with_logits(answers, wanted, reduction="none"),
            F.mse_loss(answers, wanted, reduction="none"),
        )
        # A batch may have no label at all: its loss is 0, not nan.
        loss = each.masked_fill(~known, 0.0).sum() / known.sum().clamp_min(1)
        return loss, max(1, int(known.sum())), model.answered(answers.detach())

    def _score(self, batch: tuple[Tensor, ...], split: str) -> None:
        loss, known, answers = self._loss(batch)
        self._collected(split).update(answers, batch[-1])
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=known)

    def _log_scores(self, split: str) -> None:
        found = self._collected(split).compute()
        means = {name: value for name, value in found.items() if "_" not in name}
        named = {f"{split}_{name}": value for name, value in found.items() if name not in means}
        self.log_dict({f"{split}_{name}": value for name, value in means.items()}, prog_bar=True)
        self.log_dict(named)

    def _collected(self, split: str) -> Any:
        return self.scores[split]
