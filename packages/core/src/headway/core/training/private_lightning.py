"""What headway uses of Lightning beyond its public names, all in one place; no other file does.

Tested with Lightning 2.6.6. A release that changes one of these names is mended here.
"""

from typing import Any

from lightning.pytorch import Trainer


def accumulates(trainer: Trainer) -> bool:
    """Whether the gradients of the batch before are still being added up."""
    return trainer.fit_loop.epoch_loop._should_accumulate()


def is_last_of_epoch(trainer: Trainer) -> bool:
    """Whether all batches of the epoch are done."""
    return trainer.fit_loop.epoch_loop._num_ready_batches_reached()


def validates_next(trainer: Trainer) -> bool:
    """Whether a validation is about to follow."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None
    return trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)


def logged_values(trainer: Trainer) -> Any:
    """What ``self.log`` has gathered in this epoch, by key."""
    return trainer.fit_loop.epoch_loop._results


def logged_now(trainer: Trainer) -> Any:
    """As ``logged_values``, of the loop that runs now, such as that of a validation."""
    return trainer._results or {}


def take_back_a_step(loop: dict[str, Any]) -> None:
    """Lowers the steps that loggers see in the state of a fit loop by one."""
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
