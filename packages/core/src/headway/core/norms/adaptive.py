"""Layer normalisation whose gain and bias are chosen by a condition."""

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.module import Module


class AdaptiveLayerNorm(Module):
    """Centres and scales each token, then applies a gain and a bias that a condition of the item gives.

    Args:
        dim: Channels of a token.
        condition_dim: Channels of the condition; ``dim`` if None.
        eps: Added to the variance.

    Shape:
        x: (B, N, dim). condition: (B, condition_dim). Output: the same as x.

    Source:
        Perez et al. 2017 (FiLM), https://arxiv.org/abs/1709.07871; Peebles and Xie 2022 (DiT),
        https://arxiv.org/abs/2212.09748.
    """

    def __init__(self, dim: int, condition_dim: int | None = None, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.modulation = nn.Linear(condition_dim or dim, 2 * dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalises and modulates."""
        scale, shift = self.modulation(F.silu(condition))[:, None].chunk(2, dim=2)
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + scale) + shift
