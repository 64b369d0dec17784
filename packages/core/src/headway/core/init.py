"""How weights start."""

import math

import torch
from torch import Tensor, nn


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


def init_transformer_(module: nn.Module, *, std: float = 0.02) -> None:
    """Initialises every linear layer below ``module``: truncated normal weights, zero biases.

    Source:
        Dosovitskiy et al. 2020 and its PyTorch descendants; norms start as the identity on their own.
    """
    for child in module.modules():
        if isinstance(child, nn.Linear):
            truncated_normal_(child.weight, std=std)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
