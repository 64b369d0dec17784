"""Numbers and choices as tokens: each number of an observation or an action by itself."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.spaces import Bounds, Box, Leaf, flat_choices, shape_of


class Tokens(Module):
    """Turns each number or choice of a space into a token, and back.

    Args:
        space: What is turned into tokens.
        sizes: How many tokens each number has.
    """

    def __init__(self, space: Leaf, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.space, self.sizes = space, sizes

    def flat(self, values: Tensor) -> Tensor:
        """Returns values (..., *shape) as (..., number of tokens)."""
        lead = values.shape[: values.ndim - len(shape_of(self.space))]
        return values.reshape(*lead, len(self.sizes))

    def shaped(self, values: Tensor) -> Tensor:
        """Returns values (..., number of tokens) as (..., *shape)."""
        return values.reshape(*values.shape[:-1], *shape_of(self.space))

    @abstractmethod
    def encode(self, values: Tensor) -> Tensor:
        """Returns the tokens of values (..., *shape), (..., number of tokens) int64."""

    @abstractmethod
    def decode(self, tokens: Tensor) -> Tensor:
        """Returns the values that tokens (..., number of tokens) stand for, (..., *shape)."""

    def prepare(self, values: Tensor) -> None:
        """Takes statistics of the training data.

        Args:
            values: Many, (N, *shape).
        """


class ChoiceTokens(Tokens):
    """Choices, which are tokens already but for where they start.

    Args:
        space: ``Discrete`` or ``MultiDiscrete``.
    """

    def __init__(self, space: Leaf) -> None:
        super().__init__(space, flat_choices(space)[0])

    def encode(self, values: Tensor) -> Tensor:
        """Returns choices from 0; what lies outside, as padding may, becomes the nearest one."""
        most = torch.tensor(self.sizes, device=values.device) - 1
        return torch.minimum((self.flat(values) - self._start(values)).clamp_min(0), most)

    def decode(self, tokens: Tensor) -> Tensor:
        """Returns choices from where they start."""
        return self.shaped(tokens + self._start(tokens))

    def _start(self, like: Tensor) -> Tensor:
        return torch.tensor(flat_choices(self.space)[1], device=like.device)


class UniformTokens(Tokens):
    """Bins of equal width between the bounds of each number; a token stands for the middle of its bin.

    Bounds are those of the space where it has some; otherwise what was seen in training, and a tenth of
    its distance beyond. What lies outside belongs to the nearest bin.

    Args:
        space: A ``Box``.
        bins: Of each number.
    """

    low: Tensor
    high: Tensor

    def __init__(self, space: Leaf, *, bins: int = 256) -> None:
        if bins < 2:
            raise UserError(f"bins is {bins}; it must be at least 2")
        assert isinstance(space, Box)
        super().__init__(space, (bins,) * space.size)
        self.bins = bins
        self.register_buffer("low", -torch.ones(space.size))
        self.register_buffer("high", torch.ones(space.size))

    def encode(self, values: Tensor) -> Tensor:
        """Returns the bins of numbers."""
        share = (self.flat(values).to(self.low) - self.low) / (self.high - self.low)
        return (share * self.bins).clamp(0, self.bins - 1).long()

    def decode(self, tokens: Tensor) -> Tensor:
        """Returns the middles of bins."""
        share = (tokens.to(self.low) + 0.5) / self.bins
        return self.shaped(self.low + share * (self.high - self.low))

    @property
    def has_bounds(self) -> bool:
        """Whether bounds other than -1 and 1 were ever set."""
        return not bool(((self.low == -1) & (self.high == 1)).all())

    def prepare(self, values: Tensor) -> None:
        """Takes the bounds, unless it has some: what is learned about a token stays true."""
        if self.has_bounds:
            return
        assert isinstance(self.space, Box)
        low, high = bounds_of(self.space, self.flat(values))
        self.low.copy_(low)
        self.high.copy_(high)


class QuantileTokens(UniformTokens):
    """Bins that hold equally many numbers of the training data each; a token stands for their mean.

    Args:
        space: A ``Box``.
        bins: Of each number.

    Source:
        Janner et al. 2021, https://arxiv.org/abs/2106.02039, section 3.1.
    """

    edges: Tensor
    means: Tensor

    def __init__(self, space: Leaf, *, bins: int = 100) -> None:
        super().__init__(space, bins=bins)
        middles = (torch.arange(bins) + 0.5) * 2 / bins - 1
        edges = torch.arange(1, bins) * 2 / bins - 1
        self.register_buffer("edges", edges.repeat(len(self.sizes), 1))
        self.register_buffer("means", middles.repeat(len(self.sizes), 1))

    def encode(self, values: Tensor) -> Tensor:
        """Returns the bins of numbers."""
        flat = self.flat(values).float()
        columns = flat.reshape(-1, len(self.sizes)).T.contiguous()
        return torch.searchsorted(self.edges.float(), columns, right=True).T.reshape(flat.shape)

    def decode(self, tokens: Tensor) -> Tensor:
        """Returns the means of bins."""
        columns = tokens.reshape(-1, len(self.sizes)).T
        return self.shaped(self.means.gather(1, columns).T.reshape(tokens.shape))

    def prepare(self, values: Tensor) -> None:
        """Takes the quantiles, unless it has some; a bin without a number stands for its lower edge."""
        if self.has_bounds:
            return
        super().prepare(values)
        seen = self.flat(values).double().T.contiguous()
        shares = torch.arange(1, self.bins, dtype=seen.dtype, device=seen.device) / self.bins
        edges = torch.quantile(seen, shares, dim=1).T.contiguous()
        where = torch.searchsorted(edges, seen, right=True)
        totals = torch.zeros(len(seen), self.bins, dtype=seen.dtype).scatter_add(1, where, seen)
        counts = torch.zeros_like(totals).scatter_add(1, where, torch.ones_like(seen))
        lower = torch.cat([edges[:, :1], edges], dim=1)
        self.edges.copy_(edges)
        self.means.copy_(torch.where(counts > 0, totals / counts.clamp_min(1), lower))


TokensFactory = Callable[[Any], Tokens]


def tokens_for(space: Any, box: TokensFactory) -> Tokens:
    """Builds the tokens of a space.

    Args:
        space: The space.
        box: Builds those of numbers, ``(space)``.

    Raises:
        UserError: If there are several observations by name.
    """
    if not isinstance(space, Leaf):
        raise UserError(f"tokens are made of one array, not of {space}")
    return box(space) if isinstance(space, Box) else ChoiceTokens(space)


def bounds_of(space: Box, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the bounds of a space, or of what was seen and a tenth of their distance beyond them.

    Nothing is learned well at the very edge; a number that never moves gets bounds around it.

    Args:
        space: The space; a bound of it that is infinite is none.
        seen: Many rows, (N, size).
    """
    seen = seen.double()
    low, high = seen.amin(dim=0), seen.amax(dim=0)
    margin = torch.where(high > low, (high - low) / 10, high.abs().clamp_min(1.0))
    low, high = low - margin, high + margin
    least, most = (known(bound, low) for bound in (space.low, space.high))
    given = least.isfinite() & most.isfinite() & (least < most)
    return torch.where(given, least, low).float(), torch.where(given, most, high).float()


def known(bounds: Bounds, like: Tensor) -> Tensor:
    """Returns bounds of a space as a tensor of the shape of another; infinity where there is none.

    Args:
        bounds: One for all numbers, one for each, or None.
        like: Gives shape, type and device.
    """
    if bounds is None or isinstance(bounds, (int, float)):
        return torch.full_like(like, float("inf") if bounds is None else float(bounds))
    return like.new_tensor([float("inf") if one is None else one for one in bounds])
