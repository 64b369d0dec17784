"""What a layer knows about tokens, when they get other numbers."""

from typing import TypeVar

import torch
from torch import nn

from headway.core.init import truncated_normal_
from headway.core.language.tokenizer import Tokenizer

TokenLayer = TypeVar("TokenLayer", nn.Embedding, nn.Linear)


def renumbered(layer: TokenLayer, old: Tokenizer, new: Tokenizer) -> TokenLayer:
    """Returns a layer with one row for each token of another vocabulary; known tokens keep their rows.

    Args:
        layer: An embedding, or a head without a bias.
        old: What its rows are.
        new: What they shall be.
    """
    weight = layer.weight
    made: nn.Embedding | nn.Linear
    if isinstance(layer, nn.Embedding):
        made = nn.Embedding(len(new), weight.shape[1], device=weight.device, dtype=weight.dtype)
    else:
        made = nn.Linear(weight.shape[1], len(new), bias=False).to(weight)
    kept = [
        (place, old.numbers[token])
        for place, token in enumerate(new.vocabulary)
        if token in old.numbers
    ]
    places, known = torch.tensor(kept, dtype=torch.int64).reshape(-1, 2).to(weight.device).T
    truncated_normal_(made.weight)
    with torch.no_grad():
        made.weight[places] = weight[known]
    return made  # pyright: ignore[reportReturnType]
