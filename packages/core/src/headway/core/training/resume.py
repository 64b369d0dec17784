"""Where a checkpoint stands: Lightning's own record of progress, made unambiguous."""

from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from headway.core.errors import UserError
from headway.core.training.private_lightning import (
    accumulates,
    is_last_of_epoch,
    logged_values,
    take_back_a_step,
    validates_next,
)

Sums = dict[str, tuple[Tensor, Tensor]]


def close_epoch(checkpoint: dict[str, Any], *, by_steps: bool) -> None:
    """Turns "at the end of an epoch" into "before the next one" in a checkpoint that is being loaded.

    The hook that saves runs before Lightning counts the epoch as complete. Restarting from there, Lightning
    runs the end of the epoch once more if ``max_steps`` is set. Does nothing to other checkpoints.

    Args:
        checkpoint: The loaded file; changed in place.
        by_steps: Whether the run is limited by ``max_steps``.
    """
    loop = checkpoint.get("loops", {}).get("fit_loop")
    if loop is None:
        return
    epoch = loop["epoch_progress"]
    if epoch["current"]["processed"] != epoch["current"]["ready"]:
        return
    for counts in (epoch["current"], epoch["total"]):
        counts["completed"] = counts["processed"]
    # The batches of the epoch that is over; the totals stay.
    batches = loop["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False
    if by_steps:
        # Lightning then goes once round its loop without a batch, and counts a step for the loggers.
        take_back_a_step(loop)


def check_progress(state: Any, usual: Any, where: str = "loops.fit_loop") -> None:
    """Raises if Lightning's record of progress is of another kind; it is read at any later moment.

    Args:
        state: What a checkpoint holds.
        usual: What a run that has not begun would hold.
        where: The keys that led there.

    Raises:
        UserError: It names the keys.
    """
    if usual is None:
        return
    if type(state) is not type(usual):
        raise UserError(f"the checkpoint is damaged: {where} is {state!r:.60}")
    if isinstance(usual, dict):
        for key in usual.keys() & state.keys():
            check_progress(state[key], usual[key], f"{where}.{key}")


def may_save(trainer: Trainer) -> bool:
    """Whether a checkpoint written at the end of this training batch continues exactly.

    Not in the middle of an accumulation, whose gradients are not saved, and not where a validation or the
    end of the epoch is about to follow: it would be left out or repeated.
    """
    if accumulates(trainer) or is_last_of_epoch(trainer):
        return False
    return not validates_next(trainer)


def epoch_sums(trainer: Trainer) -> Sums:
    """Returns what ``self.log(..., on_epoch=True)`` has summed so far in this epoch.

    Lightning forgets it when a run is continued; the epoch's mean would then be that of its second part.
    Metric objects of torchmetrics are not included: they are for validation.
    """
    results = logged_values(trainer)
    return {
        key: (metric.value.detach().cpu(), metric.cumulated_batch_size.cpu())
        for key, metric in results.items()
        if metric.is_tensor and metric.meta.on_epoch and metric.meta.is_mean_reduction
    }


def add_epoch_sums(trainer: Trainer, sums: Sums) -> None:
    """Adds the first part of an epoch to what its first batch after the restart has logged."""
    results = logged_values(trainer)
    for key, (value, size) in sums.items():
        if key in results:
            metric = results[key]
            metric.value = metric.value + value.to(metric.value.device)
            metric.cumulated_batch_size = metric.cumulated_batch_size + size.to(metric.value.device)
