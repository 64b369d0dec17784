"""One line for a wrong configuration: what, where, and the nearest right name."""

import importlib
import inspect
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.core.cli.nearest import nearest
from headway.core.errors import InputError
from headway.core.reading import read_text, read_yaml

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
_NO_IMPORT = re.compile(r"has no attribute|No module named|Unable to import")
_SYNTAX = re.compile(r"Problems parsing config")
_MISSING = re.compile(r"the following arguments are required: (.+)|Key '([^']+)' is required")
_VALUE = re.compile(r"Expected (?:a |one of )?(.+?)\. Got value: (.+)")
_GIVEN = re.compile(r"Given value: (.+)")
_REST = inspect.Parameter.VAR_KEYWORD
_UNRECOGNISED = re.compile(r"unrecognized arguments: (.+)")


@dataclass
class _Trail:
    """Where in a configuration an error happened."""

    keys: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    """Import paths of the classes, the innermost last."""

    @property
    def owner(self) -> str | None:
        return self.owners[-1] if self.owners else None

    def at(self, key: str) -> str:
        return ".".join([*self.keys, key])


def explain(message: str, *, options: Iterable[str], files: list[Path], words: list[str]) -> str:
    """Returns one line for an error of jsonargparse.

    Args:
        message: Its text, which nests one level for each class.
        options: The keys of the parser, such as ``trainer.max_epochs``.
        files: Configurations, last first wins.
        words: The command line.
    """
    if _SYNTAX.search(message):
        return _syntax(message, files)
    trail = _Trail()
    for line in message.splitlines():
        if match := _KEY.search(line):
            trail.keys += match.group(1).split(".")
        if match := _CLASS.search(line):
            trail.owners.append(match.group(1))
        if text := _leaf(line, trail, list(options)):
            name = text[1]
            return text[0] + _place(name, files, words)
    given = _GIVEN.search(message)
    what = ".".join(trail.keys)
    if given and what:
        expected = re.findall(r"Expected an? (.+)", message)
        return f"{what}: {given.group(1)} is not {_types(expected)}" + _place(
            what.rsplit(".", 1)[-1], files, words
        )
    return " ".join(message.split())


def _leaf(line: str, trail: _Trail, options: list[str]) -> tuple[str, str] | None:
    """Returns the text for a line that says what is wrong, and the name to look for in the files."""
    if match := _GROUP.search(line):
        group, key = match.groups()
        known = [o.removeprefix(f"{group}.") for o in options if o.startswith(f"{group}.")]
        return f"{group} has no option {key!r}{nearest(key, known)}", key
    if match := _UNKNOWN.search(line):
        key = match.group(1).split(".")[0]
        if trail.owner is None:
            tops = {option.split(".")[0] for option in options}
            return f"there is no option {key!r}{nearest(key, tops)}", key
        owner = trail.owner.rsplit(".", 1)[-1]
        where = f" (at {'.'.join(trail.keys)})" if trail.keys else ""
        return f"{owner} has no option {key!r}{where}{nearest(key, _parameters(trail.owner))}", key
    if match := _NO_CLASS.search(line):
        name = match.group(1)
        known = sorted(_class_names(trail))
        hint = nearest(name, known) or (f"; there are {', '.join(known)}" if known else "")
        # --model.help CLASS stands at no key.
        return f"{'.'.join(trail.keys) or '--help'}: there is no class {name!r}{hint}", name
    if _NO_IMPORT.search(line) and trail.owners:
        path = trail.owners.pop()
        hint = nearest(path.rsplit(".", 1)[-1], _class_names(trail))
        return f"{'.'.join(trail.keys)}: there is no {path!r}{hint}", path
    if match := _MISSING.search(line):
        names = match.group(1) or match.group(2)
        owner = (trail.owner or "the configuration").rsplit(".", 1)[-1]
        return f"{owner} needs {names} (at {trail.at(names)})", trail.keys[-1] if trail.keys else ""
    if match := _VALUE.search(line):
        what = ".".join(trail.keys)
        return (
            f"{what}: {match.group(2)} is not {_types([match.group(1)])}",
            trail.keys[-1] if trail.keys else "",
        )
    if match := _UNRECOGNISED.search(line):
        word = match.group(1).split()[0]
        key = word.lstrip("-").split("=")[0]
        dashes = "--" if word.startswith("--") else ""
        return f"there is no option {dashes}{key}{nearest(key, options)}", ""
    return None


def _syntax(message: str, files: list[Path]) -> str:
    """Returns where a YAML file is broken; the parser does not say in which one."""
    for file in files:
        try:
            read_yaml(file)
        except InputError as error:
            return str(error)
    return " ".join(message.split())


def _types(names: list[str]) -> str:
    plain = [re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", name) for name in names]
    kept = list(dict.fromkeys(name for name in plain if name != "NoneType"))
    return "of type " + " or ".join(kept) if kept else "accepted"


def _place(name: str, files: list[Path], words: list[str]) -> str:
    """Returns where a name stands: on the command line, or in which line of which file."""
    if not name:
        return ""
    key = re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])")
    for word in words:
        if word.startswith("--") and key.search(word):
            return f" [{word.split('=')[0]}]"
    for file in reversed(files):
        for number, line in enumerate(read_text(file).splitlines(), 1):
            if key.search(line.partition("#")[0]):
                return f" [{file}:{number}]"
    return ""


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def _parameters(path: str) -> list[str]:
    target = _class(path)
    return [] if target is None else [name for _, name in _arguments(target)]


def _arguments(target: Any) -> Iterator[tuple[Any, str]]:
    """Yields the arguments of a class or function with the function that names each, those of bases, too."""
    is_class = inspect.isclass(target)
    functions = [base.__init__ for base in inspect.getmro(target)] if is_class else [target]
    for function in dict.fromkeys(functions):
        parameters = list(inspect.signature(function).parameters.values())[
            is_class:
        ]  # without self
        yield from ((function, found.name) for found in parameters if found.kind != _REST)
        if not any(found.kind == _REST for found in parameters):
            return


def _class_names(trail: _Trail) -> Iterator[str]:
    """Yields the classes of headway that may stand where the error is."""
    from headway.core.training import DataModule, Task

    if not trail.keys:
        bases: list[Any] = [Task, DataModule]
    elif trail.owner is None:
        bases = {"model": [Task], "data": [DataModule]}.get(trail.keys[-1], [])
    else:
        target = _class(trail.owner)
        found = () if target is None else _arguments(target)
        owner = next((function for function, name in found if name == trail.keys[-1]), None)
        hints = {} if owner is None else typing.get_type_hints(owner)
        bases = list(_classes_in(hints.get(trail.keys[-1])))
    for base in bases:
        for kind in _descendants(base):
            if not kind.__module__.startswith(("torch.", "lightning.")) and kind.__name__[0] != "_":
                yield kind.__name__


def _classes_in(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and hint is not type(None):
        yield hint
    for part in typing.get_args(hint):
        if not isinstance(part, list):
            yield from _classes_in(part)


def _descendants(base: type) -> Iterator[type]:
    try:
        children = base.__subclasses__()
    except TypeError:
        return
    for child in children:
        if not inspect.isabstract(child):
            yield child
        yield from _descendants(child)
