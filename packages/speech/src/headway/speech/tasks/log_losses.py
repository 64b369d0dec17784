"""A loss and what it is made of, in the log of a task."""

from collections.abc import Mapping

from torch import Tensor

from headway.core.training import Task


def log_losses(
    task: Task, split: str, losses: Mapping[str, Tensor], size: int, **options: bool
) -> None:
    """Logs what a loss is made of: ``loss`` and, by name, its parts.

    Args:
        task: Logs them.
        split: ``train``, ``val`` or ``test``.
        losses: By name.
        size: Items of the batch.
        **options: As of ``Task.log``.
    """
    for name, value in losses.items():
        shown = f"{split}_loss" if name == "loss" else f"{split}_{name}_loss"
        task.log(shown, value, batch_size=size, prog_bar=name == "loss", **options)
