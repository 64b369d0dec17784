"""Feed-forwards: what each token does on its own. ``(dim, *, ...)``, called as ``(x, layout)``."""

from headway.core.feedforward.base import FeedForward
from headway.core.feedforward.glu import GLU, SwiGLU
from headway.core.feedforward.mlp import GELU, MLP, QuickGELU

__all__ = ["GELU", "GLU", "MLP", "FeedForward", "QuickGELU", "SwiGLU"]
