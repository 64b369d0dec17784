"""Relevance of the tokens that a model starts from."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.explain.recording import Answer, chosen_answers, differentiable, run_listening
from headway.core.private_torch import pytree
from headway.core.systems import system


@system(
    id=None,
    name="Gradient x input",
    paper="https://arxiv.org/abs/1605.01713",
    claim="of an answer that is linear in the tokens, their relevances are the shares: they sum to it",
    test="packages/core/tests/explain/test_tokens.py",
)
def token_relevance(
    model: nn.Module,
    *inputs: Any,
    target: int | Tensor | None = None,
    answer: Answer | None = None,
    keywords: Mapping[str, Any] | None = None,
) -> Tensor:
    """Says how much each token that enters the first stack speaks for an answer, for any mixers.

    The gradient of the answer is multiplied with the token and summed over its channels.

    Args:
        model: A model with a stack of blocks.
        *inputs: What the model is called with.
        target: Which answer, for all items or for each one; the largest if None.
        answer: Makes answers (B, K) of what the model returns: the forecast of one hour, the logits of
            the last token. Not needed where the model returns logits (B, K).
        keywords: What the model is called with by name.

    Returns:
        Relevance of each token in the units of the answer, signed: above 0 speaks for it, below 0
        against it. 0 for padding and for tokens that the answer cannot see.

    Shape:
        target: (B,). Output: (B, N), the tokens of the first stack, prefix tokens in front.

    Raises:
        UserError: If the model has no stack, there are no answers (B, K), or the target does not exist.

    Source:
        Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713, section 3.
    """
    entered: list[Tensor] = []

    def keep(module: str, tap: str, value: Tensor) -> None:
        entered.append(value)

    def leaf(value: Any) -> Any:
        # Tokens that no parameter made need a beginning of the graph, too.
        real = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().requires_grad_(True) if real else value

    with differentiable(model):
        given, named = pytree.tree_map(leaf, (inputs, dict(keywords or {})))
        returned = run_listening(model, given, named, ("input",), keep)
        if not entered:
            raise UserError(
                f"{type(model).__name__} has no stack of blocks whose tokens could be explained"
            )
        score = chosen_answers(model, returned, answer, target)
        (gradient,) = torch.autograd.grad(score.sum(), entered[:1], allow_unused=True)
    if gradient is None:  # the answer does not depend on the tokens
        return torch.zeros_like(entered[0][..., 0])
    return (gradient * entered[0]).sum(dim=-1).detach()
