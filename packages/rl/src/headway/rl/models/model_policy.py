"""What policies of models share: observations that come in, actions that go out."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.rl.layers.observations import Observations, rows_of
from headway.rl.models.acting import ActingModel
from headway.rl.models.seeing import as_batch
from headway.rl.spaces import Spaces

State = TypeVar("State")


class ModelPolicy(ABC, Generic[State]):
    """Acts with a model; a subclass says what is remembered and what is done.

    Args:
        model: In evaluation mode.
        seed: Of what is drawn, where ``predict`` is given no seeds.
    """

    model: Any

    def __init__(self, model: ActingModel, *, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.device = next(model.parameters()).device

    @property
    def spaces(self) -> Spaces:
        """What the model sees and does."""
        return self.model.spaces

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], State]:
        """Returns the actions and what must be given back at the next step; see ``Policy``."""
        seen, single = as_batch(observation, self.spaces.observation, self.device)
        batch = rows_of(seen)
        starts = np.zeros(batch, bool) if episode_start is None else np.atleast_1d(episode_start)
        if state is None:
            state, starts = self._begin(batch), np.ones(batch, bool)
        self._restart(state, starts, seeds)
        out = self._act(state, seen, starts, deterministic).cpu().numpy()
        return (out[0] if single else out), state

    def observe(self, state: State, reward: NDArray[Any] | float) -> None:
        """Does nothing: rewards are not looked at."""

    def instead(self, state: State, actions: NDArray[Any]) -> None:
        """Takes notice of what was done in place of the last answer, (B, *shape); does nothing by default."""

    @abstractmethod
    def fork(self, state: State, rows: NDArray[np.int64]) -> State:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""

    @abstractmethod
    def _begin(self, batch: int) -> State:
        """Returns the state of environments that begin."""

    @abstractmethod
    def _restart(
        self, state: State, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        """Begins the episodes of some rows anew, (B,); called at every step, if none does, too."""

    @abstractmethod
    def _act(
        self, state: State, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        """Returns the actions, (B, *shape), and changes the state."""
