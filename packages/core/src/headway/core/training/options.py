"""What data modules and tasks pass on to their base by name."""

from typing import Required, TypedDict

from headway.core.finetune import FineTuning
from headway.core.training.optimizers import OptimizerFactory
from headway.core.training.schedules import ScheduleFactory


class ItemOptions(TypedDict, total=False):
    """What a ``DataModule`` that makes batches its own way passes on."""

    workers: int
    seed: int
    shuffle: bool
    eval_batch_size: int | None


class LoaderOptions(ItemOptions, total=False):
    """What a ``DataModule`` passes on; ``batch_size`` has another default in each."""

    drop_last: bool


class TrainingOptions(TypedDict, total=False):
    """What a ``Task`` passes on besides its ``backbone``."""

    optimizer: Required[OptimizerFactory]
    schedule: ScheduleFactory | None
    finetune: FineTuning | None
    layer_decay: float | None
    ema: float | None
    compile: bool
