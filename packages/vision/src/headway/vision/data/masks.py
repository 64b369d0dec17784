"""Pictures with masks that fit them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from headway.core.errors import InputError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.mask_layouts import Pair
from headway.vision.data.mask_reading import IGNORED, MaskError, MaskReader
from headway.vision.data.reading import read_image
from headway.vision.data.sources import read_file


class MaskedPicture(NamedTuple):
    """A picture and where its mask lies.

    Args:
        picture: The picture.
        mask: Its mask.
        size: Height and width of both.
    """

    picture: Path
    mask: Path
    size: tuple[int, int]


def checked_pairs(
    pairs: Iterable[Pair], reader: MaskReader, invalid: InvalidItems
) -> tuple[list[MaskedPicture], np.ndarray]:
    """Returns the pictures that have a mask that fits, and the pixels of each class; each file is read once.

    Args:
        pairs: What lies in a folder.
        reader: Reads masks.
        invalid: Takes the others.
    """
    found, pixels = [], np.zeros(len(reader.classes), np.int64)
    for pair in pairs:
        try:
            picture, labels = checked(pair, reader)
        except InputError as error:
            invalid.add(error)
        else:
            found.append(picture)
            pixels += np.bincount(labels[labels != IGNORED], minlength=len(pixels))
    return found, pixels


def checked(pair: Pair, reader: MaskReader) -> tuple[MaskedPicture, np.ndarray]:
    """Reads a picture and its mask; returns the labels of its pixels, too.

    Raises:
        ImageError: If the picture is broken; a ``MaskError`` if the mask is, is missing or differs in size.
    """
    if pair.mask is None:
        raise MaskError(str(pair.picture), f"it has no mask, such as {pair.wanted}", "missing mask")
    labels = reader.read(pair.mask)
    image = read_image(read_file(pair.picture), str(pair.picture))
    if labels.shape != (image.height, image.width):
        size = f"{labels.shape[1]}x{labels.shape[0]}"
        reason = f"it is {size}, but its picture is {image.width}x{image.height}"
        reason += "; a mask has a pixel for each of its picture's"
        raise MaskError(str(pair.mask), reason, "size differs")
    return MaskedPicture(pair.picture, pair.mask, (image.height, image.width)), labels
