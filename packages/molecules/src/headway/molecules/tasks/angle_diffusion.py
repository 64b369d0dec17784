"""Training of a diffusion over the angles of backbones."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training import Passed, Task, TrainingOptions
from headway.molecules.backbone_figures import ramachandran_figure
from headway.molecules.data import Backbones
from headway.molecules.metrics import ramachandran_distance
from headway.molecules.models import FoldingDiff


class AngleDiffusion(Task):
    """Trains a model to say which noise is in the angles of a backbone.

    It logs ``train_loss`` and ``loss`` of ``val`` and ``test``, and of backbones that are generated after
    each validation ``ramachandran``, the distance of their phi and psi from those that validate (0 to 1). The
    run's ``pictures`` folder gets both maps.

    Args:
        backbone: A ``FoldingDiff``.
        samples: Backbones generated after each validation; 0 for none.
        steps: Steps of their sampling; all of the process if None.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is angles (B, N, 6) in radians and lengths (B,).
    """

    def __init__(
        self,
        *,
        backbone: FoldingDiff,
        samples: int = 16,
        steps: int | None = None,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if samples < 0:
            raise UserError(f"samples is {samples}; it must be 0 (none) or more")
        self.samples, self.steps = samples, steps
        self.maps: dict[str, Tensor] = {}
        self._seen: list[Tensor] = []
        self._lengths: list[Tensor] = []

    @property
    def model(self) -> FoldingDiff:
        """The model."""
        assert isinstance(self.backbone, FoldingDiff)
        return self.backbone

    def setup(self, stage: str) -> None:
        """Gives a new model the mean of the training angles."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, Backbones) and not bool(self.model.mean.any()):
            self.model.mean.copy_(data.mean())

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Returns the loss."""
        angles, lengths = batch
        loss = self.model.loss(angles, lengths=lengths)
        options = {"prog_bar": True, "on_step": False, "on_epoch": True}
        self.log("train_loss", loss, batch_size=len(angles), **options)
        return self.with_penalties(loss)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the loss; the same noise each time."""
        angles, lengths = batch
        self._score(angles, lengths, index, "val")
        for chain, length in zip(angles, lengths.tolist(), strict=True):
            self._seen.append(chain[1 : length - 1].cpu())
        self._lengths.append(lengths.cpu())

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Adds a batch to the loss."""
        self._score(*batch, index, "test")

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self._seen, self._lengths = [], []

    def on_validation_epoch_end(self) -> None:
        """Generates backbones as long as those that validate, and compares."""
        if not self.samples or self.trainer.sanity_checking or not self._seen:
            return
        generator = torch.Generator(self.device).manual_seed(0)
        lengths = torch.cat(self._lengths)
        chosen = lengths[torch.arange(self.samples) % len(lengths)]
        found = self.model.sample(chosen, steps=self.steps, generator=generator).cpu()
        made = [chain[1 : length - 1] for chain, length in zip(found, chosen.tolist(), strict=True)]
        self.maps = {"validation": torch.cat(self._seen), "generated": torch.cat(made)}
        distance = ramachandran_distance(self.maps["generated"], self.maps["validation"])
        self.log("val_ramachandran", distance, prog_bar=True)

    def draw(self, split: str) -> None:
        """Draws the maps of the last validation."""
        if split == "val" and self.maps and self.pictures is not None:
            save_figure(ramachandran_figure(self.maps), self.pictures / "val_ramachandran.png")

    def _score(self, angles: Tensor, lengths: Tensor, index: int, split: str) -> None:
        generator = torch.Generator().manual_seed(index)
        loss = self.model.loss(angles, lengths=lengths, generator=generator)
        self.log(f"{split}_loss", loss, prog_bar=True, batch_size=len(angles))
