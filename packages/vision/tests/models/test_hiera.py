"""Hiera against timm and transformers: same weights, same logits, same gradients, through files."""

import json
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models.hiera import Hiera as TimmHiera
from torch import nn

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import QueryPoolingBlock
from headway.vision.models import Features, Hiera, create_model, list_models
from headway.vision.models.families import published_cfg
from headway.vision.models.hiera_variants import HIERA, TIMM

WINDOWS = {"abs_win_pos_embed": True, "global_pos_size": (5, 5), "init_values": 0.1}


def noisy(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def timms(**options) -> nn.Module:
    sizes = {"embed_dim": 8, "num_heads": 1, "stages": (1, 2, 2, 1), "num_classes": 5}
    return noisy(TimmHiera(**{"img_size": 64, **sizes, **options}))


def saved(theirs: nn.Module, file: Path) -> Path:
    save_file({key: value.contiguous() for key, value in theirs.state_dict().items()}, file)
    return file


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((64, 64), {}),
        ((64, 96), WINDOWS),
        ((96, 64), {**WINDOWS, "use_expand_proj": False, "init_values": None}),
    ],
    ids=["plain", "windows", "pooling"],
)
def test_a_bare_file_gives_timms_logits_and_gradients(size, options, tmp_path: Path) -> None:
    theirs = timms(img_size=size, **options)
    file = saved(theirs, tmp_path / "model.safetensors")
    check_round_trip(file, tmp_path / "back")
    ours = from_pretrained(file, image_size=size).eval()
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    images = torch.randn(2, 3, *size)
    mine, other = ours(images), theirs(images)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().sum().backward()
    other.square().sum().backward()
    expected = TIMM.to_ours({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        assert (parameter.grad - expected[name]).norm() / expected[name].norm() < 1e-4, name


def test_a_folder_of_timm_gives_timms_answers_and_features(tmp_path: Path) -> None:
    theirs = timm.create_model("hiera_tiny_224", num_classes=3, img_size=64).eval()
    timm.models.save_for_hf(theirs, tmp_path, model_args={"img_size": 64}, safe_serialization=True)
    ours = from_pretrained(tmp_path).eval()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)
    mine, others = ours.forward_intermediates(images)[1], theirs.forward_intermediates(images)[1]
    assert len(mine) == 4
    for one, other in zip(mine, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    kinds = ("num_chs", "reduction")
    expected = [[info[kind] for kind in kinds] for info in theirs.feature_info]
    assert [[info[kind] for kind in kinds] for info in ours.feature_info] == expected


def test_an_official_file_gives_the_same(tmp_path: Path) -> None:
    theirs, names = timms(), {"head.norm": "norm", "head.fc": "head.projection"}
    state = {}
    for key, value in theirs.state_dict().items():
        front, _, kind = key.rpartition(".")
        state[f"{names.get(front, front)}.{kind}" if front else key] = value
    torch.save({"model_state": state}, tmp_path / "hiera.pth")
    ours, images = from_pretrained(tmp_path / "hiera.pth").eval(), torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def hugging_face(**options) -> nn.Module:
    sizes = {"embed_dim": 8, "depths": [1, 2, 2, 1], "image_size": [64, 64], "num_labels": 5}
    config = transformers.HieraConfig(**{**sizes, **options})
    return noisy(transformers.HieraForImageClassification(config))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"image_size": [64, 96], "masked_unit_attention": [True, False, False, False]},
        {"mlp_ratio": 2.0, "layer_norm_eps": 1e-4, "hidden_act": "relu"},
    ],
    ids=str,
)
def test_transformers_logits_and_gradients(options, tmp_path: Path) -> None:
    theirs = hugging_face(**options)
    theirs.save_pretrained(tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path).eval()
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    size = options.get("image_size", [64, 64])
    pictures = torch.randn(2, 3, *size)
    answers, grads = [], []
    for model, read in ((ours, lambda answer: answer), (theirs, lambda answer: answer.logits)):
        images = pictures.clone().requires_grad_()
        answers.append(read(model(images)))
        answers[-1].square().sum().backward()
        grads.append(images.grad)
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)
    assert (grads[0] - grads[1]).norm() / grads[1].norm() < 1e-4


@pytest.mark.parametrize(
    "change", [{"num_heads": [1, 2, 4, 4]}, {"num_query_pool": 2}, {"invented": 3}], ids=str
)
def test_what_is_not_read_of_a_config_is_refused(change, tmp_path: Path) -> None:
    hugging_face().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UserError, match=next(iter(change))):
        from_pretrained(tmp_path)


def test_every_published_name_has_timms_keys_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *args, **options: tensor)
    names = timm.list_models("hiera_*")
    assert list_models("hiera_*") == names
    for name in names:
        with torch.device("meta"):
            ours, theirs = create_model(name), timm.create_model(name)
        mine = {key: tuple(v.shape) for key, v in TIMM.to_theirs(ours.state_dict()).items()}
        assert mine == {key: tuple(v.shape) for key, v in theirs.state_dict().items()}, name
        cfg, expected = published_cfg(HIERA.rows()[name]), theirs.pretrained_cfg
        keys = ("interpolation", "crop_pct", "crop_mode", "num_classes", "input_size", "mean")
        assert {key: cfg[key] for key in keys} == {key: expected[key] for key in keys}, name
        assert cfg["tag"] in (expected["tag"], ""), name


def test_a_token_hears_its_window_and_a_pooled_query_is_the_largest_of_four() -> None:
    torch.manual_seed(0)
    model = HIERA.build({**HIERA.tiny_row(), "depths": "1,1"}, image_size=64, num_classes=2).eval()
    images = torch.randn(1, 3, 64, 64)
    x, layout = model.embed(images)
    other = x.clone()
    other[0, 0] += torch.randn(8)  # the first of 8 x 8 tokens of the first of 2 x 2 windows
    moved = (model.encoder.blocks[0](other, layout)[0] - model.encoder.blocks[0](x, layout)[0])[0]
    rows, columns = (moved.abs().amax(1) > 1e-8).unflatten(0, (16, 16)).nonzero(as_tuple=True)
    assert (rows.max(), columns.max()) == (7, 7)
    block = model.encoder.blocks[1]
    assert isinstance(block, QueryPoolingBlock)
    pooled, halved = block(x, layout)
    assert halved.grid == (8, 8)
    # The plain part: the query of one neighbour in the place of the largest.
    query = block.mixer.function.qkv.weight[:16]
    with torch.no_grad():
        query.neg_()
    changed = block(x, layout)[0]
    assert (changed - pooled).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(112, 112), (45, 70)])
def test_any_size_will_do_and_what_is_filled_up_is_zeros(size, tmp_path: Path) -> None:
    model = HIERA.build(HIERA.tiny_row(), image_size=64, num_classes=2).eval()
    images = torch.randn(1, 3, *size)
    filled = torch.zeros(1, 3, *(-(-side // 32) * 32 for side in size))
    filled[..., : size[0], : size[1]] = images
    torch.testing.assert_close(model(images), model(filled))
    maps = Features(model, [0, 1])(images)
    assert [tuple(one.shape[2:]) for one in maps] == [
        tuple(-(-side // step) for side in size) for step in (4, 8)
    ]
    model.set_input_size(96)
    again = from_pretrained(save_pretrained(model, tmp_path / "model")).eval()
    torch.testing.assert_close(again(images), model(images))


def test_wrong_sizes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match="window 6 cannot be halved 3 times"):
        Hiera(window=6)
    with pytest.raises(UserError, match="need one entry for each stage"):
        Hiera(windowed=(True,))
    with pytest.raises(UserError, match="largest and mean of 8 channels are 16, not 12"):
        QueryPoolingBlock(8, 12, 1, project=False)
