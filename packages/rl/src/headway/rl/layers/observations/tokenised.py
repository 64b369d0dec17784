"""Observations whose numbers are tokens."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from headway.rl.layers.observations.base import Moments, ObservationEncoder, Observations
from headway.rl.layers.token_table import TokenTable
from headway.rl.layers.tokens import TokensFactory, UniformTokens, tokens_for
from headway.rl.spaces import Box, Discrete, MultiDiscrete, Space


class TokenObservations(ObservationEncoder):
    """One token for each number of an observation; together, their sum.

    Args:
        dim: Channels of a token.
        space: ``Box``, ``Discrete`` or ``MultiDiscrete``.
        tokens: Makes tokens of the numbers of a ``Box``, ``(space)``.

    Shape:
        Observations: (B, T, *shape). Output: (B, T, dim).
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Box, Discrete, MultiDiscrete)

    def __init__(self, dim: int, space: Space, *, tokens: TokensFactory = UniformTokens) -> None:
        super().__init__(dim, space)
        self.binning = tokens_for(space, tokens)
        self.table = TokenTable(dim, self.binning.sizes)

    def __setattr__(self, name: str, value: Any) -> None:
        # Where choices start, and what bounds numbers have, is said once for both.
        if name == "space" and "binning" in self._modules:
            self.binning.space = value
        super().__setattr__(name, value)

    def encode(self, observations: Observations) -> Tensor:
        """Returns the tokens, (..., N) int64."""
        assert isinstance(observations, Tensor)
        return self.binning.encode(observations)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the sum of the tokens."""
        return self.table.embed(self.encode(observations)).sum(dim=-2)

    def set_moments(self, moments: Moments | Mapping[str, Moments]) -> None:
        """Leaves them: bins have bounds, which ``set_bounds`` takes."""

    def set_bounds(self, seen: Tensor) -> None:
        """Takes many observations of the training data, (N, *shape)."""
        self.binning.prepare(seen)
