"""Acting by what is seen now, and nothing else."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.model_policy import ModelPolicy

if TYPE_CHECKING:
    from headway.rl.models.actor_critic import ActorCritic


class ReactivePolicy(ModelPolicy[Streams]):
    """Does what the actor says; its state is the randomness of each environment.

    Args:
        model: In evaluation mode.
        seed: Of what is drawn, where ``predict`` is given no seeds.
    """

    model: "ActorCritic"

    def fork(self, state: Streams, rows: NDArray[np.int64]) -> Streams:
        """Returns copies of the streams of some rows."""
        return state.select(np.asarray(rows).tolist())

    def _begin(self, batch: int) -> Streams:
        return Streams.drawn(self.seed, batch, self.device)

    def _restart(
        self, state: Streams, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None
    ) -> None:
        state.restart(starts, seeds)

    def _act(
        self, state: Streams, seen: Observations, starts: NDArray[np.bool_], deterministic: bool
    ) -> Tensor:
        features = self.model.act(each(lambda x: x[:, None], seen))[:, 0]
        return self.model.actions.sample(features, None if deterministic else state)
