"""Relative positions of Transformer-XL and the Conformer: sinusoids that meet the content of the query."""

from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.positions.base import Position
from headway.core.systems import system


@system(
    id=None,
    name="Transformer-XL relative positions",
    paper="https://arxiv.org/abs/1901.02860",
    claim="scores are those of eq. (d) of the paper: content and projected sinusoids of i - j, with u and v",
    test="packages/core/tests/parts/test_relative_sinusoidal.py",
)
class RelativeSinusoidal(Position):
    """Scores ``(q_i + u) k_j + (q_i + v) W r_(i-j)`` with sinusoids ``r`` of the signed distance.

    The usual way multiplies queries with the sinusoids of all ``2N - 1`` distances and shifts the rows of
    the result into place. Here the addition theorems split ``r_(i-j)`` into sinusoids of ``i`` and of
    ``j``, so that the second term is one matrix product of queries and keys: nothing is shifted or
    gathered, and the positions may be any numbers (left-padded, packed or merged tokens). A score depends on
    the positions alone, never on how many tokens the batch was padded to.

    Args:
        heads: Heads.
        head_dim: Width of a head.
        theta: Base of the wavelengths, which run from 2 pi to 2 pi theta.

    Raises:
        UserError: If ``heads * head_dim`` is odd.

    Source:
        Dai et al. 2019, https://arxiv.org/abs/1901.02860, section 3.3; in both directions as in Gulati et
        al. 2020 (Conformer), https://arxiv.org/abs/2005.08100.
    """

    frequencies: Tensor

    def __init__(self, heads: int, head_dim: int, *, theta: float = 10000.0) -> None:
        super().__init__()
        dim = heads * head_dim
        if dim % 2:
            raise UserError(
                f"heads * head_dim is {dim}; pairs of sine and cosine need an even number"
            )
        self.heads, self.head_dim = heads, head_dim
        # Not called "projection": LoRA on the output projection of attention does not mean this one.
        self.relative = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.relative.weight)
        self.content_bias = nn.Parameter(torch.zeros(heads, head_dim))
        self.place_bias = nn.Parameter(torch.zeros(heads, head_dim))
        self.theta = theta
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the angle of each pair of channels for a step of one position."""
        dim = self.heads * self.head_dim
        exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
        return {"frequencies": (self.theta**-exponents).float()}

    def rotate(
        self, query: Tensor, key: Tensor, query_positions: Tensor, key_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Adds ``u`` to the queries; keys stay as they are."""
        return query + self.content_bias[:, None], key

    def _sinusoids(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Returns sines and cosines of the positions, (B or 1, 1, N, pairs)."""
        if positions.shape[-1] != 1:
            raise UserError(
                f"RelativeSinusoidal is for sequences, got positions with {positions.shape[-1]} coordinates"
            )
        # Float64: the angle of a far position loses its fraction in single precision.
        angles = (positions.double() * self.frequencies.double())[:, None]
        return angles.sin().to(dtype), angles.cos().to(dtype)

    def bias_spec(
        self, query: Tensor, query_positions: Tensor, key_positions: Tensor, *, prefix: int = 0
    ) -> dict[str, Any]:
        """Returns the two sides of ``(q + v) W r_(i-j) / sqrt(head_dim)``, for ``ops.attention``."""
        weight = self.relative.weight.unflatten(0, (self.heads, self.head_dim))
        seen = (query + self.place_bias[:, None]) @ weight.to(query.dtype)
        # Channels of the sinusoids alternate: sine, cosine.
        sine, cosine = seen[..., 0::2], seen[..., 1::2]
        query_sin, query_cos = self._sinusoids(query_positions, query.dtype)
        key_sin, key_cos = self._sinusoids(key_positions, query.dtype)
        # sin(i - j) = sin i cos j - cos i sin j, and cos(i - j) = cos i cos j + sin i sin j.
        rows = torch.cat(
            [sine * query_sin + cosine * query_cos, cosine * query_sin - sine * query_cos], dim=-1
        )
        columns = torch.cat([key_cos, key_sin], dim=-1)
        if prefix:
            # A side of zeros takes a token out.
            rows, columns = (
                x * (torch.arange(x.shape[2], device=x.device) >= prefix)[:, None].to(x.dtype)
                for x in (rows, columns)
            )
        return {"relative_query": rows * self.head_dim**-0.5, "relative_key": columns}

    def distance_spec(self, query: Tensor, keys: int) -> dict[str, Any]:
        """Returns the usual form of the same: ``(q + v) / sqrt(head_dim)`` and ``W r`` of all distances.

        Rows are as wide as a head instead of all heads together, which is what kernels on a GPU want; they
        shift the products into place themselves.
        """
        queries = query.shape[2]
        # Of i - j, where row 0 is that of the last key that a first query could have before it.
        steps = torch.arange(queries - 1, -keys, -1, device=query.device, dtype=torch.float64)
        sine, cosine = self._sinusoids(steps[None, :, None], query.dtype)
        # Channels of the sinusoids alternate: sine, cosine.
        sinusoids = torch.stack([sine, cosine], dim=-1).flatten(-2)[0, 0]
        rows = sinusoids @ self.relative.weight.to(query.dtype).T
        return {
            "relative_query": (query + self.place_bias[:, None]) * self.head_dim**-0.5,
            "distance_key": rows.unflatten(1, (self.heads, self.head_dim)).transpose(0, 1),
        }
