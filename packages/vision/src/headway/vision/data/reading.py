"""Reads one picture from bytes, whatever its colour mode, and says in one line what is wrong with it."""

import io
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import Image, ImageOps

from headway.core.errors import InputError
from headway.core.reading import check_file
from headway.vision.data.deep import deep_colours, to_eight_bits

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258
log = logging.getLogger(__name__)


class ImageError(InputError):
    """A file that should be a picture is not, or is broken."""


def read_image(
    data: bytes,
    name: str,
    mode: Literal["RGB", "L"] = "RGB",
    *,
    size: tuple[int, int] | None = None,
    bits: int = 8,
) -> Image.Image:
    """Decodes a picture, upright and in the mode asked for.

    The EXIF orientation is applied; transparent pixels are laid on white. Values of over 8 bits are scaled to
    8 (not clipped, as a plain ``convert`` does): from 10, 12, 14 or 16 bits, the fewest that hold the largest
    value of the picture, since cameras and scanners store 12 bits in files of 16, but never from fewer than
    ``bits``, which a data set finds out once (``bits_of``) and a model stores: a dark picture stays dark
    beside the others of its camera.

    Args:
        data: The file's content.
        name: The file's name, for the message.
        mode: Colours of the result.
        size: Height and width that an annotation is about. If only the picture as it is stored has them, it
            is not turned.
        bits: Least bits that values of over 8 bits are scaled from.

    Raises:
        ImageError: If the file is empty, no picture, truncated, of an unknown mode, of more pixels than
            Pillow's limit, or has another size.
    """
    if not data:
        raise ImageError(name, "the file is empty")
    with _errors(name), _opened(io.BytesIO(data)) as image:
        image.load()
        whole = deep_colours(data, bits) or image
        if "exif" in image.info:
            whole.info["exif"] = image.info["exif"]
        stored = (image.height, image.width)
        upright = ImageOps.exif_transpose(whole) or whole
        if size is not None:
            check_size(name, size, stored, (upright.height, upright.width))
            if size != (upright.height, upright.width):
                upright = whole
        return _eight_bit(upright, name, bits).convert(mode)


def image_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns height and width of a file as it is stored and upright; decodes nothing.

    Raises:
        ImageError: If it is missing or no picture.
    """
    name = str(path)
    try:
        check_file(path, "picture")
    except InputError as error:
        raise ImageError(name, error.reason) from None
    with _errors(name), open(path, "rb") as file, _opened(file) as image:
        size = (image.height, image.width)
        # Not a subclass's: that of PNG decodes the picture.
        turned = Image.Image.getexif(image).get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return size, (size[1], size[0]) if turned else size


def check_size(
    name: str, size: tuple[int, int], stored: tuple[int, int], upright: tuple[int, int]
) -> None:
    """Raises an ImageError if an annotation's height and width are not those of its picture."""
    if size not in (stored, upright):
        raise ImageError(
            name,
            f"it is {upright[1]}x{upright[0]}, but its annotation says {size[1]}x{size[0]}",
        )


def _opened(file: IO[bytes]) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns at its limit and refuses at twice of it.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(file)


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turns what Pillow raises into one line."""
    try:
        yield
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(name, "not a picture that Pillow can read") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(name, f"too large to be decoded safely ({error})") from None
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error) as error:
        raise ImageError(name, f"broken picture ({error})") from None


def _eight_bit(image: Image.Image, name: str, bits: int) -> Image.Image:
    if image.mode == "F":
        raise ImageError(name, "a picture of floats has no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(to_eight_bits(np.asarray(image), bits))
    if image.format == "TIFF" and max(_tiff_bits(image), default=8) > 8:
        log.warning(
            "%s has colours of 16 bits, of which 8 are read; save it as PNG to keep them", name
        )
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, layered)
    return image


def _tiff_bits(image: Any) -> tuple[int, ...]:
    return tuple(image.tag_v2.get(_BITS_PER_SAMPLE, ()))


def looks_whole(head: bytes, tail: bytes) -> bool:
    """Tells from a file's first and last bytes whether it is surely complete; False is a suspicion.

    A JPEG ends with its end-of-image marker and a PNG with its IEND chunk, so that most truncated files
    of a large data set are found without decoding any.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" in tail
    return False
