"""Pictures whose values have over 8 bits."""

import io
import logging
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headway.core.errors import UserError

BITS = (8, 10, 12, 14, 16)
"""Bits that a value may have."""

SUFFIXES = (".png", ".tif", ".tiff", ".pgm")
LOOKED_AT = 64
"""So many pictures of a data set, evenly spread, tell how many bits its values have."""

log = logging.getLogger(__name__)
_PNG = b"\x89PNG\r\n\x1a\n"
_WITH_COLOUR_OR_ALPHA = (2, 4, 6)


def to_eight_bits(values: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Returns values of 8 bits.

    Args:
        values: Of any number of bits.
        bits: Least bits that they are taken to have; more where a value needs more.
    """
    top = 2 ** max(bits, fewest_bits(int(values.max(initial=0)))) - 1
    return ((values.astype(np.int64).clip(0, top) * 255 + top // 2) // top).astype(np.uint8)


def check_bits(bits: int) -> None:
    """Raises a UserError if values cannot have so many bits."""
    if bits not in BITS:
        raise UserError(f"bits {bits} is none of {', '.join(map(str, BITS))}")


def fewest_bits(largest: int) -> int:
    """Returns the fewest bits of ``BITS`` that hold a value."""
    return next((bits for bits in BITS if largest < 2**bits), BITS[-1])


def deep_colours(data: bytes, bits: int) -> Image.Image | None:
    """Decodes a PNG with colours, or transparency, of 16 bits, which Pillow cuts to 8; else None.

    Args:
        data: The file's content.
        bits: Least bits that colours are scaled from.
    """
    values = _deep_png(data)
    if values is None:
        return None
    alpha = values.shape[2] in (2, 4)
    colours = to_eight_bits(values[..., :-1] if alpha else values, bits)
    if alpha:
        colours = np.concatenate([colours, to_eight_bits(values[..., -1:], 16)], axis=2)
    return Image.fromarray(colours)


def bits_of(files: Iterable[bytes]) -> int:
    """Returns the fewest bits that hold the values of all pictures of over 8 bits; 8 if there are none.

    Args:
        files: The files' contents; those that cannot be read say nothing.
    """
    found = 8
    for data in files:
        try:
            found = max(found, fewest_bits(_largest(data)))
        except Exception:  # whoever reads the picture says why
            continue
    return found


def _largest(data: bytes) -> int:
    values = _deep_png(data)
    if values is not None:
        return int((values[..., :-1] if values.shape[2] in (2, 4) else values).max(initial=0))
    with Image.open(io.BytesIO(data)) as image:
        return int(np.asarray(image).max(initial=0)) if image.mode.startswith("I") else 0


def _deep_png(data: bytes) -> NDArray[np.uint16] | None:
    """Returns the values (H, W, C) of a PNG of 16 bits that is not plain grey."""
    # Bits and kind of colour stand at fixed places of its first chunk.
    if not data.startswith(_PNG) or data[24:25] != b"\x10" or data[25] not in _WITH_COLOUR_OR_ALPHA:
        return None
    with warnings.catch_warnings():
        # It is to leave torchvision one day; until then it is the one decoder here that keeps 16 bits.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            from torchvision.io import ImageReadMode, decode_png
        except ImportError:
            log.warning("colours of 16 bits are cut to 8: this torchvision has no decoder of PNG")
            return None
        file = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return decode_png(file, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def spread(names: Sequence[str]) -> list[str]:
    """Returns the names that are looked at: evenly spread over those that may have over 8 bits."""
    able = [name for name in names if name.lower().endswith(SUFFIXES)]
    return able[:: max(1, len(able) // LOOKED_AT)][:LOOKED_AT]
