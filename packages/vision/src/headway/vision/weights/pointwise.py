"""Convolutions over single pixels, which are linear layers here."""

from collections.abc import Mapping

from torch import Tensor, nn


def as_linear(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Returns tensors with the kernels of 1 x 1 pixels as matrices, where the model has linear layers.

    Args:
        state: Tensors under the names of the model.
        model: Its shapes say which are meant.
    """
    own = model.state_dict()
    return {
        name: value.flatten(1)
        if name in own and own[name].ndim == 2 and value.ndim == 4 and value.shape[2:] == (1, 1)
        else value
        for name, value in state.items()
    }
