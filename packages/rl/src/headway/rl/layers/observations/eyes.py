"""What encoders of cameras share: which parts of an observation are pictures, and what normalises them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.rl.layers.observations.base import (
    Moments,
    ObservationEncoder,
    ObservationFactory,
    Observations,
)
from headway.rl.layers.observations.named import DictObservations
from headway.rl.spaces import Box, Dict, Space

# Of ImageNet, between 0 and 1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Eyes(ObservationEncoder):
    """Knows the cameras of an observation, and mean and deviation of the pictures of each.

    Args:
        dim: Channels of a token.
        space: A ``Dict`` of pictures of bytes (height, width, 3) and of other parts.
        other: Builds what reads each part that is no picture, ``(dim, space)``; ``encoder_for`` if None.

    Shape:
        Observations: a mapping of name to (B, T, *shape).

    Raises:
        UserError: If there is no camera, or a picture has no three channels in the end.
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Dict,)
    # Whether it makes do without cameras.
    blind: ClassVar[bool] = False
    means: Tensor
    stds: Tensor

    def __init__(self, dim: int, space: Space, *, other: ObservationFactory | None = None) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Dict)
        self.views = {
            name: part
            for name, part in space.parts.items()
            if isinstance(part, Box) and part.is_image
        }
        wrong = [part for part in self.views.values() if part.shape[-1] != 3]
        self.names = tuple(space.parts)
        if wrong or not (self.views or self.blind):
            raise UserError(f"cameras are pictures (height, width, 3); got {space}")
        others = {name: part for name, part in space.parts.items() if name not in self.views}
        given = None if other is None else dict.fromkeys(others, other)
        self.vectors = DictObservations(dim, Dict(parts=others), parts=given) if others else None
        self.register_buffer("means", torch.tensor(MEAN).repeat(len(self.views), 1))
        self.register_buffer("stds", torch.tensor(STD).repeat(len(self.views), 1))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.views)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the means of the tokens."""
        return self.tokens(observations).mean(dim=2)

    def pictures(self, observations: Observations) -> list[Tensor]:
        """Returns the pictures of each camera in units of the training data, (B, T, 3, H, W).

        Raises:
            UserError: If those of a camera are missing.
        """
        assert isinstance(observations, Mapping)
        missing = [name for name in self.views if name not in observations]
        if missing:
            raise UserError(f"the observation {missing[0]!r} is missing; got {list(observations)}")
        found = []
        for number, name in enumerate(self.views):
            x = observations[name].to(self.means.dtype) / 255.0
            found.append(((x - self.means[number]) / self.stds[number]).movedim(-1, -3))
        return found

    def set_pictures(self, number: int, mean: Tensor, std: Tensor) -> None:
        """Takes mean and deviation of the pictures of a camera, between 0 and 1, (3,) or ()."""
        self.means[number] = mean.flatten()
        self.stds[number] = std.flatten()

    def set_moments(self, moments: Moments | Mapping[str, Moments]) -> None:
        """Takes those of the numbers; pictures keep theirs."""
        assert isinstance(moments, Mapping)
        if self.vectors is not None:
            self.vectors.set_moments({n: one for n, one in moments.items() if n not in self.views})

    @property
    def has_moments(self) -> bool:
        """Whether all numbers have them."""
        return self.vectors is None or self.vectors.has_moments

    def blank(self, *shape: int) -> Observations:
        """Returns zeros, and black pictures."""
        others: Any = {} if self.vectors is None else self.vectors.blank(*shape)
        black = {
            name: torch.zeros(*shape, *part.shape, dtype=torch.uint8, device=self.device)
            for name, part in self.views.items()
        }
        return others | black
