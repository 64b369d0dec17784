"""Patches that overlap."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.embeddings.patch import PatchEmbedding
from headway.core.errors import UserError
from headway.core.layout import Layout


class OverlappingPatchEmbedding(PatchEmbedding):
    """Projects patches that overlap their neighbours: a convolution whose kernel is larger than its stride.

    Args:
        dim: Channels of a token.
        patch: Pixels per side, or of height and width, from one token to the next.
        kernel: Side in pixels of what a token is computed from.
        padding: Zeros around the picture, in pixels.
        channels: Channels of a picture.
        norm: Builds a norm of the tokens, ``(dim)``; none if None.

    Shape:
        Input: (B, channels, H, W). Output: (B, h * w, dim) and its layout, h = (H + 2 padding - kernel) //
        patch + 1.

    Source:
        Yu et al. 2021 (PoolFormer), https://arxiv.org/abs/2111.11418, appendix A; Xie et al. 2021
        (SegFormer), https://arxiv.org/abs/2105.15203, section 3.1.
    """

    def __init__(
        self,
        dim: int,
        *,
        patch: int | Sequence[int] = 4,
        kernel: int = 7,
        padding: int = 2,
        channels: int = 3,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        steps = (patch, patch) if isinstance(patch, int) else (patch[0], patch[1])
        if not 0 <= padding < kernel or min(steps) < 1:
            raise UserError(
                f"patch {patch} must be positive and padding {padding} between 0 and kernel {kernel}"
            )
        super().__init__(dim, patch=kernel, channels=channels, norm=norm)
        self.kernel, self.padding = kernel, padding
        self.patch = steps

    def grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Returns the grid of tokens of a picture of ``size`` (H, W).

        Raises:
            UserError: If the picture is smaller than the kernel.
        """
        left = [side + 2 * self.padding - self.kernel for side in size]
        if min(left) < 0:
            raise UserError(
                f"a picture of {size[0]}x{size[1]} is smaller than the kernel of a token; resize it to "
                f"{self.kernel - 2 * self.padding} pixels or more per side"
            )
        return left[0] // self.patch[0] + 1, left[1] // self.patch[1] + 1

    def forward(self, images: Tensor) -> tuple[Tensor, Layout]:
        """Returns the tokens of a batch of pictures."""
        self.check(images)
        layout = Layout(grid=self.grid(images.shape[-2:]))
        maps = F.conv2d(images, self.weight, self.bias, stride=self.patch, padding=self.padding)
        tokens = maps.flatten(2).transpose(1, 2).contiguous()
        return (self.norm(tokens) if self.norm is not None else tokens), layout
