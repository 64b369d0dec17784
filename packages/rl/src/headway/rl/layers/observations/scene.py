"""Observations of a scene and a demonstration: one token for each object."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeGuard

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.spaces import Box, Dict, Space

SCENE, PROMPT = "objects", "prompt"


def is_table(space: Space | None) -> TypeGuard[Box]:
    """Whether a space has rows of numbers."""
    return isinstance(space, Box) and len(space.shape) == 2


class SceneObservations(ObservationEncoder):
    """One token for each object of a scene, and one for each step of a demonstration.

    All attributes of an object go through one linear layer, which adds up what it has learned of each; the
    type of a token (scene or demonstration) and the step of the demonstration are added.

    Args:
        dim: Channels of a token.
        space: A ``Dict`` of ``objects`` (N, F) and ``prompt`` (M, F).

    Shape:
        Observations: (B, T, N, F) and (B, T, M, F) by name. ``tokens``: (B, T, N + M, dim), the scene's in
        front. Output: their sum, (B, T, dim).

    Raises:
        UserError: If the space is another.
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Dict,)

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Dict)
        scene, shown = (space.parts.get(name) for name in (SCENE, PROMPT))
        if not (is_table(scene) and is_table(shown) and scene.shape[1] == shown.shape[1]):
            raise UserError(
                f"a scene has {SCENE} (N, F) and a {PROMPT} (M, F) of the same F attributes, got {space}"
            )
        self.objects = scene.shape[0]
        self.attributes = nn.Linear(scene.shape[1], dim)
        self.types = nn.Parameter(0.02 * torch.randn(2, dim))
        self.steps = nn.Parameter(0.02 * torch.randn(shown.shape[0], dim))

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the tokens of the scene and those of the demonstration."""
        assert isinstance(observations, Mapping)
        dtype = self.types.dtype
        scene = self.attributes(observations[SCENE].to(dtype)) + self.types[0]
        shown = self.attributes(observations[PROMPT].to(dtype)) + self.types[1] + self.steps
        return torch.cat([scene, shown], dim=2)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the sum of the tokens."""
        return self.tokens(observations).sum(dim=2)

    def blank(self, *shape: int) -> Observations:
        """Returns scenes of zeros."""
        assert isinstance(self.space, Dict)
        return {
            name: torch.zeros(*shape, *getattr(part, "shape", ()), device=self.device)
            for name, part in self.space.parts.items()
        }
