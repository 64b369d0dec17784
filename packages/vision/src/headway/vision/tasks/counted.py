"""Tasks whose loss is divided by the objects of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.training import Passed, Task, TrainingOptions
from headway.vision.tasks.set_loss import object_number


class CountedTask(Task):
    """Divides by the objects of all batches where gradients are accumulated, not of each.

    Args:
        backbone: The model.
        **training: As of every ``Task``.
    """

    def __init__(self, *, backbone: nn.Module, **training: Passed[TrainingOptions]) -> None:
        super().__init__(backbone=backbone, **training)
        self.accumulated: list[float] = []

    def counted(self, loss: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Returns the loss so that each object counts the same, in whichever accumulated batch it is.

        Args:
            loss: Divided by the objects of the batch.
            labels: Classes of the objects of each picture.
        """
        if self.trainer.accumulate_grad_batches == 1:
            return loss
        number = object_number(labels)
        self.accumulated.append(number)
        return loss * max(1.0, number)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides what was accumulated by the objects of all batches."""
        super().on_before_optimizer_step(optimizer)
        if self.accumulated:
            # Lightning divided by how many batches it accumulates.
            scale = self.trainer.accumulate_grad_batches / max(1.0, sum(self.accumulated))
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(scale)
            self.accumulated.clear()
