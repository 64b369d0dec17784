"""Damaged folders of models: one line each, before anything is built or unpacked."""

import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from headway.core.errors import InputError, UserError
from headway.core.stacks import Encoder
from headway.core.testing.damage import WRONG, damaged_json, refusals
from headway.core.weights import from_pretrained, save_pretrained
from headway.core.weights.noted_config import NotedConfig, reading_config

MUTATIONS = 150
OBJECTS = (
    {"class_path": "headway.core.norms.RMSNorm"},
    {"class_path": "headway..norms.RMSNorm", "init_args": 3},
    {"class_path": "torch.nn.Linear", "init_args": {"in_features": 10**9, "out_features": 10**9}},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pretrained(Encoder(8, 2, 2), tmp_path / "model")


def test_only_one_line_escapes_a_damaged_configuration(folder: Path) -> None:
    drawn = random.Random(0)
    config = json.loads((folder / "config.json").read_text())

    def use() -> None:
        damaged = damaged_json(config, drawn, (*WRONG, *OBJECTS))
        (folder / "config.json").write_text(json.dumps(damaged))
        from_pretrained(folder)

    assert len(refusals(use for _ in range(MUTATIONS))) > MUTATIONS // 2


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
    with pytest.raises(UserError, match=f"{name} = |values, its tensors have"):
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


PUBLISHED = NotedConfig(
    {"size": "x", "kinds": [1, 2], "rate": float("inf"), "names": 3, "gate": 1, "none": None},
    "c.json",
)


@pytest.mark.parametrize(
    ("key", "usual", "expected"),
    [
        ("size", 3, "size = 'x', expected a whole number"),
        ("rate", 0.1, "rate = inf, expected a number"),
        ("names", "a", "names = 3, expected a text"),
        ("gate", True, "gate = 1, expected true or false"),
        ("kinds", ("a",), r"kinds = \[1, 2\], expected a list"),
        ("size", {}, "size = 'x', expected a mapping"),
    ],
)
def test_published_values_are_of_the_kind_of_their_defaults(
    key: str, usual: Any, expected: str
) -> None:
    with pytest.raises(InputError, match=f"c.json: has {expected}"):
        PUBLISHED.get(key, usual)
    assert PUBLISHED.get("none", usual) is None
    assert PUBLISHED.get("kinds", 2) == [1, 2]
    with pytest.raises(InputError, match="lacks depth"):
        _ = PUBLISHED["depth"]


def test_what_a_checkpoint_makes_constructors_raise_names_file_and_keys() -> None:
    config = NotedConfig({"heads": 0, "dim": 8, "kinds": None})
    with (
        pytest.raises(
            UserError, match=r"folder makes no model of Toy \(ZeroDivisionError.*heads = 0"
        ),
        reading_config("folder", "Toy", config),
    ):
        _ = config["dim"] // config["heads"]
