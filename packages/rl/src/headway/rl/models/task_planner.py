"""The transformer task planner."""

from collections.abc import Mapping
from functools import partial
from typing import Any, TypedDict

from torch import Tensor

from headway.core.init import init_transformer_
from headway.core.passed import Passed
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import PointingActions
from headway.rl.layers.observations import (
    ObservationEncoder,
    Observations,
    SceneObservations,
    encoder_for,
)
from headway.rl.layers.streams import Streams
from headway.rl.models.chunk import ChunkModel
from headway.rl.models.trajectory import hide
from headway.rl.spaces import Dict, Space


class PlannerSpaces(TypedDict, total=False):
    """What a ``TaskPlanner`` passes on."""

    spaces: dict[str, Any] | None


def scene_encoder(dim: int, space: Space) -> ObservationEncoder:
    """Builds what reads scenes; what stands there until the data say which, reads anything."""
    return SceneObservations(dim, space) if isinstance(space, Dict) else encoder_for(dim, space)


@system(
    id=186,
    name="TTP",
    paper="https://arxiv.org/abs/2207.02442",
    claim="one demonstration of a preference that was not in training is enough to act by it",
    test="packages/rl/tests/models/test_task_planner.py",
)
class TaskPlanner(ChunkModel):
    """Says what to do next with which object, as somebody likes it who has shown it once.

    Each object of the scene and each step of the demonstration is a token of its attributes; all see each
    other, and each object's token says how likely it comes next, and where it goes.

    Args:
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of attention.
        ways: What can be done to an object, such as the racks that it may go into.
        prompted: Whether the demonstration is read.
        **spaces: As of every ``DecisionModel``: spaces.

    Shape:
        observations: ``objects`` (B, T, N, F) and ``prompt`` (B, T, M, F). Output: logits (B, T, N * ways).

    Note:
        A step of the demonstration is the object that was taken, where it went; in the paper it is the whole
        scene, and to take and to place are two actions.

    Source:
        Jain et al. 2022, https://arxiv.org/abs/2207.02442, section 3.
    """

    def __init__(
        self,
        *,
        dim: int = 64,
        depth: int = 3,
        heads: int = 4,
        ways: int = 2,
        prompted: bool = True,
        **spaces: Passed[PlannerSpaces],
    ) -> None:
        given: Mapping[str, Any] = spaces
        known = given.get("spaces") is not None
        super().__init__(
            dim,
            horizon=1,
            observations=scene_encoder,
            actions=partial(PointingActions, ways=ways),
            # One object stands in until the data say how many there are.
            action_dim=None if known else ways,
            **spaces,
        )
        self.inferred = {"observation": not known, "action": not known}
        self.prompted = prompted
        self.encoder = Encoder(dim, depth, heads)
        init_transformer_(self.encoder)

    def objects(self, observations: Observations) -> Tensor:
        """Returns what is known of each object of the scene, (B, T, N, dim)."""
        encoder = self.observation_embedding
        assert isinstance(encoder, SceneObservations)
        tokens = encoder.tokens(observations)
        if not self.prompted:
            tokens = tokens[:, :, : encoder.objects]
        x, _ = self.encoder(tokens.flatten(0, 1))
        return x[:, : encoder.objects].unflatten(0, tokens.shape[:2])

    def features(self, batch: Batch) -> Tensor:
        """Returns what is known of each object before each action of a batch, (B, T, N, dim)."""
        return self.objects(hide(batch["observations"], ~batch["mask"]))

    def forward(self, observations: Observations) -> Tensor:
        """Returns the logits of each scene."""
        return self.actions.predict(self.objects(observations))

    def plan(self, seen: Observations, streams: Streams) -> Tensor:
        """Returns the likeliest action."""
        return self.actions.sample(self.objects(seen))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean cross-entropy of the real steps."""
        losses = self.actions.loss(self.features(batch), batch)
        return {"loss": mean_of_steps(losses, batch["mask"])}
