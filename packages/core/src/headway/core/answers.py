"""Named tuples that models answer with, in files of exported graphs."""

from typing import TypeVar

from torch.utils import _pytree

Answer = TypeVar("Answer", bound=tuple)


def answer(cls: type[Answer]) -> type[Answer]:
    """Names a type of answers, a named tuple of tensors, in files that ``torch.export.save`` writes.

    Whoever loads such a file imports the type first, by importing the model's package.
    """
    # torch has a public function for dataclasses alone.
    _pytree._register_namedtuple(cls, serialized_type_name=f"{cls.__module__}.{cls.__qualname__}")
    return cls
