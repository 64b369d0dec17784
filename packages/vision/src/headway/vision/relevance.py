"""Which patches of a picture an answer rests on."""

from typing import Any, Literal

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.explain import attention_rollout, gradient_relevance
from headway.core.heads import TokenPooling

Method = Literal["relevance", "rollout"]


def patch_relevance(
    model: nn.Module,
    images: Tensor,
    *,
    method: Method = "relevance",
    target: int | Tensor | None = None,
) -> Tensor:
    """Says how much each patch speaks for an answer; prefix tokens are left out.

    Args:
        model: An image classifier of headway whose mixers attend.
        images: What the model is called with.
        method: ``relevance`` is weighted by the gradient of the answer; ``rollout`` follows attention
            alone and does not depend on the answer.
        target: Which class, for all pictures or for each one; the predicted one if None.

    Shape:
        images: (B, C, H, W). Output: (B, h, w), the grid of patches.

    Raises:
        UserError: If the model has no patches or does not attend.
    """
    vit: Any = model
    if not hasattr(model, "num_prefix_tokens") or not hasattr(
        getattr(model, "embedding", None), "grid"
    ):
        raise UserError(f"{type(model).__name__} has no grid of patches that could be explained")
    if method == "relevance":
        tokens = gradient_relevance(model, images, target=target)
    else:
        rolled = attention_rollout(model, images)
        # What the head reads: the class token, or all patches alike.
        first = isinstance(vit.head.pooling, TokenPooling)
        tokens = rolled[:, 0] if first else rolled[:, vit.num_prefix_tokens :].mean(1)
    patches = tokens[:, vit.num_prefix_tokens :]
    grid = vit.embedding.grid(images.shape[-2:])
    return patches.unflatten(1, grid).detach().float().cpu()
