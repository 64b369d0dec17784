"""Batch normalisation that does not see padding."""

import torch
from torch import Tensor, nn

from headway.core.module import Module


class MaskedBatchNorm(Module):
    """Centres and scales each channel by its statistics over the real tokens of the batch.

    In training the mean and the variance are those of the real tokens, so that how a batch was padded
    changes neither them nor the running averages. In evaluation the running averages are used and each
    token stands for itself. Parameters, buffers and the unpadded result are those of
    ``torch.nn.BatchNorm1d``. In training a result depends on the other items of the batch, as always with
    batch norm.

    Args:
        dim: Channels.
        eps: Added to the variance.
        momentum: How far the running averages move towards those of a batch.

    Shape:
        x: (B, N, dim). mask: (B, N), True where a token is real. Output: the same as x.

    Source:
        Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, dim: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalises each channel."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = self._of_batch(x, mask)
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale + (self.bias - mean * scale)

    def _of_batch(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns mean and variance over the real tokens and moves the running averages."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        if mask is None:
            count = torch.tensor(x.shape[0] * x.shape[1], dtype=wide.dtype, device=x.device)
            mean = wide.mean(dim=(0, 1))
            variance = (wide - mean).square().mean(dim=(0, 1))
        else:
            real = mask[..., None].to(wide.dtype)
            count = real.sum().clamp_min(1)
            mean = (wide * real).sum(dim=(0, 1)) / count
            variance = ((wide - mean).square() * real).sum(dim=(0, 1)) / count
        with torch.no_grad():
            # The running variance is the unbiased one, as torch keeps it.
            unbiased = variance * count / (count - 1).clamp_min(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        return mean.to(x.dtype), variance.to(x.dtype)

    def extra_repr(self) -> str:
        """Shows the width, eps and momentum."""
        return f"{self.weight.shape[0]}, eps={self.eps}, momentum={self.momentum}"
