"""Films: tiles with borders, frames that are written as they come, files that are whole or absent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headway.core.errors import UserError
from headway.rl import films
from headway.rl.environments import check_drawn
from headway.rl.films import BORDER, GREY, Film, tile


def frames(number: int, height: int = 9, width: int = 7) -> list[np.ndarray]:
    return [np.full((height, width, 3), 20 * one, np.uint8) for one in range(number)]


def test_tiles_have_borders_and_even_sizes() -> None:
    made = tile(frames(3))
    # Two columns and two rows of 7 x 9, three borders each way.
    assert made.shape == (30, 26, 3)
    assert (made[:BORDER] == GREY).all()
    assert (made[:, BORDER + 7 : 2 * BORDER + 7] == GREY).all()
    for place, (top, left) in enumerate(((4, 4), (4, 15), (17, 4))):
        assert (made[top : top + 9, left : left + 7] == 20 * place).all()
    assert (made[17:26, 15:22] == GREY).all()
    assert all(side % 2 == 0 for side in tile(frames(1, 8, 10)).shape[:2])


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_a_film_is_written_frame_by_frame(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"film{ending}"
    with Film(path, fps=10) as film:
        for frame in frames(12, 32, 48):
            film.add(frame)
        assert not path.exists()  # not before it is whole
    assert path.stat().st_size > 200
    assert list(tmp_path.iterdir()) == [path]
    if ending == ".gif":
        with Image.open(path) as picture:
            assert picture.size == (48, 32)
            assert picture.n_frames == 12
            picture.seek(5)
            assert abs(np.asarray(picture.convert("RGB")).mean() - 100) < 6


def test_a_film_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    old = tmp_path / "film.gif"
    old.write_bytes(b"earlier")

    def break_off() -> None:
        with Film(old, fps=10) as film:
            film.add(frames(1, 32, 48)[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert old.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [old]
    with pytest.raises(UserError, match=r"must end in \.mp4 or \.gif"):
        Film(tmp_path / "film.avi", fps=10)
    assert films.ENDINGS == (".mp4", ".gif")


def test_what_cannot_be_drawn_is_said_before_anything_is_played() -> None:
    with pytest.raises(UserError, match="headway/Bandit-v0 cannot be (drawn|made)"):
        check_drawn("headway/Bandit-v0")
    check_drawn("headway/KeyToDoor-v0")
