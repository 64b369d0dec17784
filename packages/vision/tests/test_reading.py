import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from headway.vision.data.deep import bits_of
from headway.vision.data.reading import ImageError, looks_whole, read_image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ramp(mode: str = "L") -> Image.Image:
    values = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (16, 1))
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"),
        ("RGB", "BMP"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("CMYK", "TIFF"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, kind: str) -> None:
    image = read_image(encoded(ramp(mode), kind), "x")
    assert image.mode == "RGB"
    tolerance = 255 if mode == "1" else 8
    assert np.abs(np.asarray(image).astype(int)[..., 0] - np.asarray(ramp())).max() <= tolerance


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(encoded(Image.fromarray(values)), "x", "L")
    assert np.abs(np.asarray(image) - values / 257).max() <= 0.51


def test_transparent_pixels_are_white() -> None:
    values = np.zeros((4, 4, 4), np.uint8)
    values[:2, :, 3] = 255
    image = np.asarray(read_image(encoded(Image.fromarray(values)), "x"))
    assert (image[:2] == 0).all()
    assert (image[2:] == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    # What the camera stored, so that the orientation brings the upright picture back.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image(encoded(stored, exif=exif), "x", "L")
    assert np.array_equal(np.asarray(read), np.asarray(upright))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"no picture", "not a picture"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "broken"),
        (encoded(Image.effect_noise((64, 64), 90))[:900], "broken"),
        (encoded(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF"), "floats"),
    ],
)
def test_a_bad_file_gives_one_line_with_its_name(data: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        read_image(data, "folder/picture.jpg")
    assert str(caught.value).startswith("folder/picture.jpg: ")
    assert "\n" not in str(caught.value)


def test_truncated_files_are_suspected_and_whole_ones_are_not() -> None:
    for kind in ("JPEG", "PNG"):
        whole = encoded(Image.effect_noise((64, 64), 90), kind)
        assert looks_whole(whole[:64], whole[-64:])
        cut = whole[: len(whole) // 2]
        assert not looks_whole(cut[:64], cut[-64:])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_values_are_scaled_from_the_fewest_bits_that_hold_them(bits: int, kind: str) -> None:
    values = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(encoded(Image.fromarray(values), kind), "x", "L")
    assert np.abs(np.asarray(image) - values * (255 / (2**bits - 1))).max() <= 0.51


def deep_png(values: np.ndarray, exif: bytes = b"") -> bytes:
    """Writes a PNG of 16 bits with 2 (grey, alpha), 3 or 4 channels, which Pillow cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    found = [chunk(b"IHDR", head), *([chunk(b"eXIf", exif)] if exif else [])]
    found += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(found)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_colours_of_sixteen_bits_are_read_whole(bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 7, 3))
    values[0, 0, 0] = 2**bits - 1
    got = np.asarray(read_image(deep_png(values), "x")).astype(float)
    assert np.abs(got - values * (255 / (2**bits - 1))).max() <= 0.51
    dark = values // 8
    stored = np.asarray(read_image(deep_png(dark), "x", bits=bits)).astype(float)
    assert np.abs(stored - dark * (255 / (2**bits - 1))).max() <= 0.51
    assert bits_of([deep_png(dark), deep_png(values), b"no picture"]) == bits


def test_deep_colours_are_turned_and_laid_on_white() -> None:
    values = np.zeros((2, 3, 4), np.int64)
    values[..., 3] = 65535
    values[0, 0] = 0
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_image(deep_png(values, exif.tobytes()[6:]), "x")
    assert read.size == (2, 3)
    assert np.asarray(read)[..., 0].tolist() == [[0, 255], [0, 0], [0, 0]]
    with pytest.raises(ImageError, match="broken"):
        read_image(deep_png(values)[:55], "x")


def test_pictures_over_pillows_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("L", (30, 40)))
    for limit in (1000, 500):  # Pillow itself only warns at the first
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageError, match=r"too large .*1200 pixels.* limit of 1000"):
            read_image(data, "x")
