"""Arguments that a constructor passes on to its base by name."""

from typing import TYPE_CHECKING, Annotated, Any, Required, TypedDict

from headway.core.finetune import FineTuning
from headway.core.training.optimizers import OptimizerFactory
from headway.core.training.schedules import ScheduleFactory

if TYPE_CHECKING:
    from typing import Unpack as Passed
else:

    class Passed:
        """``**options: Passed[Options]``: keyword arguments that go on as ``super().__init__(**options)``.

        A type checker reads ``Unpack[Options]`` and checks who calls. The command line would find no
        defaults in that; so what it sees is a plain ``**options``, which it follows to the signature of the
        base: types, defaults and help are those that stand there, and nowhere else.
        ``packages/core/tests/cli/test_passed_options.py`` holds the two together.
        """

        def __class_getitem__(cls, options: type) -> Any:
            return Annotated[Any, options]


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
