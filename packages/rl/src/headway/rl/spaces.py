"""What is seen and done in an environment, as plain data that a model keeps in its config.json.

The kinds are those of gymnasium; ``headway.rl.environments.read_spaces`` makes them of its spaces. Models
need torch alone, so they know these and not gymnasium.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headway.core.errors import UserError

Bounds = float | tuple[float | None, ...] | None


@dataclass(frozen=True, kw_only=True)
class Box:
    """Numbers.

    Args:
        shape: Axes of the array.
        low: Least value of each number (flat, None for one without), or one for all; None if there is none.
        high: Largest value of each number, likewise.
        dtype: Type of the numbers.
    """

    shape: tuple[int, ...]
    low: Bounds = None
    high: Bounds = None
    dtype: str = "float32"

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether it is a picture: bytes with two axes and channels."""
        return len(self.shape) == 3 and self.dtype == "uint8"

    def __str__(self) -> str:
        return f"{'x'.join(map(str, self.shape)) or 'one'} numbers of {self.dtype}"


@dataclass(frozen=True, kw_only=True)
class Discrete:
    """One of several choices.

    Args:
        n: How many.
        start: The first of them.
    """

    n: int
    start: int = 0

    def __str__(self) -> str:
        return f"one of {self.n} choices from {self.start}"


@dataclass(frozen=True, kw_only=True)
class MultiDiscrete:
    """Several choices at once.

    Args:
        n: How many choices each of them has.
        start: The first of each.
    """

    n: tuple[int, ...]
    start: tuple[int, ...]

    def __str__(self) -> str:
        return f"{len(self.n)} choices of {list(self.n)}"


@dataclass(frozen=True, kw_only=True)
class Dict:
    """Several observations by name; what is nested has names such as ``camera/left``.

    Args:
        parts: Space of each.
    """

    parts: Mapping[str, "Box | Discrete | MultiDiscrete"] = field(default_factory=dict)

    def __str__(self) -> str:
        return ", ".join(f"{name}: {part}" for name, part in self.parts.items())


Leaf = Box | Discrete | MultiDiscrete
Space = Leaf | Dict


def shape_of(space: Leaf) -> tuple[int, ...]:
    """Returns the shape of one array of a space."""
    if isinstance(space, Box):
        return space.shape
    return () if isinstance(space, Discrete) else (len(space.n),)


def flat_choices(space: Space) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns how many choices there are, and their starts, of one or several at once."""
    if isinstance(space, Discrete):
        return (space.n,), (space.start,)
    assert isinstance(space, MultiDiscrete)
    return space.n, space.start


KINDS: dict[str, type[Any]] = {
    "box": Box,
    "discrete": Discrete,
    "multi_discrete": MultiDiscrete,
    "dict": Dict,
}
_KIND_OF = {cls: kind for kind, cls in KINDS.items()}


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """What is seen and what is done; made from data or an environment, stored with the model.

    Args:
        observation: Space of an observation.
        action: Space of an action.
    """

    observation: Space
    action: Space

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        return {"observation": _written(self.observation), "action": _written(self.action)}

    @classmethod
    def from_json(cls, values: "Mapping[str, Any] | Spaces") -> "Spaces":
        """Reads what ``to_json`` has returned.

        Raises:
            UserError: If it is something else.
        """
        if isinstance(values, Spaces):
            return values
        if not isinstance(values, Mapping) or set(values) != {"observation", "action"}:
            raise UserError(f"spaces are an observation and an action, got {values!r:.120}")
        return cls(observation=_read(values["observation"]), action=_read(values["action"]))


def _written(space: Space) -> dict[str, Any]:
    kind = _KIND_OF[type(space)]
    if isinstance(space, Dict):
        return {"kind": kind, "parts": {name: _written(one) for name, one in space.parts.items()}}
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(space).items()
    }
    return {"kind": kind, **values}


def _read(values: Any) -> Any:
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise UserError(f"a space has a kind of {list(KINDS)}, got {values!r:.120}")
    arguments = {name: value for name, value in values.items() if name != "kind"}
    cls = KINDS[values["kind"]]
    try:
        if cls is Dict:
            return Dict(parts={str(k): _read(part) for k, part in arguments["parts"].items()})
        made = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})
        _check(made)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise UserError(f"{values!r:.120} is no {values['kind']} space ({error})") from None
    return made


def _check(space: Leaf) -> None:
    """Raises ``ValueError`` where a space is impossible."""
    if isinstance(space, Box):
        sizes: tuple[Any, ...] = space.shape
        for bound in (space.low, space.high):
            if isinstance(bound, tuple) and len(bound) != space.size:
                raise ValueError(f"{len(bound)} bounds of {space.size} numbers")
    elif isinstance(space, Discrete):
        sizes = (space.n,)
    else:
        sizes = space.n
        if len(space.start) != len(space.n):
            raise ValueError(f"{len(space.start)} starts of {len(space.n)} choices")
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"sizes are whole numbers from 1, got {list(sizes)}")
