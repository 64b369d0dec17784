"""Where a checkpoint stands: Lightning's own record of progress, made unambiguous."""

from typing import Any

from lightning.pytorch import Trainer


def close_epoch(checkpoint: dict[str, Any]) -> None:
    """Turns "at the end of an epoch" into "before the next one" in a checkpoint that is being loaded.

    The hook that saves runs before Lightning counts the epoch as complete. Restarting from there, Lightning
    runs the end of the epoch once more if ``max_steps`` is set. Does nothing to other checkpoints.
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


def may_save(trainer: Trainer) -> bool:
    """Whether a checkpoint written at the end of this training batch continues exactly.

    Not in the middle of an accumulation, whose gradients are not saved, and not where a validation or the
    end of the epoch is about to follow: it would be left out or repeated.
    """
    loop = trainer.fit_loop.epoch_loop
    if loop._should_accumulate() or loop._num_ready_batches_reached():
        return False
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return not loop._should_check_val_fx(fetcher)
