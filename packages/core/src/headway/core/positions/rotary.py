"""Rotary position embedding."""

from typing import Literal

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.ops.inference import turn
from headway.core.positions.base import Position
from headway.core.systems import system


@system(
    id=141,
    name="RoFormer",
    paper="https://arxiv.org/abs/2104.09864",
    claim="scores of rotated queries and keys depend only on the difference of their positions",
    test="packages/core/tests/parts/test_positions.py",
)
class Rotary(Position):
    """Turns pairs of channels by an angle proportional to the position.

    Scores then depend only on the difference of the positions. With two axes (rows and columns of a
    picture) the first half of the channels turns with the row, the second with the column. A token at
    position 0, such as a class token, is not turned.

    Args:
        heads: Heads (not used; every head turns alike).
        head_dim: Width of a head.
        axes: Coordinates of a position: 1 for sequences, 2 for pictures, 3 for video.
        theta: Base of the wavelengths, which run from 2 pi to 2 pi theta.
        pairing: ``"half"`` pairs channel i with i + n/2 (Llama in transformers), ``"interleaved"`` pairs
            2i with 2i + 1 (the paper). A permutation of the channels: it matters for weights only.
        share: Share of the channels of a head that turn, from the first on (GPT-NeoX: a quarter).

    Raises:
        UserError: If the channels that turn cannot be split into pairs for every axis.

    Source:
        Su et al. 2021, https://arxiv.org/abs/2104.09864, eq. 34.
    """

    frequencies: Tensor

    def __init__(
        self,
        heads: int,
        head_dim: int,
        *,
        axes: int = 1,
        theta: float = 10000.0,
        pairing: Literal["half", "interleaved"] = "half",
        share: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise UserError(f"share is {share}; it lies between 0 and 1")
        turning = int(head_dim * share)
        if turning % (2 * axes) or not turning:
            raise UserError(
                f"{turning} of the head_dim {head_dim} cannot be split into pairs for {axes} axes; "
                f"use a multiple of {2 * axes}"
            )
        if pairing not in ("half", "interleaved"):
            raise UserError(f"pairing is 'half' or 'interleaved', got {pairing!r}")
        self.axes = axes
        self.pairing = pairing
        self.width, self.theta = turning // axes, theta
        self.turning, self.head_dim = turning, head_dim
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the angle of each pair of channels for a step of one position."""
        exponents = torch.arange(0, self.width, 2, dtype=torch.float32) / self.width
        return {"frequencies": self.theta**-exponents}

    def rotate(
        self, query: Tensor, key: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turns queries and keys."""
        angles = self._angles(query_positions)
        # Queries and keys of the same tokens share their angles.
        others = angles if key_positions is query_positions else self._angles(key_positions)
        return self._turn(query, *angles), self._turn(key, *others)

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cosines and sines of the angles, (B, N, axes, pairs)."""
        if positions.shape[-1] != self.axes:
            raise UserError(
                f"Rotary(axes={self.axes}) got positions with {positions.shape[-1]} coordinates; "
                f"use axes={positions.shape[-1]}"
            )
        # float32: bf16 angles lose the order of positions beyond a few hundred tokens.
        angles = positions.float()[..., None] * self.frequencies.float()
        return angles.cos(), angles.sin()

    def _turn(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        if self.turning < self.head_dim:
            turning, rest = x.split([self.turning, self.head_dim - self.turning], dim=-1)
            return torch.cat([self._turned(turning, cosines, sines), rest], dim=-1)
        return self._turned(x, cosines, sines)

    def _turned(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        if self.axes == 1 and self.pairing == "half":
            return turn(x, cosines[:, :, 0], sines[:, :, 0])
        cos, sin = cosines[:, None], sines[:, None]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        parts = wide.unflatten(-1, (self.axes, -1))  # (B, H, N, axes, 2 pairs)
        if self.pairing == "half":
            first, second = parts.chunk(2, dim=-1)
        else:
            first, second = parts[..., 0::2], parts[..., 1::2]
        turned = (first * cos - second * sin, second * cos + first * sin)
        if self.pairing == "half":
            out = torch.cat(turned, dim=-1)
        else:
            out = torch.stack(turned, dim=-1).flatten(-2)
        return out.flatten(-2).to(x.dtype)
