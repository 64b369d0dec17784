"""CaiT against timm: same weights, same logits, same gradients, through files."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.cait import Cait
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.models import CaiT, ViT, create_model, list_models
from headway.vision.models.cait import CAIT
from headway.vision.models.families import published_cfg

SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}


def timms(**options) -> nn.Module:
    torch.manual_seed(0)
    model = Cait(**{"img_size": 32, "patch_size": 8, **SIZES, "init_values": 0.5, **options}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def saved(theirs: nn.Module, file: Path) -> Path:
    save_file({name: value.contiguous() for name, value in theirs.state_dict().items()}, file)
    return file


def pictures(*size: int) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def assert_equal(ours: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    """Logits to 1e-5, and the gradient of every parameter to 1e-4 of its norm."""
    mine, other = ours.eval()(images), theirs(images)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().sum().backward()
    other.square().sum().backward()
    grads = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        expected = torch.cat([grads[key] for key in CAIT.timm.theirs(name)])
        assert (parameter.grad - expected).norm() <= 1e-4 * expected.norm() + 1e-5, name


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 16)])
def test_a_bare_file_of_timm_gives_timms_answers_and_gradients(
    size: tuple[int, int], tmp_path: Path
) -> None:
    theirs = timms(img_size=size)
    file = saved(theirs, tmp_path / "model.safetensors")
    config = {
        "architecture": "cait_xxs24_224",
        "model_args": {"img_size": list(size)},
        "pretrained_cfg": {"input_size": [3, *size]},
    }
    if size[0] != size[1]:  # shapes alone tell a square one
        (tmp_path / "config.json").write_text(json.dumps(config))
    ours = from_pretrained(file)
    assert isinstance(ours, CaiT)
    assert ours.load_report.missing == ours.load_report.unexpected == ()
    assert_equal(ours, theirs, pictures(*size))
    check_round_trip(file, tmp_path / "back")


def test_another_size_of_pictures_resizes_positions_and_changes_survive_a_folder(
    tmp_path: Path,
) -> None:
    ours = from_pretrained(saved(timms(), tmp_path / "model.safetensors"), image_size=48)
    assert ours.eval()(pictures(24, 56)).shape == (2, 5)
    ours.reset_classifier(2, "avg")
    save_pretrained(ours, tmp_path / "ours")
    again = from_pretrained(tmp_path / "ours").eval()
    assert again.global_pool == "avg"
    torch.testing.assert_close(again(pictures(48, 48)), ours(pictures(48, 48)))
    with pytest.raises(UserError, match="does not support offsets"):
        ours([torch.randn(3, 32, 32)])


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_folder_of_timm_is_read_as_it_is_configured_or_refused(pool: str, tmp_path: Path) -> None:
    theirs = timms(global_pool=pool)
    saved(theirs, tmp_path / "model.safetensors")
    config = {
        "architecture": "cait_xxs24_224",
        "num_classes": 5,
        "num_features": 24,
        "global_pool": pool,
        "model_args": {
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 24,
            "depth": 3,
            "num_heads": 3,
        },
        "pretrained_cfg": {"input_size": [3, 32, 32]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_equal(from_pretrained(tmp_path), theirs, pictures(32, 32))
    for change in ({"global_pool": "map"}, {"model_args": {"depth_token_only": 3}}):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match="which is not read"):
            from_pretrained(tmp_path)


def test_features_of_every_block_equal_timms(tmp_path: Path) -> None:
    theirs = timms()
    ours = from_pretrained(saved(theirs, tmp_path / "model.safetensors")).eval()
    expected, maps = theirs.forward_intermediates(pictures(32, 32), norm=True)
    final, taken = ours.forward_intermediates(pictures(32, 32), norm=True)
    torch.testing.assert_close([final, *taken], [expected, *maps], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        ours.forward_head(final), theirs.forward_head(expected), atol=1e-5, rtol=1e-5
    )
    assert ours.no_weight_decay() == {"class_token", "tokens.position.table"}


def test_every_published_name_has_timms_keys_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *args, **options: tensor)
    names = timm.list_models("cait_*")
    assert list_models("cait_*") == names
    for name in names:
        with torch.device("meta"):
            ours, theirs = create_model(name), timm.create_model(name)
        mine = CAIT.timm.to_theirs(ours.state_dict())
        shapes = {key: value.shape for key, value in theirs.state_dict().items()}
        assert {key: value.shape for key, value in mine.items()} == shapes, name
        cfg, expected = published_cfg(CAIT.rows()[name]), theirs.pretrained_cfg
        for key in ("interpolation", "crop_pct", "num_classes", "input_size", "tag", "mean", "std"):
            assert cfg[key] == expected[key], (name, key)
    scales = {row["name"]: row["layer_scale"] for row in CAIT.rows().values()}
    for name in ("cait_xxs24_224", "cait_s36_384"):
        start = timm.create_model(name).blocks[0].gamma_1[0].item()
        assert float(scales[name]) == pytest.approx(start)


def test_plain_parts_in_the_place_of_its_own_give_other_answers(tmp_path: Path) -> None:
    theirs = timms()
    ours = from_pretrained(saved(theirs, tmp_path / "model.safetensors")).eval()
    images, expected = pictures(32, 32), theirs(pictures(32, 32))
    torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-5)
    block = ours.encoder.blocks[0].mixer
    talking, block.function = block.function, SelfAttention(24, 3)
    block.function.load_state_dict(
        {k: v for k, v in talking.state_dict().items() if not k.startswith("mix_")}
    )
    assert (ours(images) - expected).abs().max() > 1e-3
    block.function = talking
    # Class attention whose feed-forward and residuals reach the patches, too.
    reader = ours.reader.blocks[0]
    plain = PreNormBlock(24, 3, layer_scale=1.0)
    plain.mixer, plain.feedforward = reader.mixer, reader.feedforward
    ours.reader.blocks[0] = plain
    assert (ours(images) - expected).abs().max() > 1e-3


def test_every_block_has_the_same_rate_of_stochastic_depth_and_a_vit_takes_them_one_by_one() -> (
    None
):
    model = CAIT.build({**CAIT.tiny_row(), "depth": "2"}, drop_path=0.2)
    rates = [block.mixer.drop_path.rate for block in model.encoder.blocks]
    assert rates == [0.2, 0.2]
    with pytest.raises(UserError, match="1 rates for 2 blocks"):
        ViT(image_size=32, dim=24, depth=2, heads=3, drop_path=[0.1])
