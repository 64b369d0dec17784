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
from headway.core.ops.probsparse import probsparse_attention
from headway.core.ops.scan import associative_scan, selective_scan

__all__ = [
    "BackendError",
    "Dispatch",
    "associative_scan",
    "attention",
    "attention_with_lse",
    "decode_attention",
    "explain_dispatch",
    "linear_attention",
    "probsparse_attention",
    "selective_scan",
]
