"""Data sets of LeRobot, whole and damaged."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import InputError, UserError
from headway.core.testing.damage import damaged, damaged_json, refusals
from headway.rl.data import LeRobotData
from headway.rl.spaces import Box, Dict

pyarrow = pytest.importorskip("pyarrow")


def feature(dtype: str, *shape: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "names": None}


def written(folder: Path, lengths: tuple[int, ...] = (4, 6, 3), *, several: bool = False) -> Path:
    """A data set as version 3 lays it out: several episodes in one table."""
    from pyarrow import parquet

    drawn, total = np.random.default_rng(0), sum(lengths)
    features = {
        "observation.state": feature("float32", 2),
        "observation.image": feature("video", 3, 96, 96),
        "action": feature("float32", 3),
        "next.reward": feature("float32", 1),
        "next.done": feature("bool", 1),
        "episode_index": feature("int64", 1),
        "frame_index": feature("int64", 1),
    }
    last = np.isin(np.arange(total), np.cumsum(lengths) - 1)
    columns: dict[str, Any] = {
        "observation.state": list(drawn.normal(size=(total, 2)).astype(np.float32)),
        "action": list(drawn.normal(size=(total, 3)).astype(np.float32)),
        "next.reward": drawn.normal(size=total).astype(np.float32),
        "next.done": last,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "frame_index": np.concatenate([np.arange(n) for n in lengths]),
    }
    if several:
        features["observation.gripper"] = feature("float32", 1)
        columns["observation.gripper"] = list(np.ones((total, 1), np.float32))
    (folder / "meta").mkdir(parents=True)
    info = {"codebase_version": "v3.0", "fps": 10, "features": features}
    (folder / "meta/info.json").write_text(json.dumps(info))
    table = folder / "data/chunk-000/file-000.parquet"
    table.parent.mkdir(parents=True)
    parquet.write_table(pyarrow.table(columns), table)
    return folder


def test_episodes_are_cut_out_of_the_tables(tmp_path: Path) -> None:
    data = LeRobotData(path=str(written(tmp_path)), val=1, context_length=4)
    data.setup()
    found = sorted((one for part in data.parts.values() for one in part), key=len)
    assert [len(one) for one in found] == [3, 4, 6]
    assert data.spaces.observation == Box(shape=(2,))
    assert found[0].actions.shape == (3, 3)
    assert all(one.terminated for one in found)
    assert data.train_set[0]["observations"].shape == (4, 2)
    same = LeRobotData(path=str(tmp_path / "meta/info.json"), val=1)
    assert [len(one) for one in same.load()] == [4, 6, 3]


def test_several_observations_have_their_names(tmp_path: Path) -> None:
    data = LeRobotData(path=str(written(tmp_path, several=True)), val=1)
    data.setup()
    assert isinstance(data.spaces.observation, Dict)
    assert set(data.spaces.observation.parts) == {"state", "gripper"}
    assert set(data.parts["train"][0].observations) == {"state", "gripper"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path)
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    for change, said in (
        ({"action": None}, "has no action"),
        ({"observation.state": None}, "has no numbers to see; set cameras"),
        ({"observation.force": feature("float32", 6)}, "has no column observation.force"),
        ({"action": feature("float32", 5)}, r"actions of \(3,\), the space has \(5,\)"),
        ({"action": {"shape": [3]}}, "says no dtype of the feature action"),
    ):
        features = {k: v for k, v in {**info["features"], **change}.items() if v is not None}
        file.write_text(json.dumps({**info, "features": features}))
        with pytest.raises(InputError, match=said):
            LeRobotData(path=str(folder), val=1).setup()
    file.write_text(json.dumps(info))
    (folder / "data/chunk-000/file-000.parquet").unlink()
    with pytest.raises(InputError, match="has no tables"):
        LeRobotData(path=str(folder), val=1).setup()


def with_pictures(folder: Path, lengths: tuple[int, ...] = (4, 6, 3)) -> np.ndarray:
    """The data set of ``written``, with pictures packed into its table in row groups of five."""
    from io import BytesIO

    from PIL import Image
    from pyarrow import parquet

    written(folder, lengths)
    pixels = np.random.default_rng(1).integers(256, size=(sum(lengths), 6, 8, 3)).astype(np.uint8)
    file = folder / "data/chunk-000/file-000.parquet"
    packed = []
    for number, one in enumerate(pixels):
        out = BytesIO()
        Image.fromarray(one).save(out, "png")
        packed.append({"bytes": out.getvalue(), "path": f"{number}.png"})
    # One lies beside the table.
    (folder / "images").mkdir()
    (folder / "images/2.png").write_bytes(packed[2]["bytes"])
    packed[2] = {"bytes": None, "path": "images/2.png"}
    table = parquet.read_table(file).append_column("observation.images.top", pyarrow.array(packed))
    parquet.write_table(table, file, row_group_size=5)
    change_features(folder, {"observation.images.top": feature("image", 6, 8, 3)})
    return pixels


def change_features(folder: Path, features: dict[str, Any], **more: Any) -> None:
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "features": {**info["features"], **features}, **more}))


def test_pictures_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    pixels = with_pictures(tmp_path)
    data = LeRobotData(path=str(tmp_path), val=1, cameras=["images.top"], context_length=4)
    episodes = data.load()
    assert data.spaces.observation.parts["images.top"].shape == (6, 8, 3)
    for episode, first in zip(episodes, (0, 4, 10), strict=True):
        seen = episode.observations["images.top"]
        assert not isinstance(seen, np.ndarray)
        assert np.array_equal(seen[:], pixels[first : first + len(episode)])
        assert np.array_equal(seen[1:3], pixels[first + 1 : first + 3])
    data.setup()
    assert data.train_set[0]["observations"]["images.top"].shape == (4, 6, 8, 3)
    assert "images.top" not in data.statistics().observations
    assert LeRobotData(path=str(tmp_path), val=1).given_spaces.observation == Box(shape=(2,))
    with pytest.raises(UserError, match=r"no camera 'images.left'; it has image, images.top"):
        LeRobotData(path=str(tmp_path), cameras=["images.left"]).setup()


def test_pictures_that_do_not_fit_or_lie_elsewhere_are_one_line(tmp_path: Path) -> None:
    from pyarrow import parquet

    with_pictures(tmp_path)
    data = LeRobotData(path=str(tmp_path), val=1, cameras=["images.top"])
    file = tmp_path / "data/chunk-000/file-000.parquet"
    table, name = parquet.read_table(file), "observation.images.top"
    rows = table.column(name).to_pylist()
    rows[0]["bytes"] = b"no picture"
    rows[1] = {"bytes": None, "path": "../secret.png"}
    place = table.schema.get_field_index(name)
    parquet.write_table(table.set_column(place, name, pyarrow.array(rows)), file, row_group_size=4)
    seen = data.load()[0].observations["images.top"]
    with pytest.raises(InputError, match=r"row 0: the picture cannot be read \(Unidentified"):
        seen[:1]
    with pytest.raises(InputError, match=r"row 1: the picture cannot be read .* lies outside"):
        seen[1:2]
    change_features(tmp_path, {name: feature("image", 6, 9, 3)})
    again = LeRobotData(path=str(tmp_path), val=1, cameras=["images.top"]).load()[1].observations
    with pytest.raises(InputError, match=r"has 6x8x3 numbers, info.json says 6x9x3"):
        again["images.top"][:1]


def test_films_need_a_reader_that_the_error_names(tmp_path: Path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="pip install av"):
        LeRobotData(path=str(written(tmp_path)), val=1, cameras=None).setup()


@pytest.mark.parametrize("version", [2, 3])
def test_films_show_each_step_its_frame(tmp_path: Path, version: int) -> None:
    """Three episodes in two shards, or one film each."""
    av = pytest.importorskip("av")
    from pyarrow import parquet

    lengths = (4, 6, 3)
    written(tmp_path, lengths)
    file = tmp_path / "data/chunk-000/file-000.parquet"
    table = parquet.read_table(file)
    times = np.concatenate([np.arange(n) / 10 for n in lengths]).astype(np.float32)
    parquet.write_table(table.append_column("timestamp", pyarrow.array(times)), file)
    camera = "observation.image"
    change_features(tmp_path, {camera: feature("video", 32, 48, 3)})
    shades = np.linspace(10, 240, sum(lengths)).astype(int)

    def film(place: str, shown) -> None:
        out = tmp_path / place
        out.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(out), "w") as made:
            stream = made.add_stream("mpeg4", rate=10)
            stream.width, stream.height = 48, 32
            for shade in shown:
                picture = np.full((32, 48, 3), shade, np.uint8)
                made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            made.mux(stream.encode())

    if version == 3:
        film(f"videos/{camera}/chunk-000/file-000.mp4", shades[:10])
        film(f"videos/{camera}/chunk-000/file-001.mp4", shades[10:])
        rows = {
            "episode_index": [0, 1, 2],
            f"videos/{camera}/chunk_index": [0, 0, 0],
            f"videos/{camera}/file_index": [0, 0, 1],
            f"videos/{camera}/from_timestamp": [0.0, 0.4, 0.0],
        }
        (tmp_path / "meta/episodes").mkdir()
        parquet.write_table(pyarrow.table(rows), tmp_path / "meta/episodes/file-000.parquet")
    else:
        pattern = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        change_features(tmp_path, {}, video_path=pattern)
        for number, shown in enumerate(np.split(shades, [4, 10])):
            film(pattern.format(episode_chunk=0, video_key=camera, episode_index=number), shown)
    data = LeRobotData(path=str(tmp_path), val=1, cameras=None)
    for episode, wanted in zip(data.load(), np.split(shades, [4, 10]), strict=True):
        seen = episode.observations["image"]
        assert np.abs(seen[:].mean(axis=(1, 2, 3)) - wanted).max() < 6
        assert abs(seen[2:3].mean() - wanted[2]) < 6


def test_only_one_line_escapes_damaged_files(tmp_path: Path) -> None:
    folder, drawn = written(tmp_path), random.Random(0)
    file, table = folder / "meta/info.json", folder / "data/chunk-000/file-000.parquet"
    info, rows = json.loads(file.read_text()), table.read_bytes()

    def use() -> None:
        in_json = drawn.random() < 0.5
        file.write_text(json.dumps(damaged_json(info, drawn) if in_json else info))
        table.write_bytes(rows if in_json else damaged(rows, drawn))
        LeRobotData(path=str(folder), val=1, on_invalid=drawn.choice(["raise", "skip"])).setup()

    assert len(refusals(use for _ in range(120))) > 20
