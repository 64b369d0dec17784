"""A damaged data set of Minari is one line, and an episode that cannot be read obeys ``on_invalid``."""

import json
import os
import shutil
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import pytest

from headway.core.errors import InputError, UserError
from headway.core.testing.damage import damaged, refusals
from headway.rl.data import MinariData
from headway.rl.layers import encoder_for
from headway.rl.spaces import Discrete, Spaces

MUTATIONS = 60
WRONG = (None, True, -1, 10**12, 0.5, "x", "[" * 3000, [], {}, [1], {"type": "Box"})


@pytest.fixture
def folder(minari_set: str) -> Path:
    return Path(os.environ["MINARI_DATASETS_PATH"]) / minari_set / "data"


def load(folder: Path, policy: Any = "raise") -> MinariData:
    data = MinariData(path=str(folder), val=2, on_invalid=policy)
    data.setup()
    return data


def mutate_bytes(file: Path, random: np.random.Generator) -> None:
    content = bytearray(file.read_bytes())
    # Most of what stands in the file's head describes the rest.
    end = len(content) if random.random() < 0.5 else min(4096, len(content))
    for place in random.integers(end, size=random.integers(1, 40)):
        content[place] = random.integers(256)
    if random.random() < 0.2:
        del content[random.integers(len(content)) :]
    file.write_bytes(bytes(content))


def mutate_metadata(file: Path, random: np.random.Generator) -> None:
    content = json.loads(file.read_text())
    key = str(random.choice(sorted(content)))
    if random.random() < 0.3:
        del content[key]
    else:
        content[key] = WRONG[random.integers(len(WRONG))]
    file.write_text(json.dumps(content))


def mutate_groups(file: Path, random: np.random.Generator) -> None:
    with h5py.File(file, "a") as opened:
        episode: Any = opened[f"episode_{random.integers(6)}"]
        key = str(random.choice(["observations", "actions", "rewards", "terminations"]))
        values = episode[key][()]
        del episode[key]
        made = (
            lambda: None,
            lambda: values[:-2],
            lambda: values[:0],
            lambda: values.reshape(1, -1),
            lambda: np.float64(3),
            lambda: np.full(len(values), b"text"),
            lambda: np.full(values.shape, 1j),
            lambda: np.full(values.shape, 1e300),
            lambda: values.astype(np.int64) + 1000,
        )[random.integers(9)]()
        if made is not None:
            episode[key] = made


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_only_one_line_escapes_a_damaged_data_set(
    folder: Path, tmp_path: Path, policy: str
) -> None:
    random = np.random.default_rng(0)
    refused: list[str] = []
    for number in range(MUTATIONS):
        damaged = tmp_path / "damaged" / str(number)
        shutil.copytree(folder, damaged)
        metadata, data = damaged / "metadata.json", damaged / "main_data.hdf5"
        kind = number % 6
        if kind == 0:
            mutate_bytes(metadata, random)
        elif kind == 1:
            mutate_metadata(metadata, random)
        elif kind in (2, 3):
            mutate_groups(data, random)
        elif kind == 4:
            mutate_bytes(data, random)
        else:
            (metadata if random.random() < 0.5 else data).unlink()
        try:
            load(damaged, policy)
        except UserError as error:
            refused.append(str(error))
        shutil.rmtree(damaged)
    assert len(refused) > MUTATIONS // 4
    assert not any("\n" in line for line in refused)


def test_an_episode_that_cannot_be_read_is_named_and_may_be_skipped(folder: Path) -> None:
    with h5py.File(folder / "main_data.hdf5", "a") as opened:
        del opened["episode_3"]
    with pytest.raises(InputError, match="episode 3: cannot be read .*set on_invalid to skip"):
        load(folder)
    data = load(folder, "skip")
    assert sum(len(part) for part in data.parts.values()) == 5
    assert len(data.invalid.errors) == 1


def test_observations_without_the_last_row_are_taken(folder: Path) -> None:
    whole = load(folder)
    with h5py.File(folder / "main_data.hdf5", "a") as opened:
        for episode in opened.values():
            seen = episode["observations"][:-1]
            del episode["observations"]
            episode["observations"] = seen
    for one, other in zip(load(folder).parts["train"], whole.parts["train"], strict=True):
        assert np.array_equal(one.observations, other.observations[: len(one)])


def test_a_data_set_without_its_spaces_makes_no_environment(folder: Path) -> None:
    file = folder / "metadata.json"
    content = json.loads(file.read_text())
    del content["observation_space"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"metadata.json: has observation_space = None"):
        load(folder)


def test_an_array_that_claims_to_be_huge_is_not_read(folder: Path) -> None:
    with h5py.File(folder / "main_data.hdf5", "a") as opened:
        episode: Any = opened["episode_2"]
        del episode["rewards"]
        episode.create_dataset("rewards", shape=(10**12,), dtype="f8", chunks=(64,))
    with pytest.raises(InputError, match="episode 2: its rewards claim a shape"):
        load(folder)


def counted(folder: Path, form: Any, kinds: int = 3) -> Path:
    """Writes a data set whose choices begin at 1 and whose observations, one of ``kinds``, begin at 5."""
    import minari
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    random, buffers = np.random.default_rng(0), []
    for number in range(6):
        steps = 8 + number
        buffers.append(
            EpisodeBuffer(
                id=number,
                observations=random.integers(5, 8, steps + 1),
                actions=random.integers(1, 4, steps),
                rewards=random.normal(size=steps),
                terminations=np.arange(steps) == steps - 1,
                truncations=np.zeros(steps, bool),
            )
        )
    minari.create_dataset_from_buffers(
        f"test/counted-{form}-v0",
        buffers,
        env="CartPole-v1",
        eval_env="CartPole-v1",
        observation_space=spaces.Discrete(kinds, start=5),
        action_space=spaces.Discrete(3, start=1),
        data_format=form,
    )
    return folder / f"test/counted-{form}-v0/data"


@pytest.fixture
def minari_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.mark.parametrize("form", ["hdf5", "arrow"])
def test_choices_are_counted_from_where_their_space_starts(form: str, minari_folder: Path) -> None:
    data = load(counted(minari_folder, form))
    taken = np.concatenate([one.actions for part in data.parts.values() for one in part])
    assert set(taken.tolist()) == {1, 2, 3}
    assert data.spaces == Spaces(observation=Discrete(n=3, start=5), action=Discrete(n=3, start=1))
    seen = data.parts["train"][0].observations
    assert set(seen.tolist()) <= {5, 6, 7}


def test_many_kinds_of_observations_are_taken_and_too_many_named(minari_folder: Path) -> None:
    spaces = load(counted(minari_folder, "hdf5", kinds=20_000)).spaces
    assert encoder_for(8, spaces.observation).table.weight.shape == (20_000, 8)
    spaces = load(counted(minari_folder, "arrow", kinds=10**8)).spaces
    with pytest.raises(UserError, match=r"100,000,000 choices .* at most 1,048,576 may"):
        encoder_for(8, spaces.observation)


def test_only_one_line_escapes_a_damaged_folder_of_arrow(
    minari_folder: Path, tmp_path: Path
) -> None:
    folder, drawn = counted(minari_folder, "arrow"), Random(0)
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    chosen = [Path("metadata.json"), *(file for file in files if file.suffix == ".arrow")]

    def use() -> None:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        file = copy / drawn.choice(chosen)
        file.write_bytes(damaged(file.read_bytes(), drawn))
        load(copy, drawn.choice(["raise", "skip"]))

    assert len(refusals(use for _ in range(40))) > 15


def test_a_pipe_in_a_data_set_is_not_waited_for(folder: Path) -> None:
    (folder / "main_data.hdf5").unlink()
    os.mkfifo(folder / "main_data.hdf5")
    with pytest.raises(UserError, match="is a pipe"):
        load(folder)
