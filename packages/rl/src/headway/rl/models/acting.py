"""Models that act in environments."""

from abc import abstractmethod
from typing import Any, ClassVar

from headway.core.module import Module
from headway.rl.models.policy import Policy
from headway.rl.spaces import Spaces


class ActingModel(Module):
    """A model that ``evaluate``, ``headway rollout`` and ``headway collect`` play, whatever it is made of."""

    # Whether a return to ask for changes what it does.
    reads_returns: ClassVar[bool] = False

    @property
    @abstractmethod
    def spaces(self) -> Spaces:
        """What it sees and does."""

    @property
    def has_statistics(self) -> bool:
        """Whether it has what statistics of the training data it needs."""
        return True

    @abstractmethod
    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> Policy:
        """Returns what acts with it.

        Args:
            target_return: Return to ask for, where it ``reads_returns``.
            seed: Of what is drawn.
        """
