"""Checkpoints as timm and Hugging Face write them, read back and compared."""

import json
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn

from headway.core.errors import UserError
from headway.core.finetune import LoRA
from headway.core.mixers import SelfAttention
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, open_checkpoint, save_pretrained, save_published
from headway.core.weights.pretrained import find_adapter
from headway.vision.models import DistilledViT, ViT, create_model
from headway.vision.weights.hugging_face_processor import FILE, image_cfg, processor_config

COMMON = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 7,
}
T = transformers
HF = {
    "vit": (T.ViTForImageClassification, T.ViTConfig(**COMMON, intermediate_size=96)),
    "vit, no bias, epsilon": (
        T.ViTForImageClassification,
        T.ViTConfig(**COMMON, intermediate_size=80, qkv_bias=False, layer_norm_eps=1e-3, hidden_act="quick_gelu"),
    ),
    "vit, wide pictures": (
        T.ViTForImageClassification,
        T.ViTConfig(**{**COMMON, "image_size": (16, 40), "num_channels": 1}, intermediate_size=96),
    ),
    "deit": (T.DeiTForImageClassification, T.DeiTConfig(**COMMON, intermediate_size=96)),
    "deit, teacher": (
        T.DeiTForImageClassificationWithTeacher,
        T.DeiTConfig(**COMMON, intermediate_size=96),
    ),
    "dinov2": (T.Dinov2ForImageClassification, T.Dinov2Config(**COMMON, mlp_ratio=2)),
    "dinov2, swiglu": (
        T.Dinov2ForImageClassification,
        T.Dinov2Config(**COMMON, use_swiglu_ffn=True, layerscale_value=0.3),
    ),
    "dinov2, registers": (
        T.Dinov2WithRegistersForImageClassification,
        T.Dinov2WithRegistersConfig(**COMMON, num_register_tokens=3),
    ),
}  # fmt: skip


def noisy(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("generation", ["as saved", "4.x", "5.x"])
@pytest.mark.parametrize("name", HF)
def test_hugging_face_logits_and_gradients(name: str, generation: str, tmp_path: Path) -> None:
    kind, config = HF[name]
    theirs = noisy(kind(config))
    theirs.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    if generation == "5.x":  # the names of the modules themselves
        save_file(
            {k: v.contiguous() for k, v in theirs.state_dict().items()},
            tmp_path / "model.safetensors",
        )
    if generation == "4.x":  # what 5.x still writes; the test fails when that changes
        assert any(".attention.attention.query." in key for key in saved)
    ours = from_pretrained(tmp_path).eval()
    report = ours.load_report
    assert not report.missing
    assert not report.unexpected
    assert len(report.loaded) == len(ours.state_dict())
    size = (
        config.image_size
        if isinstance(config.image_size, (tuple, list))
        else (config.image_size,) * 2
    )
    images = torch.randn(2, config.num_channels, *size)
    mine, other = ours(images), theirs(images).logits
    torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
    mine.square().sum().backward()
    other.square().sum().backward()
    mine_qkv = ours.encoder.blocks[0].mixer.function.qkv.weight.grad
    their = {k: p.grad for k, p in theirs.named_parameters()}
    parts = [
        next(g for k, g in their.items() if k.endswith(f"0.attention.{p}_proj.weight"))
        for p in "qkv"
    ]
    expected = torch.cat(parts)
    assert (mine_qkv - expected).norm() / expected.norm() < 1e-4
    patch = next(g for k, g in their.items() if k.endswith("projection.weight"))
    assert (ours.embedding.weight.grad - patch).norm() / patch.norm() < 1e-4


def test_a_teacher_model_keeps_both_heads(tmp_path: Path) -> None:
    kind, config = HF["deit, teacher"]
    theirs = noisy(kind(config))
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, DistilledViT)
    images = torch.randn(2, 3, 32, 32)
    both, other = ours.train()(images), theirs(images)
    torch.testing.assert_close(both.logits, other.cls_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        both.distillation_logits, other.distillation_logits, atol=1e-5, rtol=1e-5
    )


def hub_folder(folder: Path, name: str, **options: object) -> nn.Module:
    """Writes a folder as timm's push_to_hf_hub does."""
    theirs = noisy(timm.create_model(name, **options))
    timm.models.save_for_hf(theirs, folder, safe_serialization=True)
    return theirs


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"num_classes": 5}),
        ("vit_tiny_patch16_224", {"img_size": (64, 96), "num_classes": 3}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}),
        ("deit_tiny_distilled_patch16_224", {}),
    ],
)
def test_a_timm_folder_gives_the_same_logits(name: str, options: dict, tmp_path: Path) -> None:
    theirs = hub_folder(tmp_path, name, **options)
    ours = from_pretrained(tmp_path).eval()
    images = torch.randn(1, *ours.pretrained_cfg["input_size"])
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)
    assert not ours.load_report.unexpected
    assert ours.pretrained_cfg["mean"] == tuple(theirs.pretrained_cfg["mean"]) or list(
        ours.pretrained_cfg["mean"]
    ) == list(theirs.pretrained_cfg["mean"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_bare_file_is_recognised_by_its_shapes(suffix: str, tmp_path: Path) -> None:
    theirs = noisy(timm.create_model("deit_tiny_patch16_224", num_classes=4))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":  # as DeiT's official files
        torch.save({"model": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, path)
    else:
        save_file(theirs.state_dict(), path)
    ours = from_pretrained(path).eval()
    images = torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_shapes_that_fit_several_models_ask_for_the_architecture(tmp_path: Path) -> None:
    theirs = timm.create_model("vit_base_patch16_siglip_gap_224", depth=1)
    save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="architecture="):
        from_pretrained(tmp_path / "x.safetensors")


def test_fine_tuning_replaces_the_head_resizes_positions_and_reports_both(tmp_path: Path) -> None:
    hub_folder(tmp_path, "vit_tiny_patch16_224")
    ours = from_pretrained(tmp_path, num_classes=3, image_size=64)
    assert ours(torch.randn(1, 3, 64, 64)).shape == (1, 3)
    assert ours.load_report.reinitialised == ("head.classifier.bias", "head.classifier.weight")
    assert ours.load_report.resized == ("tokens.position.table",)
    assert len(ours.load_report.loaded) == len(ours.state_dict()) - 3
    assert "2 reinitialised" in str(ours.load_report)


def test_resized_positions_equal_timms(tmp_path: Path) -> None:
    theirs = hub_folder(tmp_path, "vit_tiny_patch16_224")
    theirs.set_input_size(img_size=(96, 64))
    ours = from_pretrained(tmp_path, image_size=(96, 64))
    torch.testing.assert_close(ours.tokens.position.table, theirs.pos_embed, atol=1e-6, rtol=1e-5)


def test_what_was_fine_tuned_comes_back_from_our_own_folder(tmp_path: Path) -> None:
    hub_folder(tmp_path / "theirs", "vit_tiny_patch16_224")
    ours = from_pretrained(tmp_path / "theirs", num_classes=3, image_size=64, channels=1).eval()
    save_pretrained(ours, tmp_path / "ours")
    again = from_pretrained(tmp_path / "ours").eval()
    images = torch.randn(1, 1, 64, 64)
    assert torch.equal(again(images), ours(images))
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["init_args"]["image_size"] == [64, 64]


def test_create_model_loads_a_checkpoint_into_another_head(tmp_path: Path) -> None:
    theirs = hub_folder(tmp_path, "vit_tiny_patch16_224")
    ours = create_model(
        "vit_tiny_patch16_224", checkpoint_path=tmp_path, num_classes=0, img_size=224
    )
    assert isinstance(ours, ViT)
    images = torch.randn(1, 3, 224, 224)
    expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    torch.testing.assert_close(ours.eval()(images), expected, atol=2e-5, rtol=1e-5)


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*args: object, **options: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match="timm/nothing is no file or folder here, and the hub"):
        from_pretrained("timm/nothing")


@pytest.mark.parametrize("name", HF)
def test_a_folder_of_transformers_is_written_back_as_it_was(name: str, tmp_path: Path) -> None:
    kind, config = HF[name]
    noisy(kind(config)).save_pretrained(tmp_path / "theirs")
    # What registers do not see is folded into the class token.
    table, token = (
        f"dinov2_with_registers.embeddings.{x}" for x in ("position_embeddings", "cls_token")
    )
    summed = (table, token) if "registers" in name else ()
    written = check_round_trip(tmp_path / "theirs", tmp_path / "back", summed=summed)
    images = torch.randn(
        2,
        config.num_channels,
        *([config.image_size] * 2 if isinstance(config.image_size, int) else config.image_size),
    )
    with torch.no_grad():
        sides = [
            kind.from_pretrained(folder).eval()(images).logits
            for folder in (tmp_path / "theirs", written)
        ]
    torch.testing.assert_close(*sides, atol=1e-6 if summed else 0.0, rtol=0.0)


def test_files_of_the_base_model_and_of_the_older_generation_keep_their_names(
    tmp_path: Path,
) -> None:
    kind, config = HF["vit"]
    noisy(kind(config).vit).save_pretrained(tmp_path / "base")
    check_round_trip(tmp_path / "base", tmp_path / "base back")
    noisy(kind(config)).save_pretrained(tmp_path / "new")
    ours = from_pretrained(tmp_path / "new")
    adapter = find_adapter(open_checkpoint(tmp_path / "new"))
    for generation in (0, 1):
        state = adapter.table(open_checkpoint(tmp_path / "new"), ours).to_theirs(
            ours.state_dict(), ours, names=OLDER[generation]
        )
        assert OLDER[generation] <= state.keys()
        save_file(
            {k: v.contiguous() for k, v in state.items()}, tmp_path / "new" / "model.safetensors"
        )
        check_round_trip(tmp_path / "new", tmp_path / f"new back {generation}")


OLDER = (
    {"vit.encoder.layer.0.attention.attention.query.bias", "vit.encoder.layer.0.attention.attention.key.bias",
     "vit.encoder.layer.0.attention.attention.value.bias"},
    {"vit.layers.0.attention.q_proj.bias", "vit.layers.0.attention.k_proj.bias", "vit.layers.0.attention.v_proj.bias"},
)  # fmt: skip


def test_what_was_fine_tuned_loads_in_transformers(tmp_path: Path) -> None:
    kind, config = HF["vit"]
    noisy(kind(config)).save_pretrained(tmp_path / "theirs")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(
        tmp_path / "theirs"
    )
    ours = from_pretrained(tmp_path / "theirs", num_classes=3, image_size=48).eval()
    lora = LoRA(targets=("q", "v"), rank=2)
    lora.apply(ours)
    noisy(ours)
    save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    back, images = kind.from_pretrained(tmp_path / "out").eval(), torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(back(images).logits, ours(images), atol=1e-6, rtol=1e-5)
    assert back.config.num_labels == 3
    processor = transformers.ViTImageProcessor.from_pretrained(tmp_path / "out")
    assert processor.size == {"height": 48, "width": 48}
    again = from_pretrained(tmp_path / "out").eval()
    assert again.pretrained_cfg["input_size"] == (3, 48, 48)
    torch.testing.assert_close(again(images), ours(images), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "vit_small_patch14_reg4_dinov2"],
)
def test_a_folder_of_timm_is_written_back_and_what_was_fine_tuned_loads_in_timm(
    name: str, tmp_path: Path
) -> None:
    hub_folder(tmp_path / "theirs", name, num_classes=5)
    check_round_trip(tmp_path / "theirs", tmp_path / "back")
    ours = noisy(
        from_pretrained(tmp_path / "theirs", num_classes=3, image_size=56, channels=1)
        if "14" in name
        else from_pretrained(tmp_path / "theirs", num_classes=3, image_size=64)
    )
    save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randn(2, *ours.pretrained_cfg["input_size"])
    torch.testing.assert_close(theirs(images), ours(images), atol=1e-6, rtol=1e-5)
    assert theirs.pretrained_cfg["num_classes"] == 3


def test_what_a_format_cannot_say_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    hub_folder(tmp_path / "theirs", "vit_tiny_patch16_224")
    args = from_pretrained(tmp_path / "theirs").init_args
    ours = ViT(**{**args, "mixer": partial(SelfAttention, causal=True)})
    with pytest.raises(UserError, match="cannot hold this ViT: causal of its encoder.blocks.0"):
        save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    assert not (tmp_path / "out").exists()
    other = ViT(image_size=32, num_classes=3, dim=24, depth=1, heads=3, layer_scale=0.1)
    with pytest.raises(UserError, match="cannot hold|does not fit|place|do not belong"):
        save_published(other, tmp_path / "out", like=tmp_path / "theirs")
    swin = create_model("swin_tiny_patch4_window7_224")
    with pytest.raises(UserError, match="holds a ViT, which a Swin cannot be written like"):
        save_published(swin, tmp_path / "out", like=tmp_path / "theirs")


@pytest.mark.parametrize(
    "cfg",
    [
        {"crop_mode": "squash", "crop_pct": 1.0, "size": (32, 48)},
        {"crop_mode": "squash", "crop_pct": 0.875, "size": (224, 224)},
        {"crop_mode": "center", "crop_pct": 0.9, "size": (224, 224)},
    ],
)
def test_words_of_pictures_return_from_a_processor(cfg: dict, tmp_path: Path) -> None:
    cfg = {**cfg, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "interpolation": "bicubic"}
    (tmp_path / FILE).write_text(json.dumps(processor_config(cfg)))
    found = image_cfg(tmp_path, "vit", model_size=224)
    assert found["crop_pct"] == pytest.approx(cfg.pop("crop_pct"), abs=0.005)
    assert {key: found[key] for key in cfg} == cfg
