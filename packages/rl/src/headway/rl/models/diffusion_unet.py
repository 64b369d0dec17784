"""Diffusion policies with convolutions."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory, ActionHead, UNetActions
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.layers.observations import Observations, joined
from headway.rl.layers.streams import Streams
from headway.rl.models.base import DecisionOptions
from headway.rl.models.chunk import ChunkModel
from headway.rl.spaces import Space


@system(
    id=None,
    name="Diffusion Policy",
    paper="https://arxiv.org/abs/2303.04137",
    claim="chunks of actions out of noise by convolutions: all ways of demonstrations are kept, where a "
    "squared error takes their mean; equal to lerobot's with copied weights",
    test="packages/rl/tests/models/test_diffusion_policy.py",
)
class DiffusionUNet(ChunkModel):
    """A U-Net over the steps of a chunk takes noise off actions; what was seen modulates its channels.

    The last observations are made one row of numbers (``JoinedObservations``), which with the step of the
    noise chooses gain and bias of each channel (FiLM). Noise is taken off the actions of the history, too:
    the chunk begins with that of the first observation, and what is carried out is what comes from the
    present one on.

    Args:
        dim: Channels of the step of the noise, and of a token where ``observations`` makes tokens.
        widths: Channels at each level; from one level to the next there are half as many steps.
        kernel: Steps that a convolution reads, odd.
        groups: Groups of the norms, of which the widths are multiples.
        scale: Whether what was seen chooses a gain of each channel, or a bias alone.
        horizon: Actions from the present one on; with ``history - 1`` more they are a multiple of 2 to the
            number of widths but one.
        taken: How many are carried out before the next chunk is asked for; all if None.
        history: Observations that are looked at, the present one included.
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``.
        **decision: As of every ``DecisionModel``: spaces, observation_dim, action_dim, observations, actions
            (``UNetActions`` of the arguments above if None; it is told how long the row is).

    Shape:
        observations: (B, history, *shape), or several such by name. Output: (B, horizon, *shape of an
        action).

    Raises:
        UserError: If a chunk cannot be halved as often as there are levels.

    Note:
        The error counts real actions alone; the authors' code and lerobot's count those that are held before
        and behind an episode, too.

    Source:
        Chi et al. 2023, https://arxiv.org/abs/2303.04137.
    """

    def __init__(
        self,
        *,
        dim: int = 128,
        widths: Sequence[int] = (128, 256),
        kernel: int = 5,
        groups: int = 8,
        scale: bool = True,
        horizon: int = 15,
        taken: int | None = 8,
        history: int = 2,
        noising: Callable[[], Noising] = DiffusionNoising,
        **decision: Passed[DecisionOptions],
    ) -> None:
        length, factor = history - 1 + horizon, 2 ** (len(widths) - 1)
        if length % factor:
            raise UserError(
                f"horizon is {horizon} and history {history}; horizon + history - 1 must be a multiple of "
                f"{factor}, for {len(widths)} widths"
            )
        if decision.get("observations") is None:
            decision["observations"] = joined
        made = partial(
            UNetActions,
            widths=tuple(widths),
            kernel=kernel,
            groups=groups,
            step_dim=dim,
            scale=scale,
            noising=noising,
        )
        # The head is told the length of the row, which depends on what is seen.
        decision["actions"] = partial(self._denoiser, decision.get("actions") or made, history)
        super().__init__(dim, horizon=horizon, taken=taken, history=history, **decision)

    def _denoiser(self, make: ActionFactory, history: int, dim: int, space: Any) -> ActionHead:
        return make(history * self.observation_embedding.width, space)

    @property
    def head(self) -> UNetActions:
        """What takes noise off actions."""
        assert isinstance(self.actions, UNetActions)
        return self.actions

    def _observe(self, space: Space) -> None:
        before = self.observation_embedding
        super()._observe(space)
        if self.observation_embedding is not before:
            made = self._actions(self.dim, self.actions.space)
            self.actions = made.to(self.return_scale.device, self.return_scale.dtype)

    def see(self, seen: Observations) -> Tensor:
        """Returns the row of the last observations, (B, history * width)."""
        return self.observation_embedding(seen).flatten(1)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the chunk that lies in the middle of the noise."""
        return self._generate(observations, None)

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns a chunk out of noise."""
        return self._generate(seen, streams)

    def _generate(self, seen: Observations, streams: Streams | None) -> Tensor:
        length = self.history - 1 + self.horizon
        return self.head.generate([self.see(seen)], length, streams)[:, self.history - 1 :]

    def predict(self, batch: Batch) -> Tensor:
        """Returns the chunks in the middle of the noise that follow the first observations of a batch."""
        return self(self.chunk(batch).seen)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean error of what is said of real actions with random noise."""
        present = self.present(batch)
        steps = torch.arange(1 - self.history, self.horizon, device=present.device)
        actions, mask = self.done(batch, present[:, None] + steps)
        seen = self.see(self.seen(batch, present))
        losses = self.head.noise_loss([seen], self.head.scaled(actions))
        return {"loss": mean_of_steps(losses, mask)}
