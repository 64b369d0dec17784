"""A model as data: ``{"class_path": ..., "init_args": {...}}``, the language of recipes, both ways."""

import functools
import importlib
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

from torch import nn

from headway.core.errors import UserError
from headway.core.kinds import check_fits
from headway.core.module import Module
from headway.core.moves import moved
from headway.core.passed import arguments
from headway.core.plugins import refuse_foreign_package

# Where classes may come from without being named in `allow`.
TRUSTED = ("headway.", "torch.nn.")

T = TypeVar("T")


def describe(module: nn.Module) -> dict[str, Any]:
    """Returns class and constructor arguments of a module, as JSON values.

    Raises:
        UserError: If an argument cannot be written, such as a lambda.
    """
    if not isinstance(module, Module):
        raise UserError(
            f"{type(module).__name__} does not record its arguments; derive it from "
            "headway.core.module.Module"
        )
    args = {name: write_argument(value, name) for name, value in module.init_args.items()}
    return {"class_path": class_path(type(module)), "init_args": args}


def class_path(cls: type) -> str:
    """Returns the import path of a class, the shortest public one of its packages."""
    parts = cls.__module__.split(".")
    for length in range(2, len(parts)):
        package = ".".join(parts[:length])
        if getattr(importlib.import_module(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__name__}"


def write_argument(value: Any, name: str) -> Any:
    """Returns an argument of a constructor as JSON values.

    Raises:
        UserError: If it cannot be written, such as a lambda; the message names it by ``name``.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, type):
        return {"class_path": class_path(value)}
    if isinstance(value, functools.partial):
        cls, args = value.func, value.args
        if "jsonargparse" in getattr(cls, "__module__", ""):
            # What it builds for a factory: partial(instantiator, ..., cls, **init_args).
            cls, args = next((item for item in args if isinstance(item, type)), None), ()
        if isinstance(cls, type) and not args:
            written = {key: write_argument(item, key) for key, item in value.keywords.items()}
            return {"class_path": class_path(cls), "init_args": written}
    if isinstance(value, nn.Module):
        return describe(value)
    if isinstance(value, Mapping):
        return {str(key): write_argument(item, name) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [write_argument(item, name) for item in value]
    raise UserError(
        f"the argument {name}={value!r} cannot be saved; pass a class or a functools.partial of a "
        "class with keyword arguments (a lambda or a function cannot be found again)"
    )


def build(
    config: Mapping[str, Any],
    *,
    expected: type[T] = nn.Module,
    allow: Collection[str] = (),
    overrides: Mapping[str, Any] | None = None,
) -> T:
    """Builds what a configuration describes.

    Args:
        config: ``{"class_path": ..., "init_args": {...}}``.
        expected: The class that the result must be an instance of.
        allow: Further classes or packages, by import path, besides those of headway and torch.nn.
        overrides: Arguments that replace those of the configuration.

    Raises:
        UserError: If a class is not allowed (it is then not even imported), is of another kind, or
            does not take an argument, or an argument is of another kind than its type hint.
    """
    cls = find_class(config, allow)
    args = {
        name: _read(value, hint, name, allow)
        for (name, value), hint in _with_hints(cls, config.get("init_args", {}))
    }
    args.update(overrides or {})
    if not issubclass(cls, expected):
        raise UserError(f"{class_path(cls)} is not a {expected.__name__}")
    try:
        return cls(**args)
    except TypeError as error:
        raise UserError(
            f"{class_path(cls)} cannot be built from its configuration: {error}"
        ) from None


def find_class(config: Mapping[str, Any], allow: Collection[str]) -> type:
    """Returns the class that a configuration names, if it may be imported."""
    path = config.get("class_path")
    if not isinstance(path, str) or "." not in path:
        raise UserError(f"a configuration needs a class_path such as 'headway...', got {path!r}")
    trusted = path.startswith(TRUSTED) or any(
        path == name or path.startswith(f"{name}.") for name in allow
    )
    if not trusted:
        raise UserError(
            f"the configuration names {path}, which is not part of headway; "
            f"if you trust it, pass allow=[{path!r}]"
        )
    path = moved(path)
    module_name, _, name = path.rpartition(".")
    if path.startswith("headway."):
        refuse_foreign_package(path.split(".")[1], path)
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except (ImportError, ValueError):
        found = None
    if not isinstance(found, type):
        raise UserError(f"there is no class {path}; was it written by a newer version of headway?")
    # The package may re-export a class from elsewhere: judge by where it was defined.
    home = f"{found.__module__}.{found.__name__}"
    if not home.startswith(TRUSTED) and not any(
        home == known or path == known or home.startswith(f"{known}.") for known in allow
    ):
        raise UserError(
            f"{path} leads to {home}, which is not part of headway; pass allow=[{home!r}]"
        )
    return found


def _with_hints(cls: type, args: Any) -> list[tuple[tuple[str, Any], Any]]:
    if not isinstance(args, Mapping):
        raise UserError(f"init_args of {cls.__name__} must be a mapping, got {type(args).__name__}")
    args, known = arguments_today(cls, args), arguments(cls)
    unknown = [name for name in args if name not in known]
    if unknown:
        raise UserError(f"{class_path(cls)} does not take {', '.join(unknown)}")
    hints = _hints(cls)
    for name, value in args.items():
        if name in hints and not _has_objects(value):
            check_fits(value, hints[name], f"{cls.__name__}: {name}")
    return [((name, value), hints.get(name)) for name, value in args.items()]


def arguments_today(cls: type, args: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments that an earlier release wrote as those of today.

    What is None where a part must stand is left out: the default part stands there. The rest a class says
    itself (``Module.arguments_today``).
    """
    args = cls.arguments_today(args) if issubclass(cls, Module) else dict(args)
    if None not in args.values():
        return args
    hints = _hints(cls)
    return {
        name: value
        for name, value in args.items()
        if value is not None or not _needs_part(hints.get(name))
    }


def _hints(cls: type) -> dict[str, Any]:
    functions = dict.fromkeys(function for _, function in arguments(cls).values())
    hints: dict[str, Any] = {}
    for function in reversed(functions):  # what the class itself says goes over what its base says
        hints.update(typing.get_type_hints(function))
    return hints


def _read(value: Any, hint: Any, name: str, allow: Collection[str]) -> Any:
    if isinstance(value, Mapping) and "class_path" in value:
        if _is_factory(hint):
            cls = find_class(value, allow)
            args = {
                key: _read(item, inner, key, allow)
                for (key, item), inner in _with_hints(cls, value.get("init_args", {}))
            }
            return functools.partial(cls, **args) if args else cls
        return build(value, allow=allow)
    if isinstance(value, Mapping):
        return {key: _read(item, hint, name, allow) for key, item in value.items()}
    if isinstance(value, list):
        return [_read(item, hint, name, allow) for item in value]
    return value


def _has_objects(value: Any) -> bool:
    """Whether a value describes an object, or holds such a description."""
    if isinstance(value, Mapping):
        return "class_path" in value or any(map(_has_objects, value.values()))
    return isinstance(value, list) and any(map(_has_objects, value))


def _needs_part(hint: Any) -> bool:
    return _is_factory(hint) and type(None) not in typing.get_args(hint)


def _is_factory(hint: Any) -> bool:
    """Whether a type hint speaks of something to call, not of a finished module."""
    if hint is None:
        return False
    origin = typing.get_origin(hint)
    if hint is Callable or origin in (Callable, type):
        return True
    return any(_is_factory(inner) for inner in typing.get_args(hint))
