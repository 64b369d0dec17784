"""The classes of pixels: their names, their ids in masks, their colours."""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image

from headway.core.errors import UserError
from headway.core.kinds import check_fits

Colour = tuple[int, int, int]
MOST_IDS = 2**16
"""Ids that a mask can hold: a grey PNG has 16 bits."""

# Of colours that follow each other: saturation and brightness.
_LEVELS = ((0.85, 0.8), (0.55, 0.95), (0.9, 0.5))


@dataclass(frozen=True, kw_only=True)
class MaskClasses:
    """The classes that pixels may have.

    Args:
        names: Of each class.
        ids: Of each class in masks; their places, from 0 on, if empty.
        colours: Red, green and blue, 0..255, of each class; distinct ones if empty.
        ignore: Ids in masks of pixels that are neither learned nor counted; 255, or another that no class
            has, if empty.

    Raises:
        UserError: If names, ids and colours do not fit each other.
    """

    names: tuple[str, ...]
    ids: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()
    ignore: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(set(self.names)) == len(self.names):
            raise UserError(
                f"class_names {list(self.names)[:8]} must be names, at least one, each of them once"
            )
        number = len(self.names)
        object.__setattr__(self, "ids", tuple(self.ids) or tuple(range(number)))
        colours = tuple(tuple(one) for one in self.colours) or distinct_colours(number)
        object.__setattr__(self, "colours", colours)
        for what, entries in (("ids", self.ids), ("colours", colours)):
            if len(entries) != number:
                raise UserError(f"{number} classes have {len(entries)} {what}; give each class one")
        if len(set(self.ids)) < number or not all(0 <= one < MOST_IDS for one in self.ids):
            raise UserError(
                f"ids {list(self.ids)[:8]} must differ and lie in 0 .. {MOST_IDS - 1:,}"
            )
        # An id that nobody named is none that a class has.
        free = (next(k for k in (255, MOST_IDS - 1, 0) if k not in self.ids),)
        object.__setattr__(self, "ignore", tuple(self.ignore) or free)
        both = set(self.ids) & set(self.ignore)
        if both:
            raise UserError(
                f"id {min(both)} is ignored and is that of {self.names[self.ids.index(min(both))]!r}; it can "
                "be one of both"
            )

    @classmethod
    def from_cfg(cls, cfg: Mapping[str, Any], num_classes: int, source: str) -> Self:
        """Reads what is known of a model's classes; numbers are the names where nothing is said.

        Args:
            cfg: ``classes`` or ``label_names``, ``category_ids``, ``colours``, ``ignore``.
            num_classes: Classes that the model answers for.
            source: Where it is from, for the message.

        Raises:
            UserError: If something is of another kind, or does not fit the model.
        """
        for name, hint in (
            ("classes", tuple[str, ...]),
            ("label_names", tuple[str, ...]),
            ("category_ids", tuple[int, ...]),
            ("colours", tuple[tuple[int, int, int], ...]),
            ("ignore", int | tuple[int, ...]),
        ):
            check_fits(cfg.get(name), hint | None, name)
        names = cfg.get("classes") or cfg.get("label_names") or range(num_classes)
        if len(names) != num_classes:
            raise UserError(
                f"the model of {source} answers for {num_classes} classes, but preprocessing.json names "
                f"{len(names)}; they do not belong together"
            )
        ignore = cfg.get("ignore")
        some: Sequence[int] = [ignore] if isinstance(ignore, int) else ignore or ()
        return cls(
            names=_once([str(name) for name in names]),
            ids=tuple(cfg.get("category_ids") or ()),
            colours=tuple(cfg.get("colours") or ()),
            ignore=tuple(some),
        )

    def __len__(self) -> int:
        return len(self.names)

    def as_dict(self) -> dict[str, Any]:
        """Returns what ``from_cfg`` reads, for JSON."""
        return {
            "classes": list(self.names),
            "category_ids": list(self.ids),
            "colours": [list(one) for one in self.colours],
            "ignore": list(self.ignore),
        }

    def mask(self, labels: np.ndarray) -> Image.Image:
        """Returns a mask of the ids of classes: a palette picture, or a grey one of 16 bits if ids need them.

        Args:
            labels: The class of each pixel by its place, (H, W); -1 becomes the first of ``ignore``.
        """
        ids = np.array([*self.ids, self.ignore[0]])[labels]
        if ids.max(initial=0) > 255 or max(self.ids) > 255:
            return Image.fromarray(ids.astype(np.uint16))
        image = Image.fromarray(ids.astype(np.uint8)).convert("P")
        palette = np.zeros((256, 3), np.uint8)
        palette[list(self.ids)] = self.colours
        image.putpalette(palette.tobytes())
        return image


def distinct_colours(number: int) -> tuple[Colour, ...]:
    """Returns colours of which those that follow each other are far apart."""
    found = []
    for place in range(number):
        # Steps of the golden ratio spread hues evenly however many there are.
        hue = place * 0.6180339887 % 1
        rgb = colorsys.hsv_to_rgb(hue, *_LEVELS[place % len(_LEVELS)])
        found.append(tuple(round(255 * part) for part in rgb))
    return tuple(found)


def _once(names: Sequence[str]) -> tuple[str, ...]:
    """Returns names with the number of the class behind those that stand there twice."""
    return tuple(
        f"{name} {place}" if names.count(name) > 1 else name for place, name in enumerate(names)
    )
