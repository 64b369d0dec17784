"""Encodings that say how large a digit is."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module


class NumericalEncoding(Module):
    """A fixed vector for each token that is a digit at its place in a number; nothing for any other token.

    Channel ``j`` of a digit that is worth ``x`` (a 3 behind the point 0.3) is ``(-1)^j x / (j + 1)``: digits
    that are near each other have vectors that are near, and unseen ones lie between those seen.

    Args:
        worth: What each token of the vocabulary is worth; 0 for those that are no digit.
        dim: Channels of a token.
        channels: How many of them the encoding takes, from the first.
        largest: What the largest digit is scaled to.

    Shape:
        tokens: (...) int64. Output: (..., dim).

    Raises:
        UserError: If there are more ``channels`` than ``dim``, or none.

    Source:
        Born and Manica 2023, https://doi.org/10.1038/s42256-023-00639-z, the section on numerical encodings.
    """

    table: Tensor

    def __init__(
        self, worth: Sequence[float], dim: int, *, channels: int = 16, largest: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 < channels <= dim:
            raise UserError(f"channels is {channels}; it must be 1 to dim ({dim})")
        self.worth, self.dim, self.channels, self.largest = tuple(worth), dim, channels, largest
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the table of encodings."""
        worth = torch.tensor(self.worth, dtype=torch.float64)
        most = float(worth.abs().max()) if len(worth) else 0.0
        place = torch.arange(self.channels)
        pattern = (1 - 2 * (place % 2)) / (place + 1)
        table = torch.zeros(len(worth), self.dim)
        table[:, : self.channels] = worth[:, None] * (self.largest / (most or 1.0)) * pattern
        return {"table": table}

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns the encoding of each token."""
        return torch.nn.functional.embedding(tokens, self.table)
