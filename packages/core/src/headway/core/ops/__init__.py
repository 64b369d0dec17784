"""Pure functions on tensors: each has a plain reference and faster backends that agree."""

from headway.core.ops.attention import (
    BackendError,
    Dispatch,
    attention,
    attention_with_lse,
    explain_dispatch,
)

__all__ = ["BackendError", "Dispatch", "attention", "attention_with_lse", "explain_dispatch"]
