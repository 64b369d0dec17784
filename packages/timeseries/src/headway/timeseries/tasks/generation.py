"""Generation of series."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.timeseries.figures import generated_figure
from headway.timeseries.metrics import discriminative_score

SHOWN = 40  # windows in the picture


class GenerateSeries(Task):
    """Trains ``backbone.loss(windows, step, noise)`` of a diffusion and judges what it makes up.

    It logs ``train_loss``, ``val_loss`` (the same steps and noise in every epoch), and in the test the
    ``test_discriminative`` score: 0 where a small recurrent network, trained for it, cannot tell generated
    windows from real ones, 0.5 where it always can. ``test_discriminative_real`` is the score of training
    windows in their place: what a perfect generator would get, above 0 where the parts differ. The run's
    ``pictures`` folder gets both kinds.

    Args:
        backbone: A diffusion of windows such as ``DiffusionTS``.
        steps: Steps of the sampler; all of the process if None.
        judge_steps: Steps that the recurrent network is trained for.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a dictionary with ``x``, (B, length, features), -1 to 1.
    """

    monitor = "val_loss"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        steps: int | None = None,
        judge_steps: int = 2000,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        self.steps, self.judge_steps = steps, judge_steps
        self.scores = nn.ModuleDict({"val_loss": MeanMetric()})
        self._real: list[Tensor] = []
        self._shown: tuple[Tensor, Tensor] | None = None

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Returns the loss at random steps."""
        loss = self._loss(batch["x"], None)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return self.with_penalties(loss)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Adds a batch to the loss, at steps that are the same in every epoch."""
        generator = torch.Generator().manual_seed(index)
        score: Any = self.scores["val_loss"]
        score.update(self._loss(batch["x"], generator), len(batch["x"]))
        self.log("val_loss", score, prog_bar=True, batch_size=len(batch["x"]))

    def on_test_epoch_start(self) -> None:
        """Forgets the windows of the last test."""
        self._real = []

    def test_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Keeps real windows."""
        self._real.append(batch["x"].cpu())

    def on_test_epoch_end(self) -> None:
        """Makes up as many windows as there were, and lets a network tell them apart."""
        real = torch.cat(self._real)
        model: Any = self.backbone
        generator = torch.Generator(self.device).manual_seed(0)
        made = model.generate(len(real), steps=self.steps, generator=generator).cpu()
        # Neighbours in time look alike: those that are drawn come from the whole test part.
        spread = torch.linspace(0, len(real) - 1, min(SHOWN, len(real))).long()
        self._shown = (real[spread], made[:SHOWN])
        self._judge("test_discriminative", real, made)
        data: Any = getattr(self.trainer, "datamodule", None)
        train = getattr(data, "train_set", None)
        if train is not None:
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
            drawn = data.collate([train[int(k)] for k in order[: len(real)]])["x"]
            self._judge("test_discriminative_real", real, drawn)

    def draw(self, split: str) -> None:
        """Draws real and generated windows beside each other, after a test."""
        if split == "test" and self.pictures is not None and self._shown is not None:
            real, made = self._shown
            figure = generated_figure(real.float().numpy(), made.float().numpy())
            save_figure(figure, self.pictures / "test_generated.png")

    def _judge(self, name: str, real: Tensor, others: Tensor) -> None:
        score = discriminative_score((real + 1) / 2, (others + 1) / 2, steps=self.judge_steps)
        self.log(name, score, prog_bar=True)

    def _loss(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        model: Any = self.backbone
        return model.loss(x, *model.process.draw(x, generator))
