"""Acting with words and a memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.rl.layers.observations import Observations
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy

if TYPE_CHECKING:
    from headway.rl.models.dart.model import DART


@dataclass
class Remembered:
    """The memory of each episode, (B, M, dim), and the randomness of each environment."""

    memory: Tensor
    streams: Streams


class WordPolicy(ModelPolicy[Remembered]):
    """Reads the words of each picture, and a memory of those before.

    Args:
        model: In evaluation mode.
        seed: Of the actions that are drawn, where ``predict`` is given no seeds.
    """

    model: "DART"

    def fork(self, state: Remembered, rows: NDArray[np.int64]) -> Remembered:
        """Returns a copy of a state with the given rows."""
        chosen = list(map(int, rows))
        return Remembered(state.memory[chosen].clone(), state.streams.select(chosen))

    def _begin(self, batch: int) -> Remembered:
        first = self.model.actor.first_memory(batch)
        return Remembered(first, Streams.drawn(self.seed, batch, self.device))

    def _restart(
        self, state: Remembered, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.streams.restart(starts, seeds)
        rows = torch.as_tensor(starts, device=self.device)[:, None, None]
        first = self.model.actor.first_memory(len(starts))
        state.memory = torch.where(rows, first, state.memory)

    def _act(
        self, state: Remembered, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        assert isinstance(seen, Tensor)
        model = self.model
        words = model.actor.embed(model.eyes.codes(seen))
        features, state.memory = model.actor(words, state.memory)
        return model.actions.sample(features, None if deterministic else state.streams)
