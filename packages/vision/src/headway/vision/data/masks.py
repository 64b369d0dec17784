"""Pictures and masks of the same names in two folders."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.reading import EXTENSIONS, ImageError, read_image


class MaskedPicture(NamedTuple):
    """A picture and where its mask lies."""

    picture: Path
    mask: Path


def read_mask(path: Path, classes: int, ignore: int) -> np.ndarray:
    """Returns the id of each pixel, (H, W) uint8, of a grey or palette PNG.

    Raises:
        ImageError: If the file is broken, has another mode or ids beyond the classes.
    """
    name = str(path)
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                reason = f"a mask is a grey or palette PNG of ids, its mode is {image.mode}"
                raise ImageError(name, reason)
            ids = np.array(image)
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError):
        raise ImageError(name, "not a mask that Pillow can read") from None
    wrong = np.unique(ids[(ids >= classes) & (ids != ignore)])
    if wrong.size:
        raise ImageError(
            name,
            f"it has the ids {wrong.tolist()[:5]}; classes go from 0 to {classes - 1}, "
            f"and {ignore} is ignored",
        )
    return ids


def find_masks(
    pictures: Path, masks: Path, *, classes: int, ignore: int, invalid: InvalidItems
) -> list[MaskedPicture]:
    """Returns the pictures of a folder that have a mask that fits, by name; each file is read once.

    Raises:
        UserError: If a folder is missing or nothing in it can be used.
    """
    for folder in (pictures, masks):
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; give one of pictures and one of masks")
    found = []
    for picture in sorted(p for p in pictures.iterdir() if p.suffix.lower() in EXTENSIONS):
        pair = MaskedPicture(picture, masks / f"{picture.stem}.png")
        try:
            if not pair.mask.is_file():
                raise ImageError(str(picture), f"it has no mask {pair.mask}")
            ids = read_mask(pair.mask, classes, ignore)
            image = read_image(picture.read_bytes(), str(picture))
            if ids.shape != (image.height, image.width):
                size = f"{ids.shape[1]}x{ids.shape[0]}"
                reason = f"it is {size}, but its picture is {image.width}x{image.height}"
                raise ImageError(str(pair.mask), reason)
        except InputError as error:
            invalid.add(error)
        else:
            found.append(pair)
    if not found:
        raise UserError(f"{pictures} has no picture with a mask in {masks} that can be used")
    return found
