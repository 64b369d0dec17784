"""Data sets of LeRobot, whole and damaged."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.core.errors import InputError
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
        ({"observation.state": None}, "has no numbers to see; cameras are not read yet"),
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
