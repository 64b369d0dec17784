"""Learning rate schedules: a factor of the peak rate for every optimiser step.

All schedules share the linear warm-up and the unit of their lengths; the total comes from the trainer.
They multiply the rate of each parameter group, so that layer decay keeps its proportions.
"""

import logging
import math
from abc import ABC, abstractmethod
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from headway.core.errors import UserError

Unit = Literal["steps", "epochs"]

_log = logging.getLogger(__name__)


class ScheduleFactory(ABC):
    """What a task takes as ``schedule``: a warm-up followed by ``decay``.

    Args:
        warmup: Length of the linear warm-up, in ``unit``.
        unit: What lengths are counted in; epochs may be fractions.
    """

    def __init__(self, *, warmup: float = 0, unit: Unit = "epochs") -> None:
        if warmup < 0:
            raise UserError(f"warmup is {warmup} {unit}; it must be 0 or more")
        self.warmup = warmup
        self.unit: Unit = unit

    @abstractmethod
    def decay(self, step: float, total: float) -> float:
        """Returns the factor ``step`` steps after the warm-up, of ``total`` steps left at its end."""

    def __call__(
        self, optimizer: Optimizer, *, total_steps: float, steps_per_epoch: float
    ) -> LambdaLR:
        """Returns the scheduler, to be stepped after every optimiser step.

        Args:
            optimizer: What it drives.
            total_steps: Optimiser steps of the whole run; may be infinite.
            steps_per_epoch: Optimiser steps of one epoch; may be infinite.
        """
        self.bind(steps_per_epoch)
        warmup = self.steps(self.warmup)
        if warmup and warmup >= total_steps:
            # Not an error: a trial of a few steps must run with the recipe as it is.
            _log.warning(
                f"warmup ({self.warmup:g} {self.unit} = {warmup:g} steps) fills the whole run of "
                f"{total_steps:g} steps, the peak rate is never reached; shorten it or train longer"
            )

        def factor(step: int) -> float:
            if step < warmup:
                # The first step already learns, and step `warmup` is at the peak.
                return (step + 1) / (warmup + 1)
            return self.decay(step - warmup, total_steps - warmup)

        return LambdaLR(optimizer, factor)

    def bind(self, steps_per_epoch: float) -> None:
        """Tells the schedule how long an epoch is, in optimiser steps."""
        if self.unit == "epochs" and math.isinf(steps_per_epoch) and self.warmup:
            raise UserError(
                "the length of an epoch is unknown for this data; give the schedule unit: steps"
            )
        self._steps_per_epoch = steps_per_epoch

    def steps(self, length: float) -> float:
        """Returns a length given in ``unit`` as optimiser steps."""
        return length * self._steps_per_epoch if length and self.unit == "epochs" else length


def _finite(total: float, schedule: ScheduleFactory) -> float:
    if math.isinf(total):
        raise UserError(
            f"{type(schedule).__name__} needs the length of the run; "
            "set trainer.max_epochs or trainer.max_steps"
        )
    return max(total, 1)


class WarmupCosine(ScheduleFactory):
    """Half a cosine from the peak to ``final``.

    Args:
        warmup: Length of the linear warm-up, in ``unit``.
        unit: ``"epochs"`` or ``"steps"``.
        final: Last rate as a fraction of the peak.

    Source:
        Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, without restarts.
    """

    def __init__(self, *, warmup: float = 0, unit: Unit = "epochs", final: float = 0.0) -> None:
        super().__init__(warmup=warmup, unit=unit)
        self.final = final

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        done = min(step / _finite(total, self), 1.0)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


class WarmupLinear(ScheduleFactory):
    """A straight line from the peak to ``final``.

    Args:
        warmup: Length of the linear warm-up, in ``unit``.
        unit: ``"epochs"`` or ``"steps"``.
        final: Last rate as a fraction of the peak.
    """

    def __init__(self, *, warmup: float = 0, unit: Unit = "epochs", final: float = 0.0) -> None:
        super().__init__(warmup=warmup, unit=unit)
        self.final = final

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        return 1 + (self.final - 1) * min(step / _finite(total, self), 1.0)


class WarmupConstant(ScheduleFactory):
    """The peak rate until the end.

    Args:
        warmup: Length of the linear warm-up, in ``unit``.
        unit: ``"epochs"`` or ``"steps"``.
    """

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        return 1.0


class WarmupStep(ScheduleFactory):
    """Multiplies the rate by ``gamma`` at every milestone.

    Args:
        milestones: Where the rate falls, counted from the start of the run in ``unit``.
        gamma: Factor at each milestone.
        warmup: Length of the linear warm-up, in ``unit``.
        unit: ``"epochs"`` or ``"steps"``.
    """

    def __init__(
        self,
        *,
        milestones: list[float],
        gamma: float = 0.1,
        warmup: float = 0,
        unit: Unit = "epochs",
    ) -> None:
        super().__init__(warmup=warmup, unit=unit)
        self.milestones = milestones
        self.gamma = gamma

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        step += self.steps(self.warmup)
        # Epochs may be fractions: half a step of slack keeps a milestone on its own step.
        return self.gamma ** sum(step + 0.5 > self.steps(length) for length in self.milestones)


class OneCycle(ScheduleFactory):
    """Cosine up for the first part of the run, cosine down for the rest.

    Args:
        rise: Part of the run that goes up.
        start: First rate as a fraction of the peak.
        final: Last rate as a fraction of the peak.

    Source:
        Smith and Topin 2018, https://arxiv.org/abs/1708.07120; the momentum is left alone.
    """

    def __init__(self, *, rise: float = 0.3, start: float = 0.04, final: float = 1e-4) -> None:
        super().__init__()
        if not 0 < rise < 1:
            raise UserError(f"rise is {rise}; the rising part of a run lies between 0 and 1")
        self.rise = rise
        self.start = start
        self.final = final

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        done = min(step / _finite(total, self), 1.0)
        if done < self.rise:
            low, part = self.start, 1 - done / self.rise
        else:
            low, part = self.final, (done - self.rise) / (1 - self.rise)
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * part))


class InverseSquareRoot(ScheduleFactory):
    """Falls with the square root of the step; the length of the run need not be known.

    Args:
        warmup: Length of the linear warm-up, in ``unit``; it sets the scale of the fall too.
        unit: ``"epochs"`` or ``"steps"``.

    Source:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 5.3.
    """

    def __init__(self, *, warmup: float, unit: Unit = "steps") -> None:
        super().__init__(warmup=warmup, unit=unit)
        if warmup <= 0:
            raise UserError("InverseSquareRoot needs warmup above 0: it sets the scale of the fall")

    def decay(self, step: float, total: float) -> float:
        """Returns the factor of the peak rate."""
        warmup = self.steps(self.warmup)
        return math.sqrt(warmup / (warmup + step))
