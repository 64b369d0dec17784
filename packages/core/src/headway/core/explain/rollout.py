"""Attention rollout."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from headway.core.explain.recording import check_tokens, record_attention, square


def attention_rollout(
    model: nn.Module,
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    heads: Literal["mean", "max", "min"] = "mean",
) -> Tensor:
    """Follows attention through all layers: how much each token holds of each input token.

    Every layer is the average of its attention and of the residual connection, and the layers are
    multiplied. The result does not depend on the answer; see ``gradient_relevance`` for that.

    Args:
        model: A model whose mixers attend.
        *inputs: What the model is called with.
        keywords: What it is called with by name.
        heads: How the heads of a layer are joined.

    Shape:
        Output: (B, N, N), rows sum to one.

    Source:
        Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928, section 3.
    """
    with torch.no_grad():
        recording = record_attention(model, inputs, keywords)
    tokens = check_tokens(recording)
    rolled = torch.eye(tokens, device=recording.output.device)
    for layer in recording.weights:
        if not square(layer):
            continue
        layer = layer.float()
        joined = layer.mean(1) if heads == "mean" else getattr(layer, f"a{heads}")(dim=1)
        mixed = joined + torch.eye(tokens, device=layer.device)
        rolled = (mixed / mixed.sum(-1, keepdim=True)) @ rolled
    return rolled
