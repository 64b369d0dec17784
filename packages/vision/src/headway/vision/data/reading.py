"""Reads one picture from bytes, whatever its colour mode, and says in one line what is wrong with it."""

import io
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from headway.core.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


class ImageError(InputError):
    """A file that should be a picture is not, or is broken."""


def read_image(data: bytes, name: str, mode: Literal["RGB", "L"] = "RGB") -> Image.Image:
    """Decodes a picture, upright and in the mode asked for.

    The EXIF orientation is applied; transparent pixels are laid on white; 16-bit values are scaled to
    8 bits (not clipped, as a plain ``convert`` does).

    Args:
        data: The file's content.
        name: The file's name, for the message.
        mode: Colours of the result.

    Raises:
        ImageError: If the file is empty, no picture, truncated or of an unknown mode.
    """
    if not data:
        raise ImageError(name, "the file is empty")
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Image.UnidentifiedImageError:
        raise ImageError(name, "not a picture that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"too large to be decoded safely ({error})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(name, f"broken picture ({error})") from None
    return _upright(_eight_bit(image, name)).convert(mode)


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) or image


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    if image.mode == "F":
        raise ImageError(name, "a picture of floats has no known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        # Pillow opens some 16-bit files in its 32-bit mode.
        if image.mode != "I" or values.max(initial=0) > 255:
            values = (values + 128) // 257
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(ground, layered)
        flat.info.update({k: v for k, v in image.info.items() if k == "exif"})
        return flat
    return image


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
