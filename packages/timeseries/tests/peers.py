"""Models of neuralforecast, the peer that the tests compare with."""

import functools
import warnings
from typing import Any

import torch
from torch import nn


def peer(name: str, **options: Any) -> nn.Module:
    """Returns a model of neuralforecast with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(_models(), name)(**options)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@functools.cache
def _models() -> Any:
    import neuralforecast.models

    return neuralforecast.models


def itransformer(**options: Any) -> nn.Module:
    sizes = {"h": 5, "input_size": 12, "n_series": 7}
    widths = {"hidden_size": 16, "n_heads": 2, "e_layers": 2, "d_ff": 24}
    return peer("iTransformer", **{**sizes, **widths, **options})


def informer(**options: Any) -> nn.Module:
    sizes = {"h": 6, "input_size": 40, "futr_exog_list": ["a", "b", "c"], "factor": 2}
    widths = {"hidden_size": 16, "n_head": 2, "encoder_layers": 2, "conv_hidden_size": 24}
    return peer("Informer", **{**sizes, **widths, **options})
