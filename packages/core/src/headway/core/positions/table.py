"""A learned vector for each place of a sequence."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.module import Module


class PositionTable(Module):
    """One learned vector for each place, added to the token that stands there; beyond the last there is none.

    ``LearnedPosition`` is for grids, whose table is resized; here place 7 is place 7 at any length, also
    step by step.

    Args:
        dim: Channels of a token.
        length: Places.

    Shape:
        places: (...) int64. Output: (..., dim).

    Source:
        Radford et al. 2018, https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf,
        section 3.1.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, dim: int, length: int) -> None:
        super().__init__()
        if length < 1:
            raise UserError(f"length is {length}; a table has at least one place")
        self.weight = nn.Parameter(truncated_normal_(torch.empty(length, dim)))

    @property
    def length(self) -> int:
        """Places that there are."""
        return self.weight.shape[0]

    def forward(self, places: Tensor) -> Tensor:
        """Returns the vectors of places."""
        return nn.functional.embedding(places, self.weight)

    def cut(self, length: int) -> None:
        """Forgets the places behind ``length``.

        Raises:
            UserError: If there are fewer: nothing was learned about more.
        """
        if length > self.length:
            raise UserError(
                f"max_length {length} is more than the {self.length} learned positions of the model; "
                "leave out what is longer, or take a model with more"
            )
        self.weight = nn.Parameter(self.weight.detach()[:length].clone())
