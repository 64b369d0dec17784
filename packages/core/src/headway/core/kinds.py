"""Whether a value that came from JSON is of the kind that a type hint names."""

import inspect
import math
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Union

from headway.core.errors import UserError

_LISTS = (tuple, list, Sequence, Collection)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a kind; true where the hint speaks of something else than plain values.

    Args:
        value: What JSON can hold: None, a truth value, a finite number, a text, a list, a mapping.
        hint: Such as ``int | tuple[int, int] | None``. A whole number is a number, too.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if hint in (None, type(None)):
        return value is None
    if hint is bool or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) < 1e300 and math.isfinite(value)
    if origin in _LISTS or hint in _LISTS:
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and Ellipsis not in inner:
            return len(value) == len(inner) and all(map(fits, value, inner))
        return not inner or all(fits(item, inner[0]) for item in value)
    if origin is Mapping or origin is dict:
        return isinstance(value, Mapping)
    return True


def check_fits(value: Any, hint: Any, name: str) -> None:
    """Raises if a value is of another kind than its hint.

    Raises:
        UserError: It names the value and what is expected.
    """
    if not fits(value, hint):
        expected = inspect.formatannotation(hint).replace("typing.", "")
        raise UserError(f"{name} = {value!r:.80} is of another kind; expected {expected}")
