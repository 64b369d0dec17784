"""What models share that say several actions at once."""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.rl.batch import Batch
from headway.rl.layers.observations import Observations, each
from headway.rl.layers.streams import Streams
from headway.rl.models.base import DecisionModel, DecisionOptions
from headway.rl.models.chunk_policy import ChunkPolicy


class Chunk(NamedTuple):
    """What was seen last, and what was done from then on.

    Args:
        seen: (B, history, *shape), the present last, or several such by name.
        actions: (B, horizon, *shape); what pads is zero.
        mask: True where an action is real, (B, horizon): before the end of the episode.
    """

    seen: Observations
    actions: Tensor
    mask: Tensor


class ChunkModel(DecisionModel):
    """Says the next actions from the last observations.

    A stretch of the data begins with the observations that are looked at and holds the actions from the last
    of them on: its ``context_length`` is ``history + horizon - 1``. Let it begin at any step (``any_start``),
    so that the ends of episodes are learned. At the beginning of an episode the first observation stands in
    for those before it, in training as in play.

    Args:
        dim: Channels of a token.
        horizon: Actions of a chunk.
        taken: How many of them are carried out before the next chunk is asked for; all if None.
        history: Observations that are looked at, the present one included.
        ensemble: Where it is given, a chunk is asked for at every step, and what all chunks say about a step
            is averaged with weights ``exp(-ensemble * i)``, i = 0 for the oldest; ``taken`` is not read.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions.

    Raises:
        UserError: If a number is too small, or more actions are carried out than said.
    """

    def __init__(
        self,
        dim: int,
        *,
        horizon: int,
        taken: int | None = None,
        history: int = 1,
        ensemble: float | None = None,
        **decision: Passed[DecisionOptions],
    ) -> None:
        super().__init__(dim, **decision)
        if horizon < 1 or history < 1:
            raise UserError(
                f"horizon is {horizon} and history {history}; at least 1 each is needed"
            )
        if taken is not None and not 1 <= taken <= horizon:
            raise UserError(f"taken is {taken}; of a chunk of {horizon} actions 1 to {horizon} are")
        self.horizon, self.history, self.ensemble = horizon, history, ensemble
        self.taken = horizon if taken is None else taken

    @abstractmethod
    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns the next actions, as the environment takes them.

        Args:
            seen: The last observations, (B, history, *shape), or several such by name.
            streams: Randomness of each row.

        Shape:
            Output: (B, horizon, *shape).
        """

    @property
    def stretch(self) -> int:
        """Steps of a stretch that it reads."""
        return self.history + self.horizon - 1

    def present(self, batch: Batch) -> Tensor:
        """Returns which step of each stretch is the present one, (B,).

        Where a stretch begins an episode, any of its first ``history`` observations may be, by chance in
        training; the first in evaluation.

        Raises:
            UserError: If stretches are too short.
        """
        steps = batch["mask"].shape[1]
        if steps < self.stretch:
            raise UserError(
                f"stretches have {steps} steps, the model reads {self.stretch}; set the data's "
                f"context_length to {self.stretch}"
            )
        number, device = len(batch["mask"]), batch["mask"].device
        present = torch.full((number,), self.history - 1, device=device)
        if self.history > 1:
            drawn = torch.randint(self.history, (number,), device=device)
            first = drawn if self.training else torch.zeros_like(drawn)
            first = torch.minimum(first, batch["lengths"] - 1)
            present = torch.where(batch["timesteps"][:, 0] == 0, first, present)
        return torch.minimum(present, batch["lengths"] - 1)

    def chunk(self, batch: Batch) -> Chunk:
        """Returns observations and actions of stretches, from the present step of each on.

        Raises:
            UserError: If stretches are too short.
        """
        present = self.present(batch)
        coming = present[:, None] + torch.arange(self.horizon, device=present.device)
        actions, mask = self.done(batch, coming)
        hidden = ~mask.reshape(*mask.shape, *[1] * (actions.ndim - 2))
        return Chunk(self.seen(batch, present), actions.masked_fill(hidden, 0), mask)

    def seen(self, batch: Batch, present: Tensor) -> Observations:
        """Returns the last observations, (B, history, *shape); the first stands in for those before it.

        Args:
            batch: The stretches.
            present: Which step is the present one, (B,).
        """
        past = present[:, None] + torch.arange(1 - self.history, 1, device=present.device)
        rows = torch.arange(len(past), device=past.device)[:, None]
        return each(lambda x: x[rows, past.clamp_min(0)], batch["observations"])

    def done(self, batch: Batch, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns actions, (B, ..., *shape), and which of them are real, (B, ...).

        Before and behind what is known stands the nearest action.

        Args:
            batch: The stretches.
            steps: Which, (B, ...).
        """
        ones = [1] * (steps.ndim - 1)
        last = (batch["lengths"] - 1).reshape(-1, *ones)
        rows = torch.arange(len(steps), device=steps.device).reshape(-1, *ones)
        held = torch.minimum(steps.clamp_min(0), last)
        return batch["actions"][rows, held], (steps >= 0) & (steps <= last)

    def policy(self, *, target_return: Any = 0.0, seed: int = 0) -> ChunkPolicy:
        """Returns what acts with it; see ``DecisionModel``."""
        return ChunkPolicy(self, seed=seed)
