"""Masks of ids or colours as the places of classes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from headway.core.errors import UserError
from headway.core.reading import check_file
from headway.vision.data.class_files import NamedClass, read_class_file
from headway.vision.data.mask_classes import MOST_IDS, Colour, MaskClasses
from headway.vision.data.reading import ImageError

IGNORED = -1
"""Label of pixels that are neither learned nor counted."""


class MaskError(ImageError):
    """A mask that cannot be used.

    Args:
        name: Of the file.
        reason: In words.
        fault: ``missing mask``, ``unreadable mask``, ``unknown id`` or ``size differs``.
    """

    def __init__(self, name: str, reason: str, fault: str = "unreadable mask") -> None:
        super().__init__(name, reason)
        self.fault = fault

    def __reduce__(self) -> tuple[type["MaskError"], tuple[str, str, str]]:  # pyright: ignore
        return type(self), (self.name, self.reason, self.fault)


_GREY, _SHOWN = ("L", "P", "1", "I", "I;16", "I;16B"), 5


class MaskReader:
    """Knows which class an id or a colour of a mask is.

    Args:
        classes: Names, ids and colours.
        coloured: Whether the colours are those of masks; otherwise masks of colours are refused.
        ignored_colours: Colours of pixels that are neither learned nor counted.
    """

    def __init__(
        self,
        classes: MaskClasses,
        *,
        coloured: bool = False,
        ignored_colours: Sequence[Colour] = (),
    ) -> None:
        self.classes, self.coloured = classes, coloured
        self.ignored_colours = tuple(ignored_colours)

    def read(self, path: Path) -> np.ndarray:
        """Returns the place of the class of each pixel, ``IGNORED`` where none counts, (H, W) int16.

        Raises:
            MaskError: If the file is broken, or a pixel has an id or colour that no class has.
        """
        values = read_values(path)
        by_colour = values.ndim == 3
        if by_colour and not self.coloured:
            raise MaskError(
                str(path),
                "its pixels are colours and not ids; name the file that says which class a colour is "
                "(class_names: a text of `r g b name` or a table of name, r, g, b)",
                "unknown id",
            )
        if by_colour:
            values = values.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        found, inverse = np.unique(values, return_inverse=True)
        known = self._of_colours if by_colour else self._of_ids
        places = [known.get(int(one)) for one in found]
        if None in places:
            self._refuse(path, values, found, places, by_colour)
        return np.array(places, np.int16)[inverse.reshape(values.shape)]

    @cached_property
    def _of_ids(self) -> Mapping[int, int]:
        ids = {one: place for place, one in enumerate(self.classes.ids)}
        return {**dict.fromkeys(self.classes.ignore, IGNORED), **ids}

    @cached_property
    def _of_colours(self) -> Mapping[int, int]:
        colours = {_packed(one): place for place, one in enumerate(self.classes.colours)}
        return {**{_packed(one): IGNORED for one in self.ignored_colours}, **colours}

    def _refuse(
        self,
        path: Path,
        values: np.ndarray,
        found: np.ndarray,
        places: Sequence[int | None],
        by_colour: bool,
    ) -> None:
        wrong = [int(one) for one, place in zip(found, places, strict=True) if place is None]
        share = np.isin(values, wrong).mean()
        # Not rounded to all or nothing.
        shown = f"{share:.2%}" if share >= 0.0001 else "under 0.01%"
        if by_colour:
            names = ", ".join(str(_unpacked(one)) for one in wrong[:_SHOWN])
            what, known = f"the colours {names}", "of none of the classes"
        else:
            ids = sorted(self.classes.ids)
            what, known = f"the ids {wrong[:_SHOWN]}", f"classes go from {ids[0]} to {ids[-1]}"
            if ids != list(range(ids[0], ids[-1] + 1)):
                known = (
                    f"classes have {', '.join(map(str, ids[:8]))}{' ...' if len(ids) > 8 else ''}"
                )
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise MaskError(
            str(path),
            f"it has {what}{more} ({shown} of its pixels); {known}, and "
            f"{', '.join(map(str, self.classes.ignore))} is ignored: mend the mask, name the class in "
            "class_names, or add the id to ignore",
            "unknown id",
        )


def read_values(path: Path) -> np.ndarray:
    """Returns the ids of a mask, (H, W), or its colours, (H, W, 3) uint8; nothing is scaled.

    Raises:
        MaskError: If the file is broken, a JPEG, or has another mode.
    """
    name = str(path)
    try:
        check_file(path, "mask")
        with Image.open(path) as image:
            if image.format == "JPEG":
                raise MaskError(
                    name, "it is a JPEG, which changes ids and colours; write masks as PNG"
                )
            if image.mode in _GREY:
                ids = np.array(image)
                if ids.min() < 0 or ids.max() >= MOST_IDS:
                    reason = f"it has ids from {ids.min()} to {ids.max()}; they lie in 0 .. {MOST_IDS - 1:,}"
                    raise MaskError(name, reason)
                return ids.astype(np.int32)
            if image.mode in ("RGB", "RGBA"):
                return np.array(image.convert("RGB"))
            if image.mode == "LA":
                return np.array(image.getchannel("L")).astype(np.int32)
            reason = f"a mask is a grey, palette or RGB picture, its mode is {image.mode}"
            raise MaskError(name, reason)
    except MaskError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, UserError):
        raise MaskError(name, "not a mask that Pillow can read") from None


def mask_reader(
    class_names: Sequence[str] | str | Path,
    ignore: int | str | Sequence[int | str] | None = None,
) -> MaskReader:
    """Makes a reader of what a user says of the classes.

    Args:
        class_names: Names in the order of the ids from 0 on, or a file (``read_class_file``).
        ignore: Ids, or names of classes of the file, of pixels that do not count; 255 if None, where no class
            has it.

    Raises:
        UserError: If the file cannot be read, or names, ids and colours do not fit each other.
    """
    table = (
        read_class_file(Path(class_names).expanduser())
        if isinstance(class_names, str | Path)
        else [NamedClass(str(name)) for name in class_names]
    )
    rows = [
        one if one.id is not None else one._replace(id=place) for place, one in enumerate(table)
    ]
    given = [] if ignore is None else [ignore] if isinstance(ignore, int | str) else list(ignore)
    names = {one.name for one in rows}
    unknown = [one for one in given if isinstance(one, str) and one not in names]
    if unknown:
        raise UserError(
            f"ignore names {unknown[0]!r}, which is no class; classes are {', '.join(sorted(names))[:200]}"
        )
    left_out = [one for one in rows if one.name in given or one.id in given]
    kept = [one for one in rows if one not in left_out]
    coloured = all(one.colour is not None for one in rows)
    ids = tuple(one.id for one in kept if one.id is not None)
    ignored = {one for one in given if isinstance(one, int)} | {one.id for one in left_out}
    classes = MaskClasses(
        names=tuple(one.name for one in kept),
        ids=ids,
        colours=tuple(one.colour for one in kept if one.colour is not None) if coloured else (),
        ignore=tuple(sorted(one for one in ignored if one is not None)),
    )
    if coloured and len(set(classes.colours)) < len(classes):
        raise UserError(f"two classes of {class_names} have one colour; give each its own")
    colours = tuple(one.colour for one in left_out if one.colour is not None)
    return MaskReader(classes, coloured=coloured, ignored_colours=colours)


def _packed(colour: Colour) -> int:
    return colour[0] * 65536 + colour[1] * 256 + colour[2]


def _unpacked(value: int) -> Colour:
    return value // 65536, value // 256 % 256, value % 256
