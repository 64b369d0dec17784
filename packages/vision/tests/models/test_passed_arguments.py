"""What a model passes on to its base by name is recorded, offered and checked as if it stood in it."""

import typing
from functools import partial
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.norms import RMSNorm
from headway.core.passed import arguments, passed_options
from headway.core.weights import build, describe, from_pretrained, save_pretrained
from headway.vision.models import DistilledViT, PoolFormer, Pyramid, Swin, ViT

BASES = {Swin: Pyramid, PoolFormer: Pyramid, DistilledViT: ViT}
TINY = {"image_size": 32, "num_classes": 3, "depths": (1, 1), "heads": (2, 4)}


@pytest.mark.parametrize("kind", BASES, ids=lambda kind: kind.__name__)
def test_arguments_defaults_and_types_are_those_of_the_base(kind: type) -> None:
    base, options = arguments(BASES[kind]), passed_options(kind.__init__)
    hints = typing.get_type_hints(BASES[kind].__init__)
    for name, hint in typing.get_type_hints(options).items():
        assert arguments(kind)[name] == base[name]
        assert hint == hints[name], name
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    assert set(vars(parser.get_defaults().it)) >= set(arguments(kind))
    offered = parser.get_defaults().it
    for name in ("num_classes", "drop_path", "final_norm"):
        assert offered[name] == base[name][0].default
    helps = {action.dest: action.help for action in parser._actions}
    assert "Classes" in helps["it.num_classes"]


def test_the_record_has_what_was_passed_and_every_default(tmp_path: Path) -> None:
    model = Swin(**TINY, dim=12, drop_path=0.1, feedforward=partial(MLP, mlp_ratio=2.0))
    assert model.init_args["drop_path"] == 0.1
    assert model.init_args["final_norm"] is True
    assert set(model.init_args) == set(arguments(Swin))
    save_pretrained(model, tmp_path)
    again, images = from_pretrained(tmp_path), torch.randn(1, 3, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))
    assert describe(again) == describe(model)


def test_what_is_passed_is_built_from_a_configuration_and_checked() -> None:
    path = "headway.vision.models.PoolFormer"
    args = {
        "num_classes": 2,
        "dims": [8, 16],
        "depths": [1, 1],
        "norm": {"class_path": "headway.core.norms.RMSNorm"},
    }
    model = build({"class_path": path, "init_args": args})
    assert isinstance(model.stages[0].blocks[0].mixer.norm, RMSNorm)
    with pytest.raises(UserError, match="does not take invented"):
        build({"class_path": path, "init_args": {**args, "invented": 1}})
    with pytest.raises(UserError, match="num_classes"):
        build({"class_path": path, "init_args": {**args, "num_classes": "two"}})
    with pytest.raises(TypeError, match="invented"):
        PoolFormer(invented=1)
