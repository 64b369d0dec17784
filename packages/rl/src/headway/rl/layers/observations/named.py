"""Observations of several kinds by name."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import (
    Moments,
    ObservationEncoder,
    ObservationFactory,
    Observations,
)
from headway.rl.layers.observations.choice import ChoiceObservations
from headway.rl.layers.observations.image import ImageObservations
from headway.rl.layers.observations.vector import VectorObservations
from headway.rl.spaces import Box, Dict, Space


class DictObservations(ObservationEncoder):
    """The sum of the tokens of each named part.

    Args:
        dim: Channels of a token.
        space: A ``Dict``.
        parts: Builds the encoder of each named part, ``(dim, space)``; ``encoder_for`` if None.

    Shape:
        Observations: a mapping of name to (B, T, *shape). Output: (B, T, dim).
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Dict,)

    def __init__(
        self, dim: int, space: Space, *, parts: Mapping[str, ObservationFactory] | None = None
    ) -> None:
        super().__init__(dim, space)
        assert isinstance(space, Dict)
        if not space.parts:
            raise UserError("an observation of several parts has none")
        unknown = sorted(set(parts or {}) - set(space.parts))
        if unknown:
            raise UserError(
                f"there is no observation {unknown[0]!r}; there are {sorted(space.parts)}"
            )
        made = {
            name: (parts or {}).get(name, encoder_for)(dim, one)
            for name, one in space.parts.items()
        }
        # A name of a module has no dot.
        self.keys = {name: name.replace(".", "/") for name in made}
        self.parts = nn.ModuleDict({self.keys[name]: one for name, one in made.items()})

    def forward(self, observations: Observations) -> Tensor:
        """Returns the sums."""
        return self.tokens(observations).sum(dim=2)

    def tokens(self, observations: Observations) -> Tensor:
        """Returns the token of each part, in the order of the space, (B, T, parts, dim)."""
        return torch.stack(list(self.each(observations).values()), dim=2)

    def each(self, observations: Observations) -> dict[str, Tensor]:
        """Returns what each part says, (B, T, its width)."""
        assert isinstance(observations, Mapping)
        missing = [name for name in self.keys if name not in observations]
        if missing:
            raise UserError(f"the observation {missing[0]!r} is missing; got {list(observations)}")
        return {name: self.parts[key](observations[name]) for name, key in self.keys.items()}

    @property
    def widths(self) -> list[int]:
        """Channels of what each part says."""
        return [self._part(name).width for name in self.keys]

    @property
    def learned_positions(self) -> int:
        """One for each part."""
        return len(self.keys)

    def set_moments(self, moments: Moments | Mapping[str, Moments]) -> None:
        """Takes those of each part that has some."""
        assert isinstance(moments, Mapping)
        for name, one in moments.items():
            self._part(name).set_moments(one)

    @property
    def has_moments(self) -> bool:
        """Whether all parts have them."""
        return all(self._part(name).has_moments for name in self.keys)

    def blank(self, *shape: int) -> Observations:
        """Returns those of the parts."""
        found: dict[str, Any] = {name: self._part(name).blank(*shape) for name in self.keys}
        return found

    def _part(self, name: str) -> ObservationEncoder:
        part = self.parts[self.keys[name]]
        assert isinstance(part, ObservationEncoder)
        return part


def encoder_for(dim: int, space: Space) -> ObservationEncoder:
    """Builds what reads observations of a space: pictures, numbers, choices, or several by name.

    Args:
        dim: Channels of a token.
        space: The space.
    """
    if isinstance(space, Dict):
        return DictObservations(dim, space)
    if isinstance(space, Box):
        return ImageObservations(dim, space) if space.is_image else VectorObservations(dim, space)
    return ChoiceObservations(dim, space)
