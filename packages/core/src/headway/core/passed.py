"""Arguments that a constructor passes on to its base by name."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from typing import Unpack as Passed
else:

    class Passed:
        """``**options: Passed[Options]``: keyword arguments that go on as ``super().__init__(**options)``.

        A type checker reads ``Unpack[Options]`` and checks who calls. The command line would find no
        defaults in that; so what it sees is a plain ``**options``, which it follows to the signature of the
        base: types, defaults and help are those that stand there, and nowhere else.
        ``packages/core/tests/cli/test_passed_options.py`` holds the two together.
        """

        def __class_getitem__(cls, options: type) -> Any:
            return Annotated[Any, options]


Argument = tuple[inspect.Parameter, Callable[..., Any]]


@functools.cache
def arguments(cls: type) -> dict[str, Argument]:
    """Returns the arguments of a constructor, those passed on included, each with the function that names it.

    Args:
        cls: The class.
    """
    found: dict[str, Argument] = {}
    names: frozenset[str] | None = None
    for base in inspect.getmro(cls):
        function = base.__dict__.get("__init__")
        if function is None:
            continue
        _, *parameters = inspect.signature(function).parameters.values()
        options = passed_options(function)
        for parameter in parameters:
            if parameter.kind == inspect.Parameter.VAR_KEYWORD and options is not None:
                continue
            if names is None or parameter.name in names:
                found.setdefault(parameter.name, (parameter, function))
        if options is None:
            break
        hints = frozenset(typing.get_type_hints(options))
        # What a base passes on reaches its own bases; no more of it can be given than was passed to it.
        names = hints if names is None else names & hints
    return found


def passed_options(function: Callable[..., Any]) -> Any:
    """Returns the TypedDict of what a constructor passes on; None if it passes nothing on."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind == inspect.Parameter.VAR_KEYWORD:
            marks = getattr(parameter.annotation, "__metadata__", ())
            return marks[0] if marks else None
    return None
