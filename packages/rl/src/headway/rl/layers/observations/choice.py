"""Observations that are choices."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.rl.layers.observations.base import ObservationEncoder, Observations
from headway.rl.spaces import Discrete, MultiDiscrete, Space, flat_choices

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
    last: Tensor

    def __init__(self, dim: int, space: Space) -> None:
        super().__init__(dim, space)
        assert isinstance(space, (Discrete, MultiDiscrete))
        self.single = isinstance(space, Discrete)
        self.numbers, _ = flat_choices(space)
        if sum(self.numbers) > MAX_CHOICES:
            raise UserError(
                f"{sum(self.numbers):,} choices would each have a vector, at most {MAX_CHOICES:,} may; "
                "bin or embed such observations, and write the data set anew"
            )
        # One table holds the vectors of all choices, those of each behind the ones before.
        self.table = nn.Embedding(sum(self.numbers), dim)
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns where the vectors of each begin in the table, and the last choice of each, from 0."""
        return {
            "offsets": torch.tensor([0, *self.numbers[:-1]]).cumsum(dim=0),
            "last": torch.tensor(self.numbers) - 1,
        }

    @property
    def first(self) -> Tensor:
        """The first choice of each, (N,)."""
        return torch.tensor(flat_choices(self.space)[1], device=self.device)

    def forward(self, observations: Observations) -> Tensor:
        """Returns the tokens."""
        assert isinstance(observations, Tensor)
        chosen = observations.long()
        if self.single:
            chosen = chosen.reshape(*chosen.shape[:2], 1)
        # What padding holds need not be a choice.
        places = (chosen - self.first).clamp_min(0)
        return self.table(torch.minimum(places, self.last) + self.offsets).sum(dim=-2)

    def blank(self, *shape: int) -> Observations:
        """Returns the first choices."""
        tail = () if self.single else (len(self.numbers),)
        return self.first.expand(*shape, *tail).clone() if tail else self.first[0].expand(*shape)
