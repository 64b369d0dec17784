"""Decodes many small pictures into one array, once."""

import numpy as np
import torch
from PIL import Image

from headway.core.errors import UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.arrays import LabelledArrays
from headway.vision.data.class_folders import Pictures
from headway.vision.data.reading import ImageError, read_image


def decode(
    pictures: Pictures, *, size: int, channels: int, invalid: InvalidItems
) -> LabelledArrays:
    """Reads all pictures, squashed to squares where they are not of the right size.

    Args:
        pictures: Class folders.
        size: Side of the result in pixels.
        channels: 3, or 1 for grey.
        invalid: Takes the broken ones.
    """
    images = np.empty((len(pictures), size, size, channels), np.uint8)
    keep = []
    wanted = dict(zip(pictures.names, range(len(pictures)), strict=True))
    for name, data in pictures.source.stream():
        index = wanted.get(name)
        if index is None:
            continue
        try:
            picture = read_image(data, pictures.full_name(index), "RGB" if channels == 3 else "L")
        except ImageError as error:
            invalid.add(error)
            continue
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        images[index] = np.asarray(picture).reshape(size, size, channels)
        keep.append(index)
    if not keep:
        raise UserError(f"{pictures.source.path} holds no picture that can be read")
    chosen = np.sort(np.asarray(keep, dtype=np.int64))
    left = pictures.take(chosen)
    return LabelledArrays(
        images=torch.from_numpy(images[chosen]).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(left.labels),
        classes=pictures.classes,
        skipped=tuple((error.name, error.reason) for error in invalid.errors),
    )
