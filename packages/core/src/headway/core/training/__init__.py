"""Training with Lightning: tasks, data modules, optimisers, schedules, and runs that can be continued."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily
from headway.core.passed import Passed
from headway.core.training.groups import layer_depths, parameter_groups
from headway.core.training.optimizers import (
    LAMB,
    SAM,
    SGD,
    Adam,
    AdamW,
    Lion,
    OptimizerFactory,
)
from headway.core.training.options import (
    ItemOptions,
    LoaderOptions,
    TrainingOptions,
)
from headway.core.training.run_folder import RunFolder
from headway.core.training.schedules import (
    InverseSquareRoot,
    OneCycle,
    ScheduleFactory,
    WarmupConstant,
    WarmupCosine,
    WarmupLinear,
    WarmupStep,
)

if TYPE_CHECKING:
    from headway.core.training.data import DataModule
    from headway.core.training.recorder import RunRecorder
    from headway.core.training.reporter import LineReporter
    from headway.core.training.scores import score_collection
    from headway.core.training.task import Strategy, Task

__all__ = [
    "LAMB",
    "SAM",
    "SGD",
    "Adam",
    "AdamW",
    "DataModule",
    "InverseSquareRoot",
    "ItemOptions",
    "LineReporter",
    "Lion",
    "LoaderOptions",
    "OneCycle",
    "OptimizerFactory",
    "Passed",
    "RunFolder",
    "RunRecorder",
    "ScheduleFactory",
    "Strategy",
    "Task",
    "TrainingOptions",
    "WarmupConstant",
    "WarmupCosine",
    "WarmupLinear",
    "WarmupStep",
    "layer_depths",
    "parameter_groups",
    "score_collection",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "DataModule": "data",
        "LineReporter": "reporter",
        "RunRecorder": "recorder",
        "Strategy": "task",
        "Task": "task",
        "score_collection": "scores",
    },
)
