"""Convolutions that take in the norms behind them, for inference."""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
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
        for name, child in list(module.named_children()):
            if isinstance(child, RepBlock) and isinstance(child.wide.norm, nn.BatchNorm2d):
                setattr(module, name, nn.Sequential(child.one_convolution(), child.activation))
    for module in list(found.modules()):
        children = list(module.named_children())
        for (_, first), (name, norm) in pairwise(children):
            conv = _last(first)
            if conv is not None and isinstance(norm, Norm) and _fits(conv, norm):
                _take_in(conv, norm)
                setattr(module, name, nn.Identity())
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
