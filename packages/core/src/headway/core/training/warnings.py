"""What a run says before it starts, once and on the first process alone."""

from collections.abc import Mapping

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn


def warn_of_other_data(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Warns if a run is continued with data that have changed since.

    Args:
        before: Fingerprints of the sources when the checkpoint was written.
        now: Fingerprints of today.
    """
    changed = [source for source, number in now.items() if before.get(source, number) != number]
    other = sorted(now.keys() - before.keys()) if before.keys() != now.keys() else []
    for source in changed:
        rank_zero_warn(
            f"{source} has changed since this run began: it goes on with other data, and its metrics are "
            "not those of one run"
        )
    if other:
        rank_zero_warn(
            f"this run began with {', '.join(before) or 'other data'} and goes on with {', '.join(other)}"
        )


def warn_of_batch_norm(model: nn.Module) -> None:
    """Warns if batch norm would see the part of a batch that is on its own device."""
    names = [
        name
        for name, module in model.named_modules()
        if getattr(module, "running_mean", None) is not None
        and not isinstance(module, nn.SyncBatchNorm)
        and module.training
    ]
    if names:
        rank_zero_warn(
            f"{len(names)} batch norms ({names[0]} ...) take their statistics from the part of a batch that "
            "is on their own device, so results differ from those of one device; "
            "--trainer.sync_batchnorm true joins those of torch"
        )
