"""What becomes of the rows of embeddings and heads when the vocabulary changes."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from headway.core.init import truncated_normal_
from headway.core.language.tokenizer import Tokenizer

Kept = tuple[list[int], list[int]]
TokenLayer = TypeVar("TokenLayer", nn.Embedding, nn.Linear)


def kept_rows(old: Tokenizer, new: Tokenizer) -> Kept:
    """Returns the numbers of the tokens that both have, in the new vocabulary and in the old one."""
    pairs = [
        (place, old.numbers[token])
        for place, token in enumerate(new.vocabulary)
        if token in old.numbers
    ]
    return [place for place, _ in pairs], [known for _, known in pairs]


def moved_rows(old: Tensor, size: int, kept: Kept) -> nn.Parameter:
    """Returns a weight or bias with a row for each token: what was learned moves, what is new starts anew.

    Args:
        old: The weight, (V, ...), or bias, (V,).
        size: Tokens of the new vocabulary.
        kept: As of ``kept_rows``.
    """
    new = torch.zeros(size, *old.shape[1:], device=old.device, dtype=old.dtype)
    if old.ndim > 1:
        truncated_normal_(new)
    places, known = kept
    new[places] = old.detach()[known]
    return nn.Parameter(new, requires_grad=old.requires_grad)


def renumbered(layer: TokenLayer, old: Tokenizer, new: Tokenizer) -> TokenLayer:
    """Returns a layer with one row for each token of another vocabulary; known tokens keep their rows.

    Args:
        layer: An embedding, or a head without a bias.
        old: What its rows are.
        new: What they shall be.
    """
    weight = moved_rows(layer.weight, len(new), kept_rows(old, new))
    made = type(layer)(1, 1) if isinstance(layer, nn.Embedding) else nn.Linear(1, 1, bias=False)
    made.weight = weight
    if isinstance(made, nn.Embedding):
        made.num_embeddings, made.embedding_dim = weight.shape
    else:
        made.out_features, made.in_features = weight.shape
    return made  # pyright: ignore[reportReturnType]
