"""The base of all discriminators."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.func import functional_call

from headway.core.module import Module


class Discriminator(Module):
    """Looks at sound in several ways."""

    @abstractmethod
    def forward(self, waveforms: Tensor) -> list[list[Tensor]]:
        """Returns, for each way of looking, what its layers found; the last is how real each place sounds.

        Args:
            waveforms: Samples.

        Shape:
            waveforms: (B, S). Output: tensors (B, ...).
        """

    def fixed(self, waveforms: Tensor) -> list[list[Tensor]]:
        """Returns the same; a gradient reaches the samples, and no parameter."""
        parameters = {name: value.detach() for name, value in self.named_parameters()}
        return functional_call(self, parameters, (waveforms,))


class Looking(nn.Module):
    """Convolutions with an activation between them, and all that they found.

    Args:
        *layers: The convolutions; the last one says how real a place sounds.
        slope: Of the activations below zero.
    """

    def __init__(self, *layers: nn.Module, slope: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = nn.LeakyReLU(slope)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns what each layer found."""
        found = []
        for place, layer in enumerate(self.layers, start=1):
            x = layer(x)
            if place < len(self.layers):
                x = self.activation(x)
            found.append(x)
        return found
