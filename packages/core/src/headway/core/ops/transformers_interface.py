"""Headway's attention inside models of Hugging Face transformers: ``attn_implementation="headway"``."""

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.ops.attention import attention

NAME = "headway"


def register_with_transformers() -> None:
    """Makes ``attn_implementation="headway"`` known to transformers.

    Afterwards ``AutoModel.from_pretrained(source, attn_implementation="headway")`` and
    ``model.set_attn_implementation("headway")`` work for every model that goes through transformers'
    attention interface. Masks are the boolean ones that transformers makes for PyTorch's own attention.

    Raises:
        UserError: transformers is not installed or too old.

    Source:
        https://huggingface.co/docs/transformers/attention_interface
    """
    if importlib.util.find_spec("transformers") is None:
        raise UserError("transformers is not installed; pip install 'transformers>=4.50'")
    functions = getattr(
        importlib.import_module("transformers.modeling_utils"), "ALL_ATTENTION_FUNCTIONS", None
    )
    masks = None
    if importlib.util.find_spec("transformers.masking_utils") is not None:
        masks = importlib.import_module("transformers.masking_utils").ALL_MASK_ATTENTION_FUNCTIONS
    if functions is None or masks is None:
        version = importlib.import_module("transformers").__version__
        raise UserError(
            f"transformers {version} has no registry of attention functions and masks; "
            "pip install -U transformers"
        )
    functions.register(NAME, attention_forward)
    masks.register(NAME, masks["sdpa"])


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it.

    Args:
        module: The layer that calls; its ``is_causal`` counts where the argument is None.
        query: Queries.
        key: Keys; their heads divide those of the queries.
        value: Values.
        attention_mask: Boolean, True where a query may attend, or added to the scores; None is causal for a
            causal layer, else full. A sliding window is part of it.
        dropout: Probability that a weight is dropped.
        scaling: Factor of the scores; 1 / sqrt(D) if None.
        is_causal: Whether None as a mask means causal.
        position_bias: Added to the scores.
        softcap: Bound of the scaled scores.
        s_aux: One sink per head.
        others: What transformers passes to all implementations and none of this concerns.

    Returns:
        The weighted values, heads behind tokens, and None in the place of the weights.

    Shape:
        query (B, H, T, D); key (B, Hkv, S, D); value (B, Hkv, S, Dv); result (B, T, H, Dv).

    Raises:
        UserError: Weights or a paged cache are asked for.
    """
    if others.get("output_attentions"):
        raise UserError("attn_implementation='headway' gives no weights; use 'eager' for them")
    if others.get("cache") is not None:
        raise UserError("attn_implementation='headway' has no paged cache; use 'sdpa' for it")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    mask, bias = attention_mask, position_bias
    if mask is not None and mask.dtype != torch.bool:
        mask, bias = None, mask if bias is None else mask + bias
    out = attention(
        query,
        key,
        value,
        mask=mask,
        bias=bias,
        # Without a mask, queries and keys begin together: a static cache is longer than what was seen.
        causal="top-left" if causal and attention_mask is None and query.shape[2] > 1 else False,
        scale=scaling,
        softcap=softcap,
        sinks=s_aux,
        dropout=dropout,
    )
    return out.transpose(1, 2).contiguous(), None
