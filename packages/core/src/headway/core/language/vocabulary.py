"""What becomes of the rows of embeddings and heads when the vocabulary changes."""

import torch
from torch import nn

from headway.core.init import truncated_normal_
from headway.core.language.tokenizer import Tokenizer


def renumber(layer: nn.Embedding | nn.Linear, old: Tokenizer, new: Tokenizer) -> None:
    """Gives a layer one row for each token of another vocabulary; what was learned of a token moves.

    What is new starts anew. Weight and bias are new parameters: they learn where the old ones were frozen.

    Args:
        layer: An embedding, or a head with or without a bias.
        old: What its rows are.
        new: What they shall be.
    """
    pairs = [
        (place, old.numbers[token])
        for place, token in enumerate(new.vocabulary)
        if token in old.numbers
    ]
    places, known = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    for name, before in list(layer.named_parameters(recurse=False)):
        rows = before.new_zeros(len(new), *before.shape[1:])
        if before.ndim > 1:
            truncated_normal_(rows)
        rows[places] = before.detach()[known]
        setattr(layer, name, nn.Parameter(rows))
    if isinstance(layer, nn.Embedding):
        layer.num_embeddings = len(new)
    else:
        layer.out_features = len(new)
