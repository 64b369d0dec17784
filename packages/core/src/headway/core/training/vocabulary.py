"""The vocabulary that weights belong to travels with them in the checkpoint."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasVocabulary(Protocol):
    """A model whose tokens have numbers, which the data decided."""

    @property
    def tokenizer(self) -> Any:
        """What tokens mean; its ``vocabulary`` lists them in the order of their numbers."""

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary."""


@runtime_checkable
class HasLength(Protocol):
    """A model that says how long a text may be."""

    max_length: int

    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length."""


def write_vocabulary(model: object, checkpoint: dict[str, Any]) -> None:
    """Adds to a checkpoint which tokens the weights of a model belong to, and how many a text may have."""
    if isinstance(model, HasVocabulary):
        checkpoint["vocabulary"] = list(model.tokenizer.vocabulary)
    if isinstance(model, HasLength):
        checkpoint["max_length"] = model.max_length


def take_vocabulary(model: object, checkpoint: dict[str, Any]) -> bool:
    """Gives a model the vocabulary and the length of a checkpoint; says whether it had another vocabulary."""
    changed = False
    if isinstance(model, HasVocabulary) and "vocabulary" in checkpoint:
        vocabulary = tuple(checkpoint["vocabulary"])
        changed = vocabulary != tuple(model.tokenizer.vocabulary)
        if changed:
            model.set_vocabulary(vocabulary)
    if isinstance(model, HasLength) and checkpoint.get("max_length", 0) > model.max_length:
        model.set_max_length(checkpoint["max_length"])
    return changed
