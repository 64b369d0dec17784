"""What the files beside published weights say is obeyed, or refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from headway.core.errors import UserError
from headway.core.weights import from_pretrained
from headway.vision.data.preprocessing import Preprocessing
from headway.vision.data.transforms import evaluation_transform

T = transformers
SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}
MODELS = {
    "vit": lambda: T.ViTForImageClassification(
        T.ViTConfig(**SMALL, intermediate_size=48, image_size=32, patch_size=8)
    ),
    "deit": lambda: T.DeiTForImageClassification(
        T.DeiTConfig(**SMALL, intermediate_size=48, image_size=32, patch_size=8)
    ),
    "dinov2": lambda: T.Dinov2ForImageClassification(
        T.Dinov2Config(**SMALL, mlp_ratio=2, image_size=32, patch_size=8)
    ),
    "dinov2_with_registers": lambda: T.Dinov2WithRegistersForImageClassification(
        T.Dinov2WithRegistersConfig(**SMALL, mlp_ratio=2, image_size=32, patch_size=8)
    ),
    "swin": lambda: T.SwinForImageClassification(
        T.SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, image_size=32,
                     patch_size=2, num_labels=3)
    ),
}  # fmt: skip


def folder(tmp_path: Path, kind: str) -> Path:
    torch.manual_seed(0)
    model = MODELS[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval().save_pretrained(tmp_path)
    return tmp_path


def edit(file: Path, **changes) -> None:
    content = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**content, **changes}))


def photo(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


PROCESSORS = {
    "vit": [
        {"size": {"height": 32, "width": 32}},
        {"size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
        {"size": {"height": 32, "width": 32}, "resample": 3, "do_normalize": False},
    ],
    "deit": [{"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}],
    "dinov2": [
        {"size": {"shortest_edge": 37}, "crop_size": {"height": 32, "width": 32}},
        {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 2},
    ],
}  # fmt: skip
CLASSES = {"vit": "ViTImageProcessor", "deit": "DeiTImageProcessor", "dinov2": "BitImageProcessor"}


@pytest.mark.parametrize(
    ("kind", "place"),
    [(kind, place) for kind in PROCESSORS for place in range(len(PROCESSORS[kind]))],
)
@pytest.mark.parametrize("shape", [(64, 48), (48, 80), (40, 40)])
def test_pixels_are_those_of_transformers(kind, place, shape, tmp_path: Path) -> None:
    processor = getattr(T, CLASSES[kind])(**PROCESSORS[kind][place])
    processor.save_pretrained(folder(tmp_path, kind))
    model = from_pretrained(tmp_path)
    picture = photo(*shape)
    [want] = processor(picture, return_tensors="pt")["pixel_values"]
    got = evaluation_transform(Preprocessing.from_cfg(model.pretrained_cfg))(picture)
    assert got.shape == want.shape
    # Two libraries round the pixels of a resize to whole numbers: at most one apart, .16 on the average.
    std = min(model.pretrained_cfg["std"])
    assert (got - want).abs().max() <= 1.01 / 255 / std
    assert (got - want).abs().mean() <= 0.25 / 255 / std


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"do_resize": False}, "do_resize=false"),
        ({"rescale_factor": 1.0}, "rescale_factor=1.0"),
        ({"do_rescale": False}, "do_rescale=false"),
        ({"size": {"longest_edge": 40}}, "size="),
        ({"do_flip_channel_order": True}, "do_flip_channel_order=True"),
        (
            {"image_processor_type": "SomebodysImageProcessor"},
            "'SomebodysImageProcessor' is not known",
        ),
    ],
)
def test_a_processor_that_is_not_known_is_refused(change, reason, tmp_path: Path) -> None:
    T.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder(tmp_path, "vit"))
    edit(tmp_path / "preprocessor_config.json", **change)
    with pytest.raises(UserError, match=reason):
        from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("vit", {"hidden_dropout_prob": 0.3}),
        ("vit", {"invented": 7}),
        ("deit", {"attention_probs_dropout_prob": 0.1}),
        ("dinov2", {"apply_layernorm": False}),
        ("swin", {"hidden_dropout_prob": 0.3}),
        ("swin", {"architectures": ["SwinForMaskedImageModeling"]}),
        ("vit", {"architectures": ["ViTMAEForPreTraining"]}),
    ],
)
def test_keys_that_nobody_reads_are_refused(kind, change, tmp_path: Path) -> None:
    edit(folder(tmp_path, kind) / "config.json", **change)
    [(name, value)] = change.items()
    with pytest.raises(UserError, match=value[0] if isinstance(value, list) else name):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_with_registers"])
@pytest.mark.parametrize("size", [(16, 24), (40, 48)])
def test_another_picture_size_equals_transformers(kind, size, tmp_path: Path) -> None:
    theirs = MODELS[kind]()
    theirs = type(theirs).from_pretrained(folder(tmp_path, kind)).eval()
    ours = from_pretrained(tmp_path).eval()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits, atol=1e-5, rtol=1e-5)


def timm_folder(tmp_path: Path, **args) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=32, depth=12, **args)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_file(model.eval().state_dict(), tmp_path / "model.safetensors")
    edit(
        tmp_path / "config.json",
        architecture="vit_tiny_patch16_224",
        num_classes=3,
        num_features=192,
        global_pool=args.get("global_pool", "token"),
        model_args={"img_size": 32, **args},
        pretrained_cfg={"input_size": [3, 32, 32]},
    )
    return model


@pytest.mark.parametrize(
    "args",
    [
        {"num_heads": 6},
        {"global_pool": "avg"},
        {"global_pool": "avg", "fc_norm": False},
        {"fc_norm": True},
    ],
    ids=str,
)
def test_arguments_of_a_timm_folder_are_obeyed(args, tmp_path: Path) -> None:
    theirs = timm_folder(tmp_path, **args)
    ours = from_pretrained(tmp_path).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=1e-5)


def test_arguments_that_no_model_here_has_are_refused(tmp_path: Path) -> None:
    timm_folder(tmp_path, qk_norm=True, init_values=0.1)
    edit(tmp_path / "config.json", model_args={"scale_attn_norm": True})
    with pytest.raises(UserError, match="model_args scale_attn_norm=True, which is not read"):
        from_pretrained(tmp_path)
    edit(tmp_path / "config.json", model_args={})
    # Without a word about them their tensors tell: none is dropped in silence.
    with pytest.raises(
        UserError, match="holds 72 tensors that ViT as it was configured has no place"
    ):
        from_pretrained(tmp_path)
    state = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if "_norm" not in k}
    save_file(state, tmp_path / "model.safetensors")
    edit(tmp_path / "config.json", global_pool="max")
    with pytest.raises(UserError, match="global_pool='max', which is not read"):
        from_pretrained(tmp_path)
