"""Class paths of earlier releases."""

import importlib
import importlib.util
import json

import pytest

from headway.core.cli.config import load_recipe
from headway.core.moves import MOVES, moved, moves
from headway.core.weights.config import build, describe


def test_every_move_leads_somewhere_and_its_old_place_is_empty() -> None:
    for old, new in moves().items():
        module, _, name = new.rpartition(".")
        if not name[0].isupper():
            assert importlib.util.find_spec(new) is not None, new
            assert importlib.util.find_spec(old) is None, old
        else:
            assert hasattr(importlib.import_module(module), name), new
            place, _, before = old.rpartition(".")
            assert not hasattr(importlib.import_module(place), before), old


@pytest.mark.parametrize("old", MOVES)
def test_a_class_of_a_moved_module_goes_with_it(old: str) -> None:
    assert moved(f"{old}.Part") == f"{MOVES[old]}.Part"


def test_other_paths_stay() -> None:
    assert moved("headway.core.mixers.SelfAttention") == "headway.core.mixers.SelfAttention"
    assert moved("torch.nn.Linear") == "torch.nn.Linear"


def test_a_configuration_with_an_old_path_is_built() -> None:
    part = build(
        {
            "class_path": "headway.core.mixers.decays.FixedDecay",
            "init_args": {"dim": 8, "heads": 2, "width": 4},
        }
    )
    assert type(part).__name__ == "FixedDecay"


def test_a_part_that_was_none_once_is_the_default_one() -> None:
    block = {"class_path": "headway.core.blocks.PreNormBlock", "init_args": {"dim": 8, "heads": 2}}
    old = {**block, "init_args": {"dim": 8, "heads": 2, "mixer": None, "cross": None}}
    assert describe(build(old)) == describe(build(block))
    assert load_recipe(json.dumps(old))["init_args"] == {"dim": 8, "heads": 2, "cross": None}
