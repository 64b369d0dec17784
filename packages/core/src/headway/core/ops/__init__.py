"""Pure functions on tensors: each has a plain reference and faster backends that agree."""

from headway.core.ops.attention import (
    BackendError,
    Dispatch,
    attention,
    attention_with_lse,
    explain_dispatch,
)
from headway.core.ops.attention_statistics import AttentionStatistics, attention_statistics
from headway.core.ops.decode import decode_attention
from headway.core.ops.deformable_attention import deformable_attention
from headway.core.ops.linear_attention import linear_attention
from headway.core.ops.neighbourhood import neighbourhood_attention
from headway.core.ops.probsparse import probsparse_attention
from headway.core.ops.scan import associative_scan, selective_scan
from headway.core.ops.window_attention import window_attention

__all__ = [
    "AttentionStatistics",
    "BackendError",
    "Dispatch",
    "associative_scan",
    "attention",
    "attention_statistics",
    "attention_with_lse",
    "decode_attention",
    "deformable_attention",
    "explain_dispatch",
    "linear_attention",
    "neighbourhood_attention",
    "probsparse_attention",
    "selective_scan",
    "window_attention",
]
