"""How actions enter a model, come out of it, and are learned."""

from headway.core.errors import UserError
from headway.rl.layers.actions.base import ActionFactory, ActionHead
from headway.rl.layers.actions.bins_and_offsets import BinsAndOffsets
from headway.rl.layers.actions.body import BodyActions
from headway.rl.layers.actions.codes_and_offsets import CodesAndOffsets
from headway.rl.layers.actions.continuous import ContinuousActions, ScaledActions
from headway.rl.layers.actions.denoising import DenoisingActions
from headway.rl.layers.actions.discrete import DiscreteActions, MultiDiscreteActions
from headway.rl.layers.actions.gaussian import GaussianActions
from headway.rl.layers.actions.noised import NoisedActions
from headway.rl.layers.actions.pointing import PointingActions
from headway.rl.layers.actions.skilled import SkilledActions
from headway.rl.layers.actions.tokenised import TokenActions
from headway.rl.layers.actions.tried import TriedActions
from headway.rl.layers.actions.unet import UNetActions
from headway.rl.layers.actions.values import AutoregressiveValues
from headway.rl.spaces import Space

__all__ = [
    "ActionFactory",
    "ActionHead",
    "AutoregressiveValues",
    "BinsAndOffsets",
    "BodyActions",
    "CodesAndOffsets",
    "ContinuousActions",
    "DenoisingActions",
    "DiscreteActions",
    "GaussianActions",
    "MultiDiscreteActions",
    "NoisedActions",
    "PointingActions",
    "ScaledActions",
    "SkilledActions",
    "TokenActions",
    "TriedActions",
    "UNetActions",
    "actions_for",
    "drawn_for",
]


def actions_for(dim: int, space: Space | int) -> ActionHead:
    """Builds the plain head of a space: squared error of numbers, cross-entropy of choices.

    Args:
        dim: Channels of a token.
        space: The space; a number stands for so many continuous numbers.
    """
    for head in (ContinuousActions, DiscreteActions, MultiDiscreteActions):
        if isinstance(space, (*head.knows, int)):
            return head(dim, space)
    raise UserError(f"no head knows actions of {space}")


def drawn_for(dim: int, space: Space | int) -> ActionHead:
    """Builds the head of a space whose actions can be drawn: Gaussians of numbers, shares of choices.

    Args:
        dim: Channels of a token.
        space: The space; a number stands for so many continuous numbers.
    """
    if isinstance(space, (*GaussianActions.knows, int)):
        return GaussianActions(dim, space)
    return actions_for(dim, space)
