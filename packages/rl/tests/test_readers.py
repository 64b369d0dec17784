"""Files of D4RL and pickles of the decision transformer's authors, whole and damaged."""

import pickle
import random
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from headway.core.errors import InputError, UserError
from headway.core.testing.damage import damaged, refusals
from headway.rl.data import D4RLData, PickledTrajectories, minari
from headway.rl.data.minari import MinariData
from headway.rl.data.trajectory import Trajectory


def steps(lengths: list[int], ended: list[bool]) -> dict[str, np.ndarray]:
    """Columns as D4RL writes them: all episodes one behind the other."""
    drawn, total = np.random.default_rng(0), sum(lengths)
    last = np.cumsum(lengths) - 1
    terminals, timeouts = np.zeros(total, bool), np.zeros(total, bool)
    terminals[last[np.array(ended)]] = True
    timeouts[last[~np.array(ended)]] = True
    return {
        "observations": drawn.normal(size=(total, 3)).astype(np.float32),
        "actions": drawn.normal(size=(total, 2)).astype(np.float32),
        "rewards": drawn.normal(size=total).astype(np.float32),
        "terminals": terminals,
        "timeouts": timeouts,
    }


def d4rl(path: Path, columns: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        file["infos/qpos"] = np.zeros((len(columns["actions"]), 6))
        file["metadata/algorithm"] = "SAC"
    return path


def setup(data: Any) -> list[Trajectory]:
    data.setup()
    return [one for part in data.parts.values() for one in part]


def test_episodes_of_d4rl_end_where_they_ended_or_were_cut_off(tmp_path: Path) -> None:
    columns = steps([4, 6, 3], [True, False, True])
    path = d4rl(tmp_path / "hopper_medium-v2.hdf5", columns)
    found = sorted(setup(D4RLData(path=str(path), val=1)), key=len)
    assert [(len(one), one.terminated) for one in found] == [(3, True), (4, True), (6, False)]
    assert np.array_equal(found[1].observations, columns["observations"][:4])
    assert np.array_equal(found[2].rewards, columns["rewards"][4:10])
    # Steps after the last end are an episode that was cut off.
    columns["terminals"][-1] = False
    found = setup(D4RLData(path=str(d4rl(tmp_path / "two.hdf5", columns)), val=1))
    assert sum(one.terminated for one in found) == 1


def test_an_old_file_has_no_timeouts(tmp_path: Path) -> None:
    columns = steps([4, 5], [True, True])
    del columns["timeouts"]
    assert len(setup(D4RLData(path=str(d4rl(tmp_path / "a.hdf5", columns)), val=1))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rewards": None}, "has no rewards; a D4RL file has observations, actions, rewards"),
        ({"rewards": np.zeros(3, np.float32)}, "columns differ in length"),
        (
            {"observations": np.full((9, 3), np.nan)},
            "episode 0: observations hold NaN .* at step 0",
        ),
        ({"actions": np.array([b"x"] * 9)}, "actions are .* expected rows of numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(change: dict, said: str, tmp_path: Path) -> None:
    columns = {**steps([4, 5], [True, False]), **change}
    path = d4rl(tmp_path / "a.hdf5", {k: v for k, v in columns.items() if v is not None})
    with pytest.raises(InputError, match=said):
        D4RLData(path=str(path), val=1).setup()


def pickled(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def trajectories(number: int = 3) -> list[dict[str, np.ndarray]]:
    found = []
    for one in range(number):
        columns = steps([4 + one], [one % 2 == 0])
        columns["next_observations"] = columns["observations"]
        del columns["timeouts"]
        found.append(columns)
    return found


def test_a_pickle_of_trajectories(tmp_path: Path) -> None:
    path = pickled(tmp_path / "hopper-medium-v2.pkl", trajectories())
    found = sorted(setup(PickledTrajectories(path=str(path), val=1)), key=len)
    assert [(len(one), one.terminated) for one in found] == [(4, True), (5, False), (6, True)]
    assert np.array_equal(found[2].actions, trajectories()[2]["actions"])
    # As protocol 2 of older Pythons and numpys spell it.
    old = pickle.dumps(trajectories(), protocol=2).replace(b"numpy._core", b"numpy.core")
    path.write_bytes(old)
    assert len(setup(PickledTrajectories(path=str(path), val=1))) == 3


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a": 1}, "holds a dict, expected a list"),
        ([1, 2], "trajectory 0: is a int, expected a dictionary"),
        ([{"observations": np.ones((2, 3))}], "has no array actions"),
    ],
)
def test_other_pickles_are_one_line(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        PickledTrajectories(path=str(pickled(tmp_path / "a.pkl", content)), val=1).setup()


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    path = pickled(tmp_path / "a.pkl", [*trajectories(), Evil(tmp_path / "made")])
    with pytest.raises(InputError, match="names .*open, which is never imported"):
        PickledTrajectories(path=str(path), val=1).setup()
    assert not (tmp_path / "made").exists()


def test_only_one_line_escapes_damaged_files(tmp_path: Path) -> None:
    drawn = random.Random(0)
    whole = {
        D4RLData: d4rl(tmp_path / "a.hdf5", steps([4, 5, 6], [True] * 3)).read_bytes(),
        PickledTrajectories: pickled(tmp_path / "a.pkl", trajectories()).read_bytes(),
    }

    def use() -> None:
        kind = drawn.choice(list(whole))
        path = tmp_path / "damaged"
        path.write_bytes(damaged(whole[kind], drawn))
        kind(path=str(path), val=1, on_invalid=drawn.choice(["raise", "skip"])).setup()

    assert len(refusals(use for _ in range(200))) > 50
    with pytest.raises(UserError, match="there is no"):
        D4RLData(path=str(tmp_path / "none.hdf5"), val=1).setup()


def test_observations_beyond_what_is_kept_stay_in_the_file(
    minari_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = MinariData(path=minari_set, val=2, context_length=5)
    kept.setup()
    monkeypatch.setattr(minari, "MAX_KEPT", 0)
    data = MinariData(path=minari_set, val=2, context_length=5)
    data.setup()
    one, other = (part.parts["train"][0] for part in (kept, data))
    assert isinstance(one.observations, np.ndarray)
    assert not isinstance(other.observations, np.ndarray)
    assert np.array_equal(one.observations, other.observations[:])
    ours, theirs = (part.statistics().observations for part in (kept, data))
    assert all((a == b).all() for a, b in zip(ours, theirs, strict=True))
    windows = [[part.val_set[k] for k in range(len(part.val_set))] for part in (kept, data)]
    for a, b in zip(*windows, strict=True):
        assert all((a[key] == b[key]).all() for key in a)
    # Workers open the file by themselves.
    data.workers = 1
    batch = next(iter(data.train_dataloader()))
    assert batch["observations"].shape[1:] == (5, 8)
