"""Fields as tokens and back: each field in tokens of its own, or all fields of a patch in one token."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system
from headway.timeseries.fields.layers.conditioned import fields_of, patches_of


class FieldTokens(Module):
    """Cuts fields into patches, embeds them as sets of tokens, and writes tokens as fields again.

    ``separate`` says whether there is a set of tokens for each field, which attention must then join.
    """

    separate: ClassVar[bool]

    @abstractmethod
    def forward(self, x: Tensor, kinds: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Returns the tokens, (B, sets, N, dim), and their grid.

        Args:
            x: Fields, (B, C, H, W).
            kinds: Kind of each field, (C,), for those that are told apart by it.
        """

    @abstractmethod
    def inverse(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns fields, (B, C, H, W), from tokens, (B, sets, N, dim)."""


class SeparateFields(FieldTokens):
    """Tokens for each field, told apart by its kind: any number of fields in any order.

    Args:
        patch: Side of a patch.
        dim: Channels of a token.
        kinds: Kinds of fields that are known (velocity along an axis, density ...).

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717, the variant with separate channels (SC).
    """

    separate = True

    def __init__(self, patch: int, dim: int, *, kinds: int = 1) -> None:
        super().__init__()
        if kinds < 1:
            raise UserError(f"kinds must be at least 1, got {kinds}")
        self.patch, self.kinds = patch, kinds
        self.embedding = nn.Linear(patch**2, dim)
        self.kind = nn.Embedding(kinds, dim)
        self.head = nn.Linear(dim, patch**2)

    def forward(self, x: Tensor, kinds: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Returns the tokens and their grid; without kinds there must be one field of each."""
        if kinds is None and x.shape[1] == self.kinds:
            kinds = torch.arange(self.kinds, device=x.device)
        if kinds is None or kinds.shape != (x.shape[1],):
            found = None if kinds is None else tuple(kinds.shape)
            raise UserError(f"{x.shape[1]} fields need as many kinds, got {found}")
        patches = patches_of(x.flatten(0, 1), self.patch)
        tokens = self.embedding(patches).flatten(1, 2).unflatten(0, x.shape[:2])
        return tokens + self.kind(kinds)[None, :, None], (patches.shape[1], patches.shape[2])

    def inverse(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns fields."""
        patches = self.head(tokens).flatten(0, 1).unflatten(1, grid)
        return fields_of(patches, self.patch).unflatten(0, tokens.shape[:2])


@system(
    id=414,
    name="PDE-Transformer",
    paper="https://arxiv.org/abs/2505.24717",
    claim="after its idea, not its network: mixed channels, one token for all fields of a patch, cost fewer "
    "tokens; number and order of the fields are fixed",
    test="packages/timeseries/tests/fields/models/test_pde_transformer.py",
)
class MixedFields(FieldTokens):
    """One token for all fields of a patch: fewer tokens, but the number and order of fields are fixed.

    Args:
        patch: Side of a patch.
        dim: Channels of a token.
        fields: Number of fields.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717, the variant with mixed channels (MC).
    """

    separate = False

    def __init__(self, patch: int, dim: int, *, fields: int = 1) -> None:
        super().__init__()
        if fields < 1:
            raise UserError(f"fields must be at least 1, got {fields}")
        self.patch, self.fields = patch, fields
        self.embedding = nn.Linear(fields * patch**2, dim)
        self.head = nn.Linear(dim, fields * patch**2)

    def forward(self, x: Tensor, kinds: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Returns the tokens and their grid; a field is told by its place in the order, not by a kind."""
        if kinds is not None or x.shape[1] != self.fields:
            given = f"{x.shape[1]} fields" + ("" if kinds is None else " and their kinds")
            raise UserError(
                f"MixedFields was built for {self.fields} fields in a fixed order, without kinds; got "
                f"{given}. SeparateFields takes any"
            )
        patches = patches_of(x.flatten(0, 1), self.patch).unflatten(0, x.shape[:2])
        joined = patches.movedim(1, 3).flatten(3)
        return self.embedding(joined).flatten(1, 2)[:, None], (joined.shape[1], joined.shape[2])

    def inverse(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Returns fields."""
        patches = self.head(tokens[:, 0]).unflatten(1, grid).unflatten(3, (self.fields, -1))
        return fields_of(patches.movedim(3, 1).flatten(0, 1), self.patch).unflatten(
            0, (tokens.shape[0], self.fields)
        )
