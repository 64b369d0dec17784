"""Published weights for a model: from a folder, a file or the hub."""

from typing import Any

from headway.core.errors import UserError
from headway.core.weights.pretrained import from_pretrained
from headway.rl.models.base import DecisionModel
from headway.rl.models.searchformer import Searchformer


def pretrained(
    source: str, *, observation_dim: int | None = None, action_dim: int | None = None
) -> DecisionModel:
    """Loads a decision model for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        observation_dim: Numbers of an observation of the new environment; as published if None.
        action_dim: Numbers, or number, of its actions; as published if None.
    """
    wishes: dict[str, Any] = {"observation_dim": observation_dim, "action_dim": action_dim}
    model = from_pretrained(
        source, **{name: value for name, value in wishes.items() if value is not None}
    )
    if not isinstance(model, DecisionModel):
        raise UserError(f"{source} holds a {type(model).__name__}, which takes no actions")
    return model


def trained_searchformer(source: str) -> Searchformer:
    """Loads a Searchformer that learns on from its own searches.

    Args:
        source: A run, a folder or a file.

    Raises:
        UserError: If it holds another model.
    """
    model = from_pretrained(source)
    if not isinstance(model, Searchformer):
        raise UserError(f"{source} holds a {type(model).__name__}, not a Searchformer")
    return model
