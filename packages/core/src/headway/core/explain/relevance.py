"""Gradient-weighted relevance."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.explain.recording import check_tokens, record_attention, square
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
    answer: Callable[[Any], Tensor] | None = None,
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

    Returns:
        Relevance of each token, not negative, in the units of the attention weights.

    Shape:
        target: (B,). Output: (B, N).

    Raises:
        UserError: If there are no answers (B, K), or the target does not exist.

    Source:
        Chefer et al. 2021, https://arxiv.org/abs/2103.15679, eqs. 5 and 6.
    """
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    for parameter in frozen:  # no gradient reaches the weights of a frozen model
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            recording = record_attention(model, *inputs, gradients=True)
            logits = recording.answer if answer is None else answer(recording.answer)
            if not isinstance(logits, Tensor) or logits.ndim != 2:
                raise UserError(
                    "gradient_relevance needs answers (B, K); say with answer= which of what "
                    f"{type(model).__name__} returns they are"
                )
            chosen = _targets(logits, target)
            score = logits.gather(1, chosen[:, None]).sum()
            sources = [*recording.weights, recording.output]
            gradients = torch.autograd.grad(score, sources, allow_unused=True)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    tokens = check_tokens(recording.weights)
    relevance = torch.eye(tokens, device=logits.device).expand(len(logits), -1, -1)
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


def _targets(logits: Tensor, target: int | Tensor | None) -> Tensor:
    if target is None:
        return logits.argmax(dim=1)
    chosen = torch.as_tensor(target, device=logits.device).expand(len(logits))
    if bool(((chosen < 0) | (chosen >= logits.shape[1])).any()):
        raise UserError(
            f"there are {logits.shape[1]} answers, numbered from 0; got target {target}"
        )
    return chosen
