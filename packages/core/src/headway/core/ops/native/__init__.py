"""CPU kernels in C++, compiled at their first use with the compiler that the machine has."""

from headway.core.ops.native.build import library, reason_against

__all__ = ["library", "reason_against"]
