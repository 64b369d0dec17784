"""Acting by what is seen now, and nothing else."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.rl.layers.observations import each, rows_of
from headway.rl.layers.streams import Streams
from headway.rl.models.seeing import as_batch
from headway.rl.spaces import Spaces

if TYPE_CHECKING:
    from headway.rl.models.actor_critic import ActorCritic


class ReactivePolicy:
    """Does what the actor says; its state is the randomness of each environment.

    Args:
        model: In evaluation mode.
        seed: Of what is drawn, where ``predict`` is given no seeds.
    """

    def __init__(self, model: "ActorCritic", *, seed: int = 0) -> None:
        self.model, self.seed = model, seed
        self.device = model.return_scale.device

    @property
    def spaces(self) -> Spaces:
        """What the model sees and does."""
        return self.model.spaces

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: Streams | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[Any], Streams]:
        """Returns the actions and what must be given back at the next step; see ``Policy``."""
        found, single = as_batch(observation, self.spaces.observation, self.device)
        number = rows_of(found)
        if state is None:
            state, episode_start = (
                Streams.drawn(self.seed, number, self.device),
                np.ones(number, bool),
            )
        if episode_start is not None:
            state.restart(np.atleast_1d(episode_start), seeds)
        features = self.model.act(each(lambda x: x[:, None], found))[:, 0]
        out = self.model.actions.sample(features, None if deterministic else state).cpu().numpy()
        return (out[0] if single else out), state

    def observe(self, state: Streams, reward: NDArray[Any] | float) -> None:
        """Does nothing: rewards are not looked at."""

    def fork(self, state: Streams, rows: NDArray[np.int64]) -> Streams:
        """Returns copies of the streams of some rows."""
        return state.select(np.asarray(rows).tolist())
