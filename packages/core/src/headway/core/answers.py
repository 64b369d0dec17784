"""Named tuples that models answer with, in files of exported graphs."""

from typing import TypeVar

from headway.core.private_torch import register_named_tuple

Answer = TypeVar("Answer", bound=tuple)


def answer(cls: type[Answer]) -> type[Answer]:
    """Names a type of answers, a named tuple of tensors, in files that ``torch.export.save`` writes.

    Whoever loads such a file imports the type first, by importing the model's package.
    """
    register_named_tuple(cls)
    return cls
