"""A model, data and a task that train in no time; random wherever training can be random."""

import os
import random
import signal
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import InputError
from headway.core.module import Module
from headway.core.training import DataModule, OptimizerFactory, ScheduleFactory, Strategy, Task


class ToyModel(Module):
    def __init__(self, *, dim: int = 8, depth: int = 2, classes: int = 3, dropout: float = 0.2):
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.blocks = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
        self.norm = nn.BatchNorm1d(dim)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + self.dropout(F.gelu(block(x)))
        return self.head(self.norm(x))


class ToyTask(Task):
    monitor = "val_accuracy"
    monitor_mode = "max"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        optimizer: OptimizerFactory,
        schedule: ScheduleFactory | None = None,
        finetune: Strategy | None = None,
        layer_decay: float | None = None,
        ema: float | None = None,
        compile: bool = False,
        smoothing: float = 0.0,
    ):
        super().__init__(
            backbone=backbone,
            optimizer=optimizer,
            schedule=schedule,
            finetune=finetune,
            layer_decay=layer_decay,
            ema=ema,
            compile=compile,
        )
        self.smoothing = smoothing

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(self.backbone(x), y, label_smoothing=self.smoothing)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        logits = self.backbone(x)
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_accuracy", (logits.argmax(-1) == y).float().mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("test_loss", F.cross_entropy(self.backbone(x), y))


class Noisy(torch.utils.data.Dataset):
    """Augments with every generator that augmentation code draws from."""

    def __init__(self, size: int, *, noise: float):
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(size, 4, generator=generator)
        self.y = (self.x[:, 0] > 0).long() + (self.x[:, 1] > 0).long()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        draw = torch.randn(4) + random.random() + float(np.random.rand())  # noqa: NPY002
        return self.x[index] + self.noise * draw, self.y[index]


class ToyData(DataModule):
    def __init__(self, *, batch_size: int = 8, workers: int = 0, seed: int = 0, size: int = 60):
        super().__init__(batch_size=batch_size, workers=workers, seed=seed)
        self.size = size

    def setup(self, stage: str) -> None:
        self.train_set = Noisy(self.size, noise=0.1)
        self.val_set = self.test_set = Noisy(self.size, noise=0.0)

    def preprocessing(self) -> dict[str, Any]:
        return {"classes": ["none", "one", "both"]}


class Kill(Callback):
    """Ends the process without any goodbye at the step that HEADWAY_TOY_KILL names."""

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if str(trainer.global_step) == os.environ.get("HEADWAY_TOY_KILL"):
            os.kill(os.getpid(), signal.SIGKILL)


class Poison(Callback):
    """Puts nan into a batch in the middle of an epoch while HEADWAY_TOY_POISON is set."""

    def on_train_batch_start(self, trainer: Trainer, task: Any, batch: Any, index: int) -> None:
        if index == 5 and os.environ.get("HEADWAY_TOY_POISON"):
            batch[0][0, 0] = float("nan")


class OnlyHead(Strategy):
    """A way to fine-tune."""

    def apply(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.startswith("head.")


class FileData(ToyData):
    def __init__(self, *, path: str, batch_size: int = 8):
        super().__init__(batch_size=batch_size)
        self.path = path


class Broken(Noisy):
    def __init__(self, kind: str):
        super().__init__(20, noise=0.0)
        self.kind = kind

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == 7:
            raise (
                InputError("item 7", "is broken")
                if self.kind == "InputError"
                else KeyError("item 7")
            )
        return super().__getitem__(index)


class BrokenData(ToyData):
    def __init__(self, *, kind: str, workers: int = 0):
        super().__init__(workers=workers)
        self.kind = kind

    def setup(self, stage: str) -> None:
        self.train_set = Broken(self.kind)
