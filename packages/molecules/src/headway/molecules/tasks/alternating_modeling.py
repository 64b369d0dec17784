"""Training of a Regression Transformer: properties and molecules in turn."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.training import Passed, Task, TrainingOptions
from headway.molecules.chemistry import molecule
from headway.molecules.data import LabelledSmiles
from headway.molecules.metrics import measure
from headway.molecules.models import RegressionTransformer
from headway.molecules.properties import PROPERTIES
from headway.molecules.tasks.growing import encode, grow_vocabulary, labelled_data
from headway.molecules.tasks.hidden import hidden_loss, log_squares, masked

Batch = tuple[Tensor, Tensor, Tensor]


class AlternatingModeling(Task):
    """Trains a Regression Transformer on its two tasks in turn, a number of steps each.

    For the property, some of its digits are hidden and said from the molecule; for the molecule, stretches
    of it are hidden and said from the property and the rest. Self-consistency reads the property off what
    the model itself has filled in, which shall be the one that it was told.

    It logs ``loss`` of ``train``, ``val`` and ``test`` (nats per hidden token, of both tasks), the mean
    square error ``mse_NAME`` of each property and, after each validation, of molecules that were rewritten
    towards the properties of others ``validity`` and, for what RDKit computes, ``correlation_NAME`` of
    ranks between what was asked and what came.

    Args:
        backbone: A ``RegressionTransformer``.
        alternate: Steps on one task before the other.
        tasks: ``both`` in turn, or ``property`` alone.
        hidden: Share of a molecule that is hidden, on average.
        longest: Most tokens of a hidden stretch.
        consistency: Weight of self-consistency; 0 for none.
        samples: Molecules that are rewritten after each validation; 0 for none.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is tokens (B, T), lengths (B,) and properties (B, P), nan where one is unknown.

    Raises:
        UserError: If a number is out of range.

    Source:
        Born and Manica 2023, https://doi.org/10.1038/s42256-023-00639-z, the section on training objectives.
    """

    def __init__(
        self,
        *,
        backbone: RegressionTransformer,
        alternate: int = 50,
        tasks: Literal["both", "property"] = "both",
        hidden: float = 0.4,
        longest: int = 12,
        consistency: float = 1.0,
        samples: int = 200,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if not 0 < hidden < 1:
            raise UserError(f"hidden is {hidden}; a share lies between 0 and 1")
        for name, value, limit in (
            ("alternate", alternate, 1),
            ("longest", longest, 1),
            ("samples", samples, 0),
        ):
            if value < limit:
                raise UserError(f"{name} is {value}; it must be {limit} or more")
        self.alternate, self.tasks, self.samples = alternate, tasks, samples
        self.hidden, self.longest, self.consistency = hidden, longest, consistency

    @property
    def model(self) -> RegressionTransformer:
        """The model."""
        assert isinstance(self.backbone, RegressionTransformer)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Lets the vocabulary grow by the tokens of the data.

        Raises:
            UserError: If the data have other properties than the model.
        """
        super().setup(stage)
        data = labelled_data(self, self.model.properties)
        if data is not None:
            grow_vocabulary(self.model, data)

    def encode_data(self) -> None:
        """Cuts the molecules by the vocabulary of the model."""
        encode(self, self.model)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the loss of the task whose turn it is."""
        turn = self.global_step // self.alternate % 2
        if turn == 0 or self.tasks == "property":
            loss = self.property_loss(batch)
        else:
            loss = self.molecule_loss(batch)
        self.log(
            "train_loss",
            loss,
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch[0]),
        )
        return self.with_penalties(loss)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to losses and errors."""
        self._measure(batch, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        """Adds a batch to losses and errors."""
        self._measure(batch, "test")

    def predict_step(self, batch: Batch, index: int) -> Tensor:
        """Returns the properties of molecules, (B, P)."""
        return self.model.predict(batch[0], lengths=batch[1])

    def property_loss(self, batch: Batch) -> Tensor:
        """Returns the loss per hidden digit."""
        tokens, lengths, values = batch
        front = self.model.fronts(values)
        hidden = self._hidden_digits(front, values)
        logits = self.model(masked(front, hidden, self.model.tokenizer), tokens, lengths=lengths)
        return hidden_loss(logits[:, : front.shape[1]], front, hidden)

    def molecule_loss(self, batch: Batch) -> Tensor:
        """Returns the loss per hidden token of the molecule, self-consistency added."""
        tokens, lengths, values = batch
        front = self.model.fronts(values)
        hidden = stretches(tokens.shape[1], lengths, share=self.hidden, longest=self.longest)
        logits = self.model(front, masked(tokens, hidden, self.model.tokenizer), lengths=lengths)[
            :, front.shape[1] :
        ]
        loss = hidden_loss(logits, tokens, hidden)
        if not self.consistency:
            return loss
        own = torch.where(hidden, logits.argmax(dim=-1), tokens)
        return loss + self.consistency * self.property_loss((own, lengths, values))

    def on_validation_epoch_end(self) -> None:
        """Rewrites molecules towards the properties of others."""
        data = getattr(self.trainer, "datamodule", None)
        if not self.samples or self.trainer.sanity_checking or not isinstance(data, LabelledSmiles):
            return
        count = min(self.samples, len(data.values["val"]))
        assert data.val_set is not None
        tokens, lengths, values = data.collate([data.val_set[place] for place in range(count)])
        wanted = values.roll(1, dims=0)
        made = self.model.rewrite(
            tokens.to(self.device),
            wanted,
            lengths=lengths.to(self.device),
            generator=torch.Generator().manual_seed(0),
        )
        quality = measure([self.model.tokenizer.decode(row) for row in made.tolist()])
        self.log("val_validity", quality.validity, prog_bar=True)
        read = [
            (molecule(text), row)
            for text, row in zip(quality.canonical, wanted.tolist(), strict=True)
            if text
        ]
        for place, name in enumerate(self.model.properties):
            if name in PROPERTIES and len(read) > 2:
                came = [PROPERTIES[name](one) for one, _ in read if one is not None]
                asked = [row[place] for _, row in read]
                self.log(f"val_correlation_{name}", correlation_of_ranks(asked, came))

    def _measure(self, batch: Batch, split: str) -> None:
        loss = self.property_loss(batch)
        if self.tasks == "both":
            loss = loss + self.molecule_loss(batch)
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=len(batch[0]))
        tokens, lengths, values = batch
        found = self.model.predict(tokens, lengths=lengths).to(values)
        log_squares(self, split, self.model.properties, found - values)

    def _hidden_digits(self, front: Tensor, values: Tensor) -> Tensor:
        """Returns which digits are hidden: of each known property the last ones, at least one, (B, K)."""
        hidden = torch.zeros_like(front, dtype=torch.bool)
        for place, (form, where) in enumerate(self.model.digits().values()):
            draws = torch.rand(front.shape[0], device=front.device)
            kept = (draws * len(form)).long()
            places = torch.arange(len(form), device=front.device)
            known = ~values[:, place].isnan().to(front.device)
            hidden[:, where] = (places >= kept[:, None]) & known[:, None]
        return hidden


def stretches(length: int, lengths: Tensor, *, share: float, longest: int) -> Tensor:
    """Draws which tokens of molecules are hidden: stretches between start and end, (B, length) bool.

    Args:
        length: Tokens of a row.
        lengths: Real tokens of each row, (B,).
        share: How many are hidden, about.
        longest: Most tokens of a stretch.
    """
    rows, device = len(lengths), lengths.device
    places = torch.arange(length, device=device)
    # A token is seen if none of the stretches that may reach it begins: (1 - rate)^mean = 1 - share.
    rate = 1 - (1 - share) ** (2 / (longest + 1))
    begins = torch.rand(rows, length, device=device) < rate
    sizes = (torch.rand(rows, length, device=device) * longest).long() + 1
    ends = torch.where(begins, places + sizes, 0).cummax(dim=1).values
    inner = (places > 0) & (places < lengths[:, None] - 1)
    hidden = (ends > places) & inner
    # At least one of each row that has any.
    drawn = torch.rand(rows, length, device=device).masked_fill(~inner, -1.0)
    first = F.one_hot(drawn.argmax(dim=1), length).bool() & inner
    return torch.where(hidden.any(dim=1, keepdim=True), hidden, first)


def correlation_of_ranks(first: list[float], second: list[float]) -> float:
    """Returns Spearman's correlation, ties in the order in which they stand; 0 where one never changes."""
    ranks = torch.tensor([first, second]).argsort(dim=1, stable=True).argsort(dim=1).double()
    found = torch.corrcoef(ranks)[0, 1]
    return float(found.nan_to_num())
