"""Convolutions that take in the norms behind them, for inference."""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from headway.core.backbones import FrozenBatchNorm
from headway.vision.layers.rep_block import RepBlock

Model = TypeVar("Model", bound=nn.Module)
Norm = nn.BatchNorm2d | FrozenBatchNorm


@torch.no_grad()
def fused(model: Model) -> Model:
    """Returns a copy for inference in which batch norms are part of the convolutions before them.

    It answers the same and is not trained any further; the model itself stays as it is. A norm belongs to
    the convolution that stands before it among the parts of a module (``ConvNorm``, ``ResNet``).

    Args:
        model: Any model, in evaluation or training mode.
    """
    found = copy.deepcopy(model).eval()
    for module in list(found.modules()):
        children = list(module.named_children())
        for (_, first), (name, norm) in pairwise(children):
            conv = _last(first)
            if conv is not None and isinstance(norm, Norm) and _fits(conv, norm):
                _take_in(conv, norm)
                setattr(module, name, nn.Identity())
    for module in list(found.modules()):
        for name, child in list(module.named_children()):
            # Its convolutions have a bias once they have taken in a norm.
            if isinstance(child, RepBlock) and child.wide.conv.bias is not None:
                setattr(module, name, nn.Sequential(_joined(child), child.activation))
    return found


def _last(module: nn.Module) -> nn.Conv2d | None:
    """Returns the convolution that a module ends with."""
    if isinstance(module, nn.Sequential) and len(module):
        return _last(module[-1])
    return module if isinstance(module, nn.Conv2d) else None


def _fits(conv: nn.Conv2d, norm: Norm) -> bool:
    return norm.running_mean is not None and len(norm.running_mean) == conv.out_channels


def _take_in(conv: nn.Conv2d, norm: Norm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )


def _joined(block: RepBlock) -> nn.Conv2d:
    """Returns the one convolution that both of a block are, which have taken in their norms."""
    wide, narrow = block.wide.conv, block.narrow.conv
    assert wide.bias is not None
    assert narrow.bias is not None
    wide.weight += F.pad(narrow.weight, (1, 1, 1, 1))
    wide.bias += narrow.bias
    return wide
