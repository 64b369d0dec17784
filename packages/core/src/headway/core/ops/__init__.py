"""Pure functions on tensors: each has a plain reference and faster backends that agree."""

from headway.core.ops.attention import (
    BackendError,
    Dispatch,
    attention,
    attention_with_lse,
    explain_dispatch,
)
from headway.core.ops.decode import decode_attention
from headway.core.ops.linear_attention import linear_attention

__all__ = [
    "BackendError",
    "Dispatch",
    "attention",
    "attention_with_lse",
    "decode_attention",
    "explain_dispatch",
    "linear_attention",
]
