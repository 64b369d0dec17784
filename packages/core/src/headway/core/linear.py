"""Linear layers: several projections at once, each with its place; and one that begins with silence."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError


class FusedLinear(nn.Linear):
    """One matrix product for several projections, such as queries, keys and values.

    The toolboxes find a single projection by its name: LoRA on ``("q", "v")`` adapts two thirds of a
    fused ``qkv``, pruning and key-name adapters slice it.

    Args:
        in_features: Input channels.
        sections: Output channels of each projection by name, in the order of the rows.
        bias: Whether to learn a bias.
        unbiased: Sections whose bias is 0 and stays so: one of keys changes no attention, and noise in its
            gradient would move it.

    Shape:
        Input: (..., in_features). Output: (..., sum of the sections).
    """

    def __init__(
        self,
        in_features: int,
        sections: Mapping[str, int],
        *,
        bias: bool = True,
        unbiased: Collection[str] = (),
    ) -> None:
        if not sections or min(sections.values()) < 1:
            raise UserError(f"every section needs at least one channel, got {dict(sections)}")
        super().__init__(in_features, sum(sections.values()), bias=bias)
        self.sections: dict[str, slice] = {}
        start = 0
        for name, size in sections.items():
            self.sections[name] = slice(start, start + size)
            start += size
        self.unbiased = [self.sections[name] for name in unbiased] if bias else []
        with torch.no_grad():
            for place in self.unbiased:
                self.bias[place] = 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Computes all projections."""
        if not self.unbiased or not torch.is_grad_enabled():
            return super().forward(input)
        bias = self.bias.clone()
        for place in self.unbiased:
            bias[place] = 0.0
        return F.linear(input, self.weight, bias)


class SilentLinear(nn.Linear):
    """A linear layer that answers zeros until it has learned: what is put beside a trained model ends in one.

    ``init_transformer_`` leaves it so.

    Args:
        in_features: Input channels.
        out_features: Output channels.
        bias: Whether to learn a bias.
    """

    def reset_parameters(self) -> None:
        """Sets weight and bias to zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
