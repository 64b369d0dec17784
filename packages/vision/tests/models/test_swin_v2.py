"""Swin V2 against timm and transformers: same weights, same logits, same gradients, through files."""

import json
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models.swin_transformer_v2 import SwinTransformerV2
from torch import nn

from headway.core.errors import UserError
from headway.core.mixers import CosineWindowAttention, WindowAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import SwinV2, create_model, list_models
from headway.vision.models.families import published_cfg
from headway.vision.models.swin_v2_variants import SWIN_V2, TIMM

SMALL = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 5}


def noisy(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def timms(size: tuple[int, int], window: int, **options) -> nn.Module:
    return noisy(SwinTransformerV2(img_size=size, window_size=window, **{**SMALL, **options}))


def small(size: tuple[int, int], window: int, trained: int = 0) -> nn.Module:
    row = {**SWIN_V2.tiny_row(), "dim": "16", "depths": "2,2", "heads": "2,4"}
    row |= {"windows": f"{window},{window}", "trained": f"{trained},{trained}"}
    return SWIN_V2.build(row, image_size=size, num_classes=5)


@pytest.mark.parametrize(
    ("size", "window", "trained"),
    # Windows that divide the maps; that do not, with another window before; that shrink to the last map.
    [((64, 64), 4, 0), ((92, 68), 5, 3), ((40, 56), 8, 0)],
)
def test_logits_and_gradients_equal_timms(size: tuple[int, int], window: int, trained: int) -> None:
    theirs = timms(size, window, pretrained_window_sizes=(trained, trained))
    ours = small(size, window, trained).eval()
    ours.load_state_dict(TIMM.to_ours(theirs.state_dict()))
    images = torch.randn(2, 3, *size)
    mine, other = ours(images), theirs(images)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().sum().backward()
    other.square().sum().backward()
    grads = {name: p.grad for name, p in theirs.named_parameters()}
    expected = TIMM.to_ours(grads)
    for name, parameter in ours.named_parameters():
        assert (parameter.grad - expected[name]).norm() / expected[name].norm() < 1e-4, name


def test_keys_have_no_bias_and_none_learns() -> None:
    model = small((32, 32), 4)
    noisy(model).train()(torch.randn(2, 3, 32, 32)).square().sum().backward()
    bias = model.stages[0].blocks[0].mixer.function.qkv.bias
    keys = bias.grad.chunk(3)[1]
    assert not keys.any()
    assert bias.grad.chunk(3)[0].any()


def test_branches_are_silent_at_first() -> None:
    model, images = small((32, 32), 4).eval(), torch.randn(1, 3, 32, 32)
    x, layout = model.embed(images)
    torch.testing.assert_close(model.stages[0].blocks[0](x, layout)[0], x)


def test_a_factor_beyond_100_is_100_and_large_queries_do_not_sharpen() -> None:
    torch.manual_seed(0)
    mixer = CosineWindowAttention(8, 2, window=4)
    layout, x = small((16, 16), 4).embed(torch.randn(1, 3, 16, 16))[1], torch.randn(1, 16, 8)
    mixer.log_scale.data.fill_(20.0)
    largest = mixer(x, layout)
    mixer.log_scale.data.fill_(4.60517)
    torch.testing.assert_close(mixer(x, layout), largest, atol=1e-4, rtol=1e-4)
    mixer.log_scale.data.fill_(0.0)
    plain = WindowAttention(8, 2, window=4)
    plain.qkv.load_state_dict(mixer.qkv.state_dict())
    plain.projection.load_state_dict(mixer.projection.state_dict())
    moved = {}
    for part in (mixer, plain):
        before = part(x, layout)
        with torch.no_grad():
            part.qkv.weight[:16] *= 10.0  # queries and keys
            part.qkv.bias[:16] *= 10.0
        moved[type(part)] = (part(x, layout) - before).abs().max().item()
    assert moved[CosineWindowAttention] < 1e-5 < 1e-2 < moved[WindowAttention]


@pytest.mark.parametrize("name", ["swinv2_tiny_window8_256", "swinv2_base_window12to16_192to256"])
def test_a_folder_of_timm_gives_timms_answers(name: str, tmp_path: Path) -> None:
    options = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
    if "to" in name:
        options["pretrained_window_sizes"] = (3, 3)
    theirs = noisy(timm.create_model(name, img_size=48, num_classes=3, **options))
    timm.models.save_for_hf(theirs, tmp_path, model_args=options, safe_serialization=True)
    ours = from_pretrained(tmp_path).eval()
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    check_round_trip(tmp_path, tmp_path / "back")
    images = torch.randn(1, 3, 48, 48)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_a_bare_file_says_which_model_it_is_or_is_refused(tmp_path: Path) -> None:
    name, file = "swinv2_tiny_window8_256", tmp_path / "model.safetensors"
    theirs = noisy(timm.create_model(name, num_classes=4))
    state = theirs.state_dict()
    save_file(state, file)
    with pytest.raises(UserError, match="architecture=NAME, one of swinv2_tiny_window8_256"):
        from_pretrained(file)
    images = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        expected = theirs(images)
        named = from_pretrained(file, architecture=name).eval()
        torch.testing.assert_close(named(images), expected, atol=1e-5, rtol=1e-5)
        # As Microsoft's files: merging at the end of a stage, another name of the head, buffers that tell.
        official = {}
        for key, value in state.items():
            parts = key.split(".")
            if "downsample" in parts:
                parts[1] = str(int(parts[1]) - 1)
            official[".".join(parts).replace("head.fc", "head")] = value
        for stage in range(4):
            coordinates = theirs.layers[stage].blocks[0].attn.relative_coords_table
            front = f"layers.{stage}.blocks.0.attn"
            official[f"{front}.relative_coords_table"] = coordinates.clone()
        save_file(official, file)
        ours = from_pretrained(file).eval()
        assert ours.pretrained_cfg["architecture"] == name
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)


def hugging_face(**options) -> nn.Module:
    sizes = {
        "embed_dim": 16,
        "depths": [2, 2],
        "num_heads": [2, 4],
        "window_size": 4,
        "image_size": 48,
    }
    config = transformers.Swinv2Config(num_labels=5, drop_path_rate=0.0, **{**sizes, **options})
    return noisy(transformers.Swinv2ForImageClassification(config))


@pytest.mark.parametrize("size", [(48, 48), (45, 70)])
@pytest.mark.parametrize(
    "options",
    [{"layer_norm_eps": 1e-4}, {"window_size": 5, "pretrained_window_sizes": [3, 2]},
     {"qkv_bias": False, "window_size": 8, "mlp_ratio": 2.0}],
    ids=str,
)  # fmt: skip
def test_transformers_logits_and_gradients(options, size: tuple[int, int], tmp_path: Path) -> None:
    theirs = hugging_face(**options)
    theirs.save_pretrained(tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path).eval()
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    pictures = torch.randn(2, 3, *size)
    grads = []
    answers = []
    for model, read in ((ours, lambda answer: answer), (theirs, lambda answer: answer.logits)):
        images = pictures.clone().requires_grad_()
        answers.append(read(model(images)))
        answers[-1].square().sum().backward()
        grads.append(images.grad)
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)
    assert (grads[0] - grads[1]).norm() / grads[1].norm() < 1e-4


def test_what_is_not_read_of_a_config_is_refused(tmp_path: Path) -> None:
    hugging_face().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    for change in ({"use_absolute_embeddings": True}, {"invented": 3}):
        text = file.read_text()
        file.write_text(json.dumps({**json.loads(text), **change}))
        with pytest.raises(UserError, match=next(iter(change))):
            from_pretrained(tmp_path)
        file.write_text(text)


def test_every_published_name_has_timms_keys_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *args, **options: tensor)
    names = [name for name in timm.list_models("swinv2_*") if "_cr_" not in name]
    assert list_models("swinv2_*") == sorted(names)
    for name in names:
        with torch.device("meta"):
            ours, theirs = create_model(name), timm.create_model(name)
        shapes = {key: tuple(v.shape) for key, v in TIMM.to_theirs(ours.state_dict()).items()}
        assert shapes == {key: tuple(v.shape) for key, v in theirs.state_dict().items()}, name
        for stage, other in zip(ours.stages, theirs.layers, strict=True):
            mixer, attention = stage.blocks[0].mixer.function, other.blocks[0].attn
            assert mixer.window == attention.window_size, name
            trained = attention.pretrained_window_size
            assert mixer.position.trained_grid == (trained if trained[0] else mixer.window), name
        cfg, expected = published_cfg(SWIN_V2.rows()[name]), theirs.pretrained_cfg
        keys = (
            "interpolation",
            "crop_pct",
            "crop_mode",
            "num_classes",
            "input_size",
            "tag",
            "mean",
        )
        assert {key: cfg[key] for key in keys} == {key: expected[key] for key in keys}, name


def test_places_go_on_in_larger_windows(tmp_path: Path) -> None:
    """Of windows trained at 4, one of 8 with ``trained_window=4`` gives near places the same biases."""
    near, far = (
        CosineWindowAttention(8, 2, window=window, trained_window=4).position for window in (4, 8)
    )
    far.load_state_dict(near.state_dict())
    few, many = near.rows().unflatten(0, (7, 7)), far.rows().unflatten(0, (15, 15))
    torch.testing.assert_close(many[4:11, 4:11], few)
    model = SwinV2(dim=8, depths=(1,), heads=(2,), mixer=partial(CosineWindowAttention, window=4))
    again = from_pretrained(save_pretrained(model, tmp_path / "model")).eval()
    assert again(torch.randn(1, 3, 20, 36)).shape == (1, 1000)


def test_its_own_parameters_are_not_decayed() -> None:
    spared = {name.rpartition("function.")[2] for name in small((32, 32), 4).no_weight_decay()}
    layers = ("hidden.weight", "hidden.bias", "out.weight")
    network = {f"position.network.{name}" for name in layers}
    assert spared == {"log_scale", *network}
