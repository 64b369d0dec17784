"""How weights start."""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from headway.core.linear import FusedLinear, SilentLinear


def truncated_normal_(tensor: Tensor, *, std: float = 0.02) -> Tensor:
    """Fills a tensor from a normal distribution cut at two absolute units, in place, and returns it."""
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, std=std, a=-2.0, b=2.0)


def lecun_normal_(tensor: Tensor) -> Tensor:
    """Fills a weight (out, in, ...) so that the variance of the output equals that of the input."""
    fan_in = tensor[0].numel()
    # A normal cut at two standard deviations has a standard deviation of .8796.
    std = math.sqrt(1 / fan_in) / 0.87962566103423978
    with torch.no_grad():
        return nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


@runtime_checkable
class StartsItself(Protocol):
    """A part some of whose weights start in a way of their own."""

    def init_own_(self) -> None:
        """Initialises these weights; called when it is built and by ``init_transformer_``."""
        ...


def init_transformer_(module: nn.Module) -> None:
    """Initialises every linear layer below ``module``: Glorot-uniform weights, zero biases.

    A part that ``StartsItself`` does so again, as it was published: gates that are closed at first, steps in
    all directions.

    Each projection of a fused layer is drawn as if it stood alone. The fixed deviation of 0.02 that is
    common elsewhere is made for widths of several hundred channels; narrow models hardly start with it.

    Source:
        Glorot and Bengio 2010; as in the code of Dosovitskiy et al. 2020,
        https://arxiv.org/abs/2010.11929.
    """
    for child in module.modules():
        if isinstance(child, nn.Linear) and not isinstance(child, SilentLinear):
            parts = child.sections.values() if isinstance(child, FusedLinear) else [slice(None)]
            for rows in parts:
                nn.init.xavier_uniform_(child.weight.data[rows])
            if child.bias is not None:
                nn.init.zeros_(child.bias)
    for child in module.modules():
        if isinstance(child, StartsItself):
            child.init_own_()
