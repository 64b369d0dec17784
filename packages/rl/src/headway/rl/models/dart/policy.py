"""Acting with words and a memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.rl.layers.observations import rows_of
from headway.rl.layers.streams import Streams
from headway.rl.models.seeing import as_batch
from headway.rl.spaces import Spaces

if TYPE_CHECKING:
    from headway.rl.models.dart.model import DART


@dataclass
class Remembered:
    """The memory of each episode, (B, M, dim), and the randomness of each environment."""

    memory: Tensor
    streams: Streams


class WordPolicy:
    """Reads the words of each picture, and a memory of those before.

    Args:
        model: In evaluation mode.
        seed: Of the actions that are drawn, where ``predict`` is given no seeds.
    """

    def __init__(self, model: "DART", *, seed: int = 0) -> None:
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
        state: Remembered | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], Remembered]:
        """Returns the actions and what must be given back at the next step; see ``Policy``."""
        seen, single = as_batch(observation, self.spaces.observation, self.device)
        assert isinstance(seen, Tensor)
        number, model = rows_of(seen), self.model
        first = model.actor.first_memory(number)
        if state is None:
            state = Remembered(first, Streams.drawn(self.seed, number, self.device))
            episode_start = np.ones(number, bool)
        if episode_start is not None:
            begins = np.atleast_1d(episode_start)
            state.streams.restart(begins, seeds)
            rows = torch.as_tensor(begins, device=self.device)[:, None, None]
            state.memory = torch.where(rows, first, state.memory)
        features, state.memory = model.actor(
            model.actor.embed(model.eyes.codes(seen)), state.memory
        )
        chosen = model.actions.sample(features, None if deterministic else state.streams)
        out = chosen.cpu().numpy()
        return (out[0] if single else out), state

    def observe(self, state: Remembered, reward: NDArray[Any] | float) -> None:
        """Does nothing: rewards are not looked at."""

    def fork(self, state: Remembered, rows: NDArray[np.int64]) -> Remembered:
        """Returns a copy of a state with the given rows."""
        chosen = list(map(int, rows))
        return Remembered(state.memory[chosen].clone(), state.streams.select(chosen))
