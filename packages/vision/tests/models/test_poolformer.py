"""PoolFormer against timm and transformers: same weights, same logits, same gradients, through files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from timm.layers import GroupNorm1
from timm.models.metaformer import MetaFormer
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.transforms import evaluation_transform
from headway.vision.models import PoolFormer, create_model, list_models
from headway.vision.models.families import published_cfg
from headway.vision.models.poolformer import POOLFORMER

ROW = POOLFORMER.rows()["poolformer_s12"]


def noisy(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def timms(**options) -> nn.Module:
    sizes = {"depths": (1, 2, 1), "dims": (8, 16, 24), "num_classes": 5}
    model = MetaFormer(
        downsample_norm=None, mlp_act=nn.GELU, mlp_bias=True, norm_layers=GroupNorm1,
        layer_scale_init_values=1e-5, res_scale_init_values=None, use_mlp_head=False,
        **{**sizes, **options},
    )  # fmt: skip
    return noisy(model)


def hugging_face(**options) -> nn.Module:
    sizes = {
        "depths": [1, 2, 1],
        "hidden_sizes": [8, 16, 24],
        "num_labels": 5,
        "num_encoder_blocks": 3,
    }
    steps = {"patch_sizes": [7, 3, 3], "strides": [4, 2, 2], "padding": [2, 1, 1]}
    config = transformers.PoolFormerConfig(**{**sizes, **steps, **options})
    return noisy(transformers.PoolFormerForImageClassification(config))


def saved(theirs: nn.Module, file: Path) -> Path:
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, file)
    return file


def assert_equal(ours: nn.Module, theirs: nn.Module, logits: Callable, size: tuple) -> None:
    """Logits to 1e-5, the gradient of the pictures and the sorted norms of all gradients to 1e-4."""
    pictures = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    sides = []
    for model, read in ((ours.eval(), lambda answer: answer), (theirs, logits)):
        images = pictures.clone().requires_grad_()
        answer = read(model(images))
        answer.square().sum().backward()
        norms = sorted(p.grad.norm().item() for p in model.parameters())
        sides.append((answer.detach(), images.grad, torch.tensor(norms)))
    (mine, pixels, norms), (other, their_pixels, their_norms) = sides
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    assert (pixels - their_pixels).norm() / their_pixels.norm() < 1e-4
    torch.testing.assert_close(norms, their_norms, atol=1e-6, rtol=1e-4)


def identity(answer: Tensor) -> Tensor:
    return answer


@pytest.mark.parametrize("size", [(32, 32), (45, 70), (20, 33)])
def test_a_bare_file_of_timm_gives_timms_answers(size: tuple[int, int], tmp_path: Path) -> None:
    theirs = timms()
    ours = from_pretrained(saved(theirs, tmp_path / "model.safetensors"))
    check_round_trip(tmp_path / "model.safetensors", tmp_path / "back")
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert_equal(ours, theirs, identity, size)


def test_a_folder_of_timm_gives_timms_answers_and_can_be_changed(tmp_path: Path) -> None:
    theirs = noisy(timm.create_model("poolformer_s12", num_classes=4))
    timm.models.save_for_hf(theirs, tmp_path / "timm", safe_serialization=True)
    ours = from_pretrained(tmp_path / "timm", drop_path=0.1)
    assert ours.pretrained_cfg["architecture"] == "poolformer_s12"
    assert_equal(ours, theirs, identity, (64, 64))
    changed = from_pretrained(tmp_path / "timm", num_classes=2, channels=1, image_size=64)
    assert changed(torch.randn(1, 1, 64, 64)).shape == (1, 2)
    save_pretrained(changed, tmp_path / "ours")
    again, images = from_pretrained(tmp_path / "ours"), torch.randn(1, 1, 40, 52)
    torch.testing.assert_close(again.eval()(images), changed.eval()(images))


def test_arguments_of_a_timm_folder_are_obeyed_or_refused(tmp_path: Path) -> None:
    theirs = timms()
    saved(theirs, tmp_path / "model.safetensors")
    config = {
        "architecture": "poolformer_s12",
        "num_classes": 5,
        "num_features": 24,
        "global_pool": "avg",
        "model_args": {"depths": [1, 2, 1], "dims": [8, 16, 24]},
        "pretrained_cfg": {"input_size": [3, 32, 32]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_equal(from_pretrained(tmp_path), theirs, identity, (32, 32))
    config["model_args"]["use_mlp_head"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="use_mlp_head=True, which is not read"):
        from_pretrained(tmp_path)


def test_features_of_every_stage_equal_timms() -> None:
    theirs = timms()
    ours = POOLFORMER.build({**ROW, "depths": "1,2,1", "dims": "8,16,24"}, num_classes=5).eval()
    state = theirs.state_dict()
    copied = {name: state[POOLFORMER.to_timm(name)] for name in ours.state_dict()}
    ours.load_state_dict(
        {n: v.flatten(1) if v.shape[2:] == (1, 1) else v for n, v in copied.items()}
    )
    images = torch.randn(1, 3, 64, 48)
    expected, maps = theirs.forward_intermediates(images)
    final, taken = ours.forward_intermediates(images, norm=True)
    for a, b in zip(taken, maps, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        ours.forward_head(final, pre_logits=True), theirs.forward_head(expected, pre_logits=True),
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip
    kinds = ("num_chs", "reduction")
    theirs_info = [[info[kind] for kind in kinds] for info in theirs.feature_info]
    assert [[info[kind] for kind in kinds] for info in ours.feature_info] == theirs_info


def test_every_published_name_has_timms_keys_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *args, **options: tensor)
    names = timm.list_models("poolformer_*")
    assert list_models("poolformer_*") == names
    for name in names:
        with torch.device("meta"):
            ours, theirs = create_model(name), timm.create_model(name)
        mine = {POOLFORMER.to_timm(key): v.numel() for key, v in ours.state_dict().items()}
        assert mine == {key: v.numel() for key, v in theirs.state_dict().items()}, name
        cfg, expected = published_cfg(POOLFORMER.rows()[name]), theirs.pretrained_cfg
        for key in (
            "interpolation",
            "crop_pct",
            "crop_mode",
            "num_classes",
            "input_size",
            "tag",
            "mean",
            "std",
        ):
            assert cfg[key] == expected[key], (name, key)
    scales = {row["name"]: row["layer_scale"] for row in POOLFORMER.rows().values()}
    for name in ("poolformer_s12", "poolformer_s36"):
        theirs = timm.create_model(name)
        start = theirs.stages[0].blocks[0].layer_scale1.scale[0].item()
        assert float(scales[name]) == pytest.approx(start)


@pytest.mark.parametrize("size", [(32, 32), (45, 70)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool_size": 5, "mlp_ratio": 2.5, "hidden_act": "relu"},
        {"use_layer_scale": False},
        {"patch_sizes": [5, 5, 5], "strides": [2, 3, 3], "padding": [1, 2, 2]},
    ],
    ids=str,
)
def test_transformers_logits_and_gradients(options, size: tuple[int, int], tmp_path: Path) -> None:
    theirs = hugging_face(**options)
    theirs.save_pretrained(tmp_path)
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path)
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    assert_equal(ours, theirs, lambda answer: answer.logits, size)


@pytest.mark.parametrize(
    "change",
    [{"strides": [4, 2, 1]}, {"invented": 3}, {"architectures": ["PoolFormerModel"]}],
    ids=str,
)
def test_what_is_not_read_of_a_config_is_refused(change, tmp_path: Path) -> None:
    hugging_face().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UserError, match="strides|invented|PoolFormerModel"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("crop_pct", [None, 0.8])
def test_pixels_are_those_of_transformers(crop_pct: float | None, tmp_path: Path) -> None:
    hugging_face().save_pretrained(tmp_path)
    processor = transformers.PoolFormerImageProcessor(
        **({} if crop_pct is None else {"crop_pct": crop_pct})
    )
    if crop_pct is not None:
        processor.save_pretrained(tmp_path)
    picture = Image.effect_noise((372, 248), 60).convert("RGB")
    [want] = processor(picture, return_tensors="pt")["pixel_values"]
    cfg = from_pretrained(tmp_path).pretrained_cfg
    got = evaluation_transform(Preprocessing.from_cfg(cfg))(picture)
    assert got.shape == want.shape
    assert (got - want).abs().mean() <= 0.25 / 255 / min(cfg["std"])


def test_averages_carry_a_change_to_the_neighbours_and_other_mixers_take_their_place() -> None:
    torch.manual_seed(0)
    model = PoolFormer(image_size=32, num_classes=2, dims=(8, 16), depths=(1, 1), layer_scale=1.0)
    x, layout = model.embedding(torch.randn(1, 3, 32, 32))
    block = model.stages[0].blocks[0]
    mixed = block.mixer.function(x, layout)[0]
    other = x.clone()
    other[0, 27] += 1.0  # row 3, column 3 of 8 x 8
    moved = (block.mixer.function(other, layout)[0] - mixed).abs().amax(1) > 1e-6
    rows, columns = moved.unflatten(0, (8, 8)).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 4, 2, 4)
    attends = PoolFormer(dims=(8, 16), depths=(1, 1), heads=(2, 4), mixer=SelfAttention)
    assert attends(torch.randn(1, 3, 32, 32)).shape == (1, 1000)
