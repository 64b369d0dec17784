"""Continuous actions out of noise, by convolutions."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.rl.layers.actions.continuous import Scaling
from headway.rl.layers.actions.noised import NoisedActions
from headway.rl.layers.conditional_unet import ConditionalUNet
from headway.rl.layers.noising import DiffusionNoising, Noising
from headway.rl.spaces import Space


class UNetActions(NoisedActions):
    """Takes noise off chunks of actions by a U-Net of convolutions over their steps.

    Args:
        dim: Numbers of what was seen.
        space: A ``Box``, or how many numbers.
        widths: Channels at each level.
        kernel: Steps that a convolution reads, odd.
        groups: Groups of the norms.
        step_dim: Channels of the step of the noise, even.
        scale: Whether what was seen chooses a gain of each channel, or a bias alone (FiLM).
        noising: Builds what noise does: ``DiffusionNoising`` or ``FlowNoising``.
        scaling: By ``bounds`` or by ``statistics``.

    Shape:
        actions: (B, N, *shape), N a multiple of 2 to the number of widths but one. features: (..., dim).

    Source:
        Chi et al. 2023, https://arxiv.org/abs/2303.04137.
    """

    def __init__(
        self,
        dim: int,
        space: Space | int,
        *,
        widths: Sequence[int] = (128, 256),
        kernel: int = 5,
        groups: int = 8,
        step_dim: int = 128,
        scale: bool = True,
        noising: Callable[[], Noising] = DiffusionNoising,
        scaling: Scaling = "bounds",
    ) -> None:
        super().__init__(dim, space, noising=noising, scaling=scaling)
        self.unet = ConditionalUNet(
            self.action_dim,
            dim,
            widths=widths,
            kernel=kernel,
            groups=groups,
            step_dim=step_dim,
            scale=scale,
        )

    def embed(self, actions: Tensor) -> Tensor:
        """Raises an error: convolutions make no tokens of single actions."""
        raise UserError("UNetActions embeds no actions; give it to a model that reads none")

    def denoise(
        self, x: Tensor, step: Tensor, seen: Sequence[Tensor], layout: Layout | None = None
    ) -> Tensor:
        """Returns what is said of noisy actions."""
        return self.unet(x, step, seen[-1])

    def get_classifier(self) -> nn.Module:
        """Returns the layer that answers."""
        return self.unet.head
