"""What is put in front of a text to say what it shall be like: numbers and a piece of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.module import Module

ABSENT = -1
"""Fills fragments up; a row of it has no fragment."""


class Front(NamedTuple):
    """Embedded conditions, packed to the left.

    Args:
        tokens: (B, N, dim); behind the real ones of a row stands anything.
        counts: How many are real, (B,).
    """

    tokens: Tensor
    counts: Tensor

    def before(self, x: Tensor) -> Tensor:
        """Returns the tokens of each row directly in front of ``x``, (B, N + T, dim), right-padded."""
        count = self.tokens.shape[1]
        places = torch.arange(count + x.shape[1], device=x.device)
        behind = places - self.counts[:, None]
        # What stands behind the last token of a row is padding, whatever it is.
        index = torch.where(behind < 0, places, count + behind.clamp(0, x.shape[1] - 1))
        return _taken(torch.cat([self.tokens, x], dim=1), index)

    def without(self, x: Tensor, length: int) -> Tensor:
        """Returns what became of the ``length`` tokens that stood behind those in front."""
        places = self.counts[:, None] + torch.arange(length, device=x.device)
        return _taken(x, places)


class ConditionPrefix(Module):
    """Embeds properties and a fragment: a token for each number, and one for each token of the fragment.

    A number is measured in deviations from the mean of the training data and scales a learned direction; a
    learned vector says which property it is, another one that a token belongs to a fragment.

    Args:
        properties: Names of the numbers.
        dim: Channels of a token.

    Attributes:
        statistics: Mean, deviation, least and greatest value of each property in training, (4, P).
        seen: Texts that the statistics were taken of; 0 until they are set.

    Raises:
        UserError: If a property is named twice.

    Source:
        Dobberstein et al. 2024, https://doi.org/10.1186/s13321-024-00863-8, the section on the model.
    """

    statistics: Tensor
    seen: Tensor

    def __init__(self, properties: Sequence[str], dim: int) -> None:
        super().__init__()
        self.properties = tuple(properties)
        twice = {name for name in self.properties if self.properties.count(name) > 1}
        if twice:
            raise UserError(f"properties names {', '.join(sorted(twice))} twice; each stands once")
        count = len(self.properties)
        self.direction = nn.Parameter(truncated_normal_(torch.empty(count, dim)))
        self.kind = nn.Parameter(truncated_normal_(torch.empty(count + 1, dim)))
        start = torch.tensor([0.0, 1.0, 0.0, 0.0])
        self.register_buffer("statistics", start[:, None].repeat(1, count))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def fit(self, values: Tensor) -> None:
        """Takes the statistics of training data.

        Args:
            values: Properties, (N, P); nan where one is unknown.

        Raises:
            UserError: If a property is known of no row, or infinite.
        """
        for name, column in zip(self.properties, values.double().T, strict=True):
            known = column[~column.isnan()]
            if not len(known):
                raise UserError(f"no text of the training data has a {name}; leave it out")
            if bool(known.isinf().any()):
                raise UserError(f"a text of the training data has an infinite {name}")
            deviation = float(known.std(correction=0))
            found = [float(known.mean()), deviation or 1.0, float(known.min()), float(known.max())]
            self.statistics[:, self.properties.index(name)] = torch.tensor(found)
        self.seen.fill_(len(values))

    def outside(self, values: Tensor) -> dict[str, tuple[float, float]]:
        """Returns which properties have a value out of the range of training, with that range."""
        low, high = self.statistics[2:].tolist()
        given = values.tolist()
        return {
            name: (low[place], high[place])
            for place, name in enumerate(self.properties)
            if int(self.seen)
            # float32 moves the ends of the range a little.
            and any(
                row[place] < low[place] - 1e-5 * abs(low[place])
                or row[place] > high[place] + 1e-5 * abs(high[place])
                for row in given
                if not math.isnan(row[place])
            )
        }

    def forward(
        self,
        values: Tensor | None,
        fragments: Tensor | None,
        embedding: nn.Module,
        *,
        ranks: Tensor | None = None,
    ) -> Front:
        """Embeds the conditions of each row.

        Args:
            values: Properties in their units; nan where a row is not told one.
            fragments: Numbers of tokens, filled up with ``ABSENT``.
            embedding: Of the tokens of a text.
            ranks: The order of the properties and, last, of the fragment in each row; as they are if None.

        Shape:
            values: (B, P). fragments: (B, F) int64. ranks: (B, P + 1) int64.
        """
        parts, told, places = [], [], []
        if values is not None:
            mean, deviation = self.statistics[:2]
            scaled = ((values - mean) / deviation).nan_to_num().to(self.direction.dtype)
            parts.append(scaled[..., None] * self.direction + self.kind[:-1])
            told.append(~values.isnan())
            places.append(torch.arange(values.shape[1], device=values.device))
        if fragments is not None:
            parts.append(embedding(fragments.clamp_min(0)) + self.kind[-1])
            told.append(fragments != ABSENT)
            last = torch.full(fragments.shape[1:], len(self.properties), device=fragments.device)
            places.append(last)
        real = torch.cat(told, dim=1)
        rank = torch.cat(places).expand(real.shape)
        if ranks is not None:
            rank = ranks.gather(1, rank)
        order = rank.masked_fill(~real, len(self.properties) + 1).argsort(dim=1, stable=True)
        counts = real.sum(dim=1)
        longest = int(counts.max()) if len(counts) else 0
        return Front(_taken(torch.cat(parts, dim=1), order[:, :longest]), counts)


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """Returns the tokens of each row at the places of an index (B, N)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
