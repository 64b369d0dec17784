"""Observations that are choices."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.spaces import Discrete, MultiDiscrete, Space

MAX_CHOICES = 2**20
"""Choices that a table may have."""


class ChoiceObservations(ObservationEncoder):
    """One learned vector for each choice; those of several choices are added.

    Args:
        dim: Channels of a token.
        space: ``Discrete`` or ``MultiDiscrete``, from any start.

    Shape:
        Observations: (B, T), or (B, T, N) of N choices at once, of any type of whole numbers. Output:
        (B, T, dim).
    """

    reads: ClassVar[tuple[type[Any], ...]] = (Discrete, MultiDiscrete)
    offsets: Tensor

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__(dim, space)
        assert isinstance(space, (Discrete, MultiDiscrete))
        self.single = isinstance(space, Discrete)
        self.numbers = (space.n,) if isinstance(space, Discrete) else space.n
        if sum(self.numbers) > MAX_CHOICES:
            raise UserError(
                f"{sum(self.numbers):,} choices would each have a vector, at most {MAX_CHOICES:,} may; "
                "bin or embed such observations, and write the data set anew"
            )
        # One table holds the vectors of all choices, those of each behind the ones before.
        self.table = nn.Embedding(sum(self.numbers), dim)
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns where the vectors of each begin in the table."""
        return {"offsets": torch.tensor([0, *self.numbers[:-1]]).cumsum(dim=0)}

    @property
    def first(self) -> Tensor:
        """The first choice of each, (N,)."""
        space = self.space
        assert isinstance(space, (Discrete, MultiDiscrete))
        starts = (space.start,) if isinstance(space, Discrete) else space.start
        return torch.tensor(starts, device=self.device)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""
        assert isinstance(observations, Tensor)
        chosen = observations.long()
        if self.single:
            chosen = chosen.reshape(*chosen.shape[:2], 1)
        # What padding holds need not be a choice.
        places = (chosen - self.first).clamp_min(0)
        most = torch.tensor(self.numbers, device=places.device) - 1
        return self.table(torch.minimum(places, most) + self.offsets).sum(dim=-2)

    def blank(self, *shape: int) -> Observations:
        """Returns the first choices."""
        tail = () if self.single else (len(self.numbers),)
        return self.first.expand(*shape, *tail).clone() if tail else self.first[0].expand(*shape)
