"""Feature maps of linear attention: what makes the product of a query and a key a weight."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system


class FeatureMap(Module):
    """Turns queries and keys, ``(..., head_dim)``, into features.

    Attributes:
        width: Features of a token and head.
        signed: Whether features may be negative; there is then no sum of weights to divide by.
    """

    width: int
    signed: ClassVar[bool] = False


class EluPlusOne(FeatureMap):
    """The feature map ``elu(x) + 1``: positive, and linear where x is.

    Args:
        head_dim: Width of a head.

    Source:
        Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236, eq. 7.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.width = head_dim

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features."""
        # Not F.elu: its gradient takes the memory format of the incoming one, which the compiler does not
        # foresee.
        return F.relu(x) + x.clamp_max(0).exp()


class ReLUFeatures(FeatureMap):
    """The feature map ``relu(x)``: sparse; a query without positive features sees nothing.

    Args:
        head_dim: Width of a head.

    Source:
        Choromanski et al. 2020, https://arxiv.org/abs/2009.14794, section 2.2 (generalized attention);
        Cai et al. 2022, https://arxiv.org/abs/2205.14756.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.width = head_dim

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features."""
        return F.relu(x)


class ScaledFeatures(FeatureMap):
    """Queries and keys themselves: their product is the score of attention, ``q . k / sqrt(head_dim)``.

    Args:
        head_dim: Width of a head.

    Source:
        Yang et al. 2023, https://arxiv.org/abs/2312.06635, section 4.4.
    """

    signed: ClassVar[bool] = True

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.width = head_dim

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features."""
        return x * self.width**-0.25


@system(
    id=None,
    name="Performer (FAVOR+)",
    paper="https://arxiv.org/abs/2009.14794",
    claim="products of positive random features are softmax's exp(q k / sqrt(d)) on average",
    test="packages/core/tests/parts/mixers/kernelized/test_feature_maps.py",
)
class RandomFeatures(FeatureMap):
    """Positive orthogonal random features, whose products estimate ``exp(q . k / sqrt(head_dim))``.

    They are drawn once, when the module is built, and are saved with the weights: a trained model meets
    the features that it was trained with. They are computed in float32 at least.

    Args:
        head_dim: Width of a head.
        features: Number of random features.

    Source:
        Choromanski et al. 2020, https://arxiv.org/abs/2009.14794, lemma 1 and section 2.4.
    """

    directions: Tensor

    def __init__(self, head_dim: int, *, features: int = 64) -> None:
        super().__init__()
        if features < 1:
            raise UserError(f"features must be at least 1, got {features}")
        self.width = features
        self.register_buffer("directions", orthogonal_gaussians(features, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features."""
        x = x.to(torch.promote_types(x.dtype, torch.float32)) * x.shape[-1] ** -0.25
        along = x @ self.directions.to(x.dtype).T
        return (along - x.square().sum(dim=-1, keepdim=True) / 2).exp() * self.width**-0.5


class GeneralizedRandomFeatures(FeatureMap):
    """The rectified projections on random orthogonal directions: what MoLFormer and GP-MoLFormer use.

    As ``RandomFeatures``, they are drawn once and saved with the weights. The published models draw others in
    every pass, also when they are evaluated, unless told not to.

    Args:
        head_dim: Width of a head.
        features: Number of random features.

    Source:
        Choromanski et al. 2020, https://arxiv.org/abs/2009.14794, section 2.2 (generalized attention).
    """

    directions: Tensor

    def __init__(self, head_dim: int, *, features: int = 32) -> None:
        super().__init__()
        if features < 1:
            raise UserError(f"features must be at least 1, got {features}")
        self.width = features
        self.register_buffer("directions", orthogonal_gaussians(features, head_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the features."""
        return F.relu(x @ self.directions.to(x.dtype).T)


def orthogonal_gaussians(rows: int, width: int) -> Tensor:
    """Returns Gaussian vectors, (rows, width), of which each block of ``width`` is orthogonal.

    Each vector alone is distributed as a Gaussian one, so estimates stay unbiased; that they are
    orthogonal lowers the variance.
    """
    blocks = [
        nn.init.orthogonal_(torch.empty(width, width)) for _ in range(math.ceil(rows / width))
    ]
    lengths = torch.randn(rows, width).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:rows] * lengths
