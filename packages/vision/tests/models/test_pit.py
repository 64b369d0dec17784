"""PiT against timm: same weights, same logits, same gradients, through files."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.pit import PoolingVisionTransformer
from torch import nn

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained
from headway.vision.layers import ConvPooling
from headway.vision.models import DistilledPiT, PiT, create_model, list_models
from headway.vision.models.families import published_cfg
from headway.vision.models.pit import PIT, pit_table
from headway.vision.models.vit_distilled import DistilledLogits


def noisy(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def timms(size: tuple[int, int], **options) -> nn.Module:
    sizes = {"base_dims": (8, 8, 8), "depth": (1, 2, 1), "heads": (2, 4, 8), "num_classes": 5}
    return noisy(
        PoolingVisionTransformer(img_size=size, patch_size=16, stride=8, **sizes, **options)
    )


@pytest.mark.parametrize("distilled", [False, True], ids=["plain", "distilled"])
@pytest.mark.parametrize("size", [(64, 64), (70, 101)])
def test_a_bare_file_gives_timms_logits_and_gradients(size, distilled, tmp_path: Path) -> None:
    theirs, file = timms(size, distilled=distilled), tmp_path / "model.safetensors"
    save_file(theirs.state_dict(), file)
    check_round_trip(file, tmp_path / "back")
    ours = from_pretrained(file).eval()
    assert type(ours) is (DistilledPiT if distilled else PiT)
    assert not ours.load_report.missing
    assert not ours.load_report.unexpected
    # Heads stand in no tensor: those of the smallest member, here two of 8 channels each.
    for stage, heads in zip(ours.stages, (2, 4, 8), strict=True):
        assert [block.mixer.function.heads for block in stage.blocks] == [heads] * len(stage.blocks)
    images = torch.randn(2, 3, *size)
    mine, other = ours(images), theirs(images)
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().sum().backward()
    other.square().sum().backward()
    table = pit_table(ours.tokens.position.grid, distilled=distilled)
    expected = table.to_ours({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        assert (parameter.grad - expected[name]).norm() / expected[name].norm() < 1e-4, name


def test_a_folder_of_timm_can_be_changed_and_official_names_are_read(tmp_path: Path) -> None:
    theirs = timm.create_model("pit_ti_224", num_classes=3).eval()
    timm.models.save_for_hf(theirs, tmp_path / "timm", safe_serialization=True)
    ours, images = from_pretrained(tmp_path / "timm").eval(), torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)
    changed = from_pretrained(tmp_path / "timm", num_classes=2, channels=1, image_size=96).eval()
    save_pretrained(changed, tmp_path / "ours")
    again, images = from_pretrained(tmp_path / "ours").eval(), torch.randn(1, 1, 96, 80)
    torch.testing.assert_close(again(images), changed(images))
    official = {}
    for key, value in theirs.state_dict().items():
        _, stage, rest = [*key.split(".", 2), "", ""][:3]
        if rest.startswith("pool."):
            key = f"pools.{int(stage) - 1}.{rest.removeprefix('pool.')}"
        official[key] = value
    torch.save(official, tmp_path / "pit.pth")
    images = torch.randn(1, 3, 224, 224)
    read = from_pretrained(tmp_path / "pit.pth").eval()
    torch.testing.assert_close(read(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_every_published_name_has_timms_keys_and_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *args, **options: tensor)
    names = sorted(timm.list_models("pit_*"))
    assert list_models("pit_*") == names
    for name in names:
        with torch.device("meta"):
            ours, theirs = create_model(name), timm.create_model(name)
        table = pit_table(ours.tokens.position.grid, distilled="distilled" in name)
        mine = {key: tuple(v.shape) for key, v in table.to_theirs(ours.state_dict()).items()}
        assert mine == {key: tuple(v.shape) for key, v in theirs.state_dict().items()}, name
        heads = [stage.blocks[0].mixer.function.heads for stage in ours.stages]
        assert heads == [stage.blocks[0].attn.num_heads for stage in theirs.transformers], name
        cfg, expected = published_cfg(PIT.rows()[name]), theirs.pretrained_cfg
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


def test_features_are_timms() -> None:
    theirs = timms((64, 64))
    row = {**PIT.tiny_row(), "dims": "16,32,64", "depths": "1,2,1", "heads": "2,4,8"}
    ours = PIT.build(row, image_size=64, num_classes=5).eval()
    ours.load_state_dict(pit_table((7, 7), distilled=False).to_ours(theirs.state_dict()))
    images = torch.randn(1, 3, 64, 64)
    final, maps = ours.forward_intermediates(images)
    tokens, others = theirs.forward_intermediates(images)
    torch.testing.assert_close(final[:, :1], tokens, atol=1e-5, rtol=1e-5)
    for one, other in zip(maps, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_in_training_a_distilled_model_returns_both() -> None:
    row = {**PIT.tiny_row(), "distilled": "1"}
    model = PIT.build(row, image_size=32, num_classes=3)
    both = model.train()(torch.randn(2, 3, 32, 32))
    assert isinstance(both, DistilledLogits)
    model.reset_classifier(4)
    assert [len(one.weight) for one in model.get_classifier()] == [4, 4]
    assert model.eval()(torch.randn(2, 3, 40, 32)).shape == (2, 4)


def test_pooling_reads_three_neighbours_of_each_channel_alone() -> None:
    torch.manual_seed(0)
    pool, layout = ConvPooling(2, 4), Layout(grid=(6, 6), prefix=1)
    x = torch.randn(1, 37, 2)
    pooled, halved = pool(x, layout)
    assert halved.grid == (3, 3)
    other = x.clone()
    other[0, 1 + 2 * 6 + 2, 0] += 1.0  # row 2, column 2: the middle of one kernel, in no other
    moved = (pool(other, layout)[0] - pooled)[0].abs() > 1e-7
    assert moved.nonzero().tolist() == [[1 + 4, 0], [1 + 4, 1]]
    with pytest.raises(UserError, match="a multiple"):
        ConvPooling(4, 6)
