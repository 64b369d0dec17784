"""Damaged copies of small inputs: what is wrong with them must be one line, whatever it is."""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from headway.core.errors import UserError

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    10**9,
    10**30,
    -0.5,
    1.5,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "8",
    "x",
    "\0",
    [],
    [1, 2, 3],
    [1, "a"],
    [[[1]]],
    {},
    {"a": 1},
    {"class_path": "os.system"},
)
"""Values of other kinds than a key usually has."""

PIECES = (b"\0", b"\xe9", b"\xff\xfe", b"[" * 3000, b"1e999", b"NaN", b"9" * 40, b'"', b",", b"\n")


def damaged_json(value: Any, random: Random, wrong: Sequence[Any] = WRONG) -> Any:
    """Returns a copy of a JSON value in which one or two things are missing, renamed or of another kind.

    Args:
        value: A mapping or a list.
        random: Draws what.
        wrong: Values of other kinds.
    """
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 2)):
        found = _places(value)
        if not found:
            break
        container, key = random.choice(found)
        kind = random.random()
        if kind < 0.1:
            del container[key]
        elif kind < 0.2 and isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        else:
            container[key] = copy.deepcopy(random.choice(wrong))
    return value


def damaged_bytes(content: bytes, random: Random) -> bytes:
    """Returns a copy that is cut, has foreign bytes in it, or other bits.

    Args:
        content: At least one byte.
        random: Draws where.
    """
    start, end = sorted(random.randrange(len(content)) for _ in range(2))
    kind = random.randrange(6)
    if kind == 0:
        return content[:start]
    if kind == 1:
        return content[:start] + content[end:]
    if kind == 2:
        return content[:start] + random.choice(PIECES) + content[start:]
    if kind == 3:
        return b"\xef\xbb\xbf" + content
    made = bytearray(content)
    for _ in range(random.choice((1, 4, 16))):
        made[random.randrange(len(made))] ^= 1 << random.randrange(8)
    return bytes(made)


def damaged(content: bytes, random: Random) -> bytes:
    """Returns a damaged copy of a file: of JSON and lines of JSON mostly its values, of others its bytes."""
    if content[:1] not in (b"{", b"[") or random.random() < 0.2:
        return damaged_bytes(content, random)
    try:
        return json.dumps(damaged_json(json.loads(content), random)).encode()
    except ValueError:
        lines = content.splitlines()
        place = random.randrange(len(lines))
        lines[place] = json.dumps(damaged_json(json.loads(lines[place]), random)).encode()
        return b"\n".join(lines)


def refusals(uses: Iterable[Callable[[], object]]) -> list[str]:
    """Calls each and returns the messages of the ``UserError`` s; anything else that is raised goes on.

    Raises:
        AssertionError: If a message is no single line.
    """
    said: list[str] = []
    for use in uses:
        try:
            use()
        except UserError as error:
            said.append(str(error))
    assert not [line for line in said if "\n" in line]
    return said


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns container and key of everything in a value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += _places(value[key])
    return found
