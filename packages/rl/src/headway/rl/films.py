"""Films of environments, written while they are played."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError

ENDINGS = (".mp4", ".gif")
BORDER = 4
# Seen beside dark and bright environments.
GREY = 110
# A palette for each frame: one for all would keep every frame until the end.
GIF = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"


def check_film(path: Path) -> None:
    """Raises before anything is played if a film cannot be written.

    Raises:
        UserError: If the ending is another one, or what writes films is not installed.
    """
    if path.suffix not in ENDINGS:
        raise UserError(f"--video {path} must end in {' or '.join(ENDINGS)}")
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        raise UserError('films need imageio: pip install "headway[rl]"') from None


def tile(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Returns pictures of environments side by side in rows, about as wide as high, with borders between."""
    columns = int(np.ceil(np.sqrt(len(frames))))
    height, width = frames[0].shape[:2]
    rows = -(-len(frames) // columns)
    shape = (rows * (height + BORDER) + BORDER, columns * (width + BORDER) + BORDER, 3)
    # Encoders want even sizes.
    canvas = np.full((shape[0] + shape[0] % 2, shape[1] + shape[1] % 2, 3), GREY, np.uint8)
    for place, frame in enumerate(frames):
        top = BORDER + place // columns * (height + BORDER)
        left = BORDER + place % columns * (width + BORDER)
        canvas[top : top + height, left : left + width] = frame
    return canvas


class Film:
    """Writes frames to ``.mp4`` or ``.gif`` as they come; the file is whole or absent.

    Args:
        path: The file.
        fps: Frames of a second.
    """

    def __init__(self, path: Path, *, fps: int) -> None:
        check_film(path)
        self.path, self.fps = path, fps
        self.frames = 0
        self._part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._writer: Any = None

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Writes a frame, (height, width, 3); all have the size of the first."""
        if self._writer is None:
            self._writer = self._open(frame)
        self._writer.send(np.ascontiguousarray(frame))
        self.frames += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None and self.frames:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def _open(self, frame: NDArray[np.uint8]) -> Any:
        import imageio_ffmpeg

        size = (frame.shape[1], frame.shape[0])
        options: dict[str, Any] = {"fps": self.fps, "macro_block_size": 2}
        if self.path.suffix == ".gif":
            filters = ["-filter_complex", GIF]
            options |= {
                "codec": "gif", "pix_fmt_out": "pal8", "quality": None, "output_params": filters
            }  # fmt: skip
        self._part.parent.mkdir(parents=True, exist_ok=True)
        writer = imageio_ffmpeg.write_frames(str(self._part), size, **options)
        writer.send(None)
        return writer
