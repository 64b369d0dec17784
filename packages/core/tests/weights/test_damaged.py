"""Damaged folders of models: one line each, before anything is built or unpacked."""

import copy
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.core.errors import UserError
from headway.core.stacks import Encoder
from headway.core.weights import from_pretrained, save_pretrained

MUTATIONS = 150
WRONG = (
    None,
    True,
    -1,
    0,
    3,
    10**9,
    10**30,
    -0.5,
    1e300,
    "",
    "8",
    "headway",
    [],
    [1, "a"],
    {},
    {"a": 1},
    {"class_path": "headway.core.norms.RMSNorm"},
    {"class_path": "os.system"},
    {"class_path": "headway..norms.RMSNorm", "init_args": 3},
    {"class_path": "torch.nn.Linear", "init_args": {"in_features": 10**9, "out_features": 10**9}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pretrained(Encoder(8, 2, 2), tmp_path / "model")


def places(value: Any) -> list[tuple[Any, Any]]:
    """Returns container and key of everything in a configuration."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


def mutate(config: dict[str, Any], drawn: random.Random) -> dict[str, Any]:
    config = copy.deepcopy(config)
    for _ in range(drawn.randint(1, 2)):
        container, key = drawn.choice(places(config))
        kind = drawn.random()
        if kind < 0.1:
            del container[key]
        elif kind < 0.2 and isinstance(container, dict):
            container[f"{key}x"] = container.pop(key)
        else:
            container[key] = copy.deepcopy(drawn.choice(WRONG))
    return config


def test_only_one_line_escapes_a_damaged_configuration(folder: Path) -> None:
    drawn = random.Random(0)
    config = json.loads((folder / "config.json").read_text())
    refused: list[str] = []
    for _ in range(MUTATIONS):
        (folder / "config.json").write_text(json.dumps(mutate(config, drawn)))
        try:
            from_pretrained(folder)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > MUTATIONS // 2
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", 1e9),
        ("depth", 10**9),
        ("dim", 10**12),
        ("num_heads", 10**9),
        ("dim", 100_000),
        ("depth", "2"),
    ],
)
def test_absurd_numbers_are_refused_before_building(folder: Path, name: str, value: Any) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["init_args"][name] = value
    file.write_text(json.dumps(config))
    with pytest.raises(UserError, match=f"{name} = |values, its tensors have|cannot be built"):
        from_pretrained(folder)


def test_deep_nesting_is_one_line(folder: Path) -> None:
    text = '{"class_path": "headway.core.stacks.Encoder", "init_args": {"dim": %s}}'
    for depth in (100, 100_000):
        (folder / "config.json").write_text(text % ("[" * depth + "]" * depth))
        with pytest.raises(UserError, match="nested too deeply"):
            from_pretrained(folder)


def test_a_zip_that_unpacks_to_too_much_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(2**25)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    with pytest.raises(UserError, match="would unpack to"):
        from_pretrained(file)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "weights.pt"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(UserError):
        from_pretrained(folder / name if name == "weights.pt" else folder)
