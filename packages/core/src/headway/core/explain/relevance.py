"""Gradient-weighted relevance."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.explain.recording import (
    Answer,
    check_tokens,
    chosen_answers,
    differentiable,
    record_attention,
    square,
)
from headway.core.systems import system


@system(
    id=None,
    name="Generic attention explainability",
    paper="https://arxiv.org/abs/2103.15679",
    claim="relevance is weighted by the gradient of the chosen answer, so each class has its own map",
    test="packages/core/tests/explain/test_explain.py",
)
def gradient_relevance(
    model: nn.Module,
    *inputs: Any,
    target: int | Tensor | None = None,
    answer: Answer | None = None,
    keywords: Mapping[str, Any] | None = None,
) -> Tensor:
    """Says how much each token speaks for an answer.

    The attention of each layer is multiplied by the gradient of the answer, negative values are
    dropped, and the layers are accumulated along the residual stream. The rows of the result are then
    joined as the head reads them: by the size of the gradient at the last block, which is a class token
    alone, or all tokens.

    Args:
        model: A model whose mixers attend.
        *inputs: What the model is called with.
        target: Which answer, for all items or for each one; the largest if None.
        answer: Makes answers (B, K) of what the model returns: the forecast of one hour, the logits of
            the last token. Not needed where the model returns logits (B, K).
        keywords: What the model is called with by name.

    Returns:
        Relevance of each token, not negative, in the units of the attention weights; 0 for padding.

    Shape:
        target: (B,). Output: (B, N).

    Raises:
        UserError: If there are no answers (B, K), the target does not exist, or the mixers do not attend
            over all tokens; ``token_relevance`` explains such models.

    Source:
        Chefer et al. 2021, https://arxiv.org/abs/2103.15679, eqs. 5 and 6.
    """
    with differentiable(model):
        recording = record_attention(model, inputs, keywords)
        score = chosen_answers(model, recording.answer, answer, target)
        tokens = check_tokens(recording)
        sources = [*recording.weights, recording.output]
        gradients = torch.autograd.grad(score.sum(), sources, allow_unused=True)
    relevance = torch.eye(tokens, device=score.device).expand(len(score), -1, -1)
    read = None
    for layer, gradient in zip(recording.weights, gradients[:-1], strict=True):
        if gradient is None:
            continue
        speaking = (layer.detach() * gradient).float().clamp_min(0).mean(dim=1)
        if square(layer):
            relevance = relevance + speaking @ relevance
        elif layer.shape[-1] == tokens and layer.shape[-2] == 1:
            read = speaking[:, 0]  # a pooling by attention reads the tokens last
    if read is None:
        assert gradients[-1] is not None
        size = gradients[-1].float().norm(dim=-1)
        read = size / size.sum(dim=1, keepdim=True).clamp_min(1e-30)
    return (read[:, None] @ relevance)[:, 0].detach()
