"""Generation of orders under the condition of what was."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.figures import distributions_figure
from headway.timeseries.metrics import crps_from_samples
from headway.timeseries.simulation.market import NUMBERS


class GenerateOrders(Task):
    """Trains the noise of a conditional diffusion such as ``TRADES``, and judges the orders that it draws.

    It logs ``train_loss``, ``val_loss`` (the same steps and noise in every epoch), and in the test the CRPS
    of orders drawn for each condition, mean over the numbers of an order in scaled units (``test_crps``),
    beside that of orders drawn from the training part whatever the condition (``test_crps_marginal``) and
    the error of repeating the last order (``test_crps_repeat``). The run's ``pictures`` folder gets the
    distributions.

    Args:
        backbone: A diffusion of orders such as ``TRADES``.
        steps: Steps of the sampler; all of the process if None.
        samples: Orders that are drawn for each condition.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary: x (B, future, order), orders (B, past, order), books (B, past, book).
    """

    monitor = "val_loss"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        steps: int | None = None,
        samples: int = 16,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.steps, self.samples = steps, samples
        kinds = ("val_loss", "test_crps", "test_crps_marginal", "test_crps_repeat")
        self.scores = nn.ModuleDict({kind: MeanMetric() for kind in kinds})
        self._shown: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss at random steps."""
        loss = self._loss(batch, None)
        size = len(batch["x"])
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=size)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the loss, at steps that are the same in every epoch."""
        loss = self._loss(batch, torch.Generator().manual_seed(index))
        self._score("val_loss", loss, len(batch["x"]))

    def on_test_epoch_start(self) -> None:
        """Forgets the orders of the last test."""
        self._shown = []

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Draws orders for each condition, and scores them."""
        x, number = batch["x"], self.samples
        generator = torch.Generator(self.device).manual_seed(index)
        repeated = [part.repeat_interleave(number, 0) for part in (batch["orders"], batch["books"])]
        model: Any = self.backbone
        made = model.generate(*repeated, steps=self.steps, generator=generator, limit=6.0)
        made = made.unflatten(0, (len(x), number))
        data: Any = getattr(self.trainer, "datamodule", None)
        known = data.train_set.orders
        places = torch.randint(
            len(known), made.shape[:-1], generator=torch.Generator().manual_seed(index)
        )
        answers = {
            "test_crps": made,
            "test_crps_marginal": known[places].to(x),
            "test_crps_repeat": batch["orders"][:, -1:].expand_as(x)[:, None],
        }
        for name, drawn in answers.items():
            crps = crps_from_samples(x, drawn.movedim(1, -1))
            self._score(name, crps.mean(), len(x))
        self._shown.append((x.flatten(0, 1).cpu(), made.flatten(0, 2).float().cpu()))

    def draw(self, split: str) -> None:
        """Draws the distribution of each number of real and of generated orders, after a test."""
        if split == "test" and self.pictures is not None and self._shown:
            real, made = (torch.cat(parts).numpy() for parts in zip(*self._shown, strict=True))
            figure = distributions_figure(real, made, NUMBERS)
            save_figure(figure, self.pictures / "test_orders.png")

    def _score(self, name: str, value: Tensor, size: int) -> None:
        score: Any = self.scores[name]
        score.update(value, size)
        self.log(name, score, prog_bar=name in ("val_loss", "test_crps"), batch_size=size)

    def _loss(self, batch: dict[str, Tensor], generator: torch.Generator | None) -> Tensor:
        model: Any = self.backbone
        drawn = model.process.draw(batch["x"], generator)
        return model.loss(batch["x"], *drawn, batch["orders"], batch["books"])
