"""An embedding of tokens some of which are places."""

import torch
from torch import Tensor, nn

from headway.core.module import Module


class PlaceEmbedding(Module):
    """Embeds tokens; those that are cells of a grid share a vector for each row and one for each column.

    The same vectors say which token is likely, so neighbouring cells are alike wherever they stand.

    Args:
        number: Tokens.
        dim: Channels of a token.
        size: Rows, and columns, of the grid.
        first: The first of ``size ** 2`` tokens that are cells, row by row.

    Shape:
        tokens: (...) int64. Output: (..., dim).
    """

    rows: Tensor
    columns: Tensor
    is_cell: Tensor

    def __init__(self, number: int, dim: int, *, size: int, first: int) -> None:
        super().__init__()
        self.number, self.size, self.first = number, size, first
        self.token, self.row, self.column = (
            nn.Embedding(many, dim) for many in (number, size, size)
        )
        for table in (self.token, self.row, self.column):
            nn.init.normal_(table.weight, std=dim**-0.5)
        self.scale = dim**0.5
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns row and column of each token, and whether it has any."""
        cells = torch.arange(self.size**2)
        rows, columns = (torch.zeros(self.number, dtype=torch.int64) for _ in range(2))
        here = slice(self.first, self.first + self.size**2)
        rows[here], columns[here] = cells // self.size, cells % self.size
        is_cell = torch.zeros(self.number, 1, dtype=torch.bool)
        is_cell[here] = True
        return {"rows": rows, "columns": columns, "is_cell": is_cell}

    @property
    def weight(self) -> Tensor:
        """The vectors of all tokens, (number, dim)."""
        places = self.row(self.rows) + self.column(self.columns)
        return self.token.weight + places.masked_fill(~self.is_cell, 0.0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeds tokens; what enters a stack has numbers of about 1, what says the next token small ones."""
        return nn.functional.embedding(tokens, self.weight) * self.scale

    def logits(self, x: Tensor) -> Tensor:
        """Returns how likely each token is after (..., dim), (..., number)."""
        return x @ self.weight.T
