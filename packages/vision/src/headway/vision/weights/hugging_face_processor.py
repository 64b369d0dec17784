"""What pictures go through before a model of Hugging Face, in the words of ``pretrained_cfg``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headway.core.errors import UserError
from headway.core.reading import read_json
from headway.core.weights.noted_config import NotedConfig
from headway.vision.models.pretrained_cfg import MEAN_STD

# Numbers of Pillow's filters.
FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
FILE = "preprocessor_config.json"
_HALF, _IMAGENET, _CLIP = (MEAN_STD[name] for name in ("half", "imagenet", "clip"))


def _defaults(
    size: dict[str, int],
    mean_std: tuple[tuple[float, ...], tuple[float, ...]],
    *,
    resample: int = 3,
    crop: bool = False,
) -> dict[str, Any]:
    mean, std = mean_std
    cropped = {"crop_size": {"height": 224, "width": 224}} if crop else {}
    return {
        "size": size,
        "resample": resample,
        "image_mean": mean,
        "image_std": std,
        "do_center_crop": crop,
        **cropped,
    }


_SQUARE = {"height": 224, "width": 224}
# What the processor of a class does where its file says nothing.
PROCESSORS = {
    "ViT": _defaults(_SQUARE, _HALF, resample=2),
    "ViTFeatureExtractor": _defaults(_SQUARE, _HALF, resample=2),
    "DeiT": _defaults({"height": 256, "width": 256}, _HALF, crop=True),
    "Bit": _defaults({"shortest_edge": 224}, _CLIP, crop=True),
    "CLIP": _defaults({"shortest_edge": 224}, _CLIP, crop=True),
    # The side that is resized to is the one named, divided by crop_pct.
    "PoolFormer": {**_defaults({"shortest_edge": 224}, _IMAGENET, crop=True), "crop_pct": 0.9},
}
# Where there is no file: what the published models of a type were trained with.
PUBLISHED = {
    "vit": PROCESSORS["ViT"],
    "deit": {**PROCESSORS["DeiT"], "image_mean": _IMAGENET[0], "image_std": _IMAGENET[1]},
    "swin": _defaults(_SQUARE, _IMAGENET),
    "hiera": _defaults({"shortest_edge": 256}, _IMAGENET, crop=True),
    "swinv2": _defaults({"height": 256, "width": 256}, _IMAGENET),
    "dinov2": _defaults({"shortest_edge": 256}, _IMAGENET, crop=True),
}
PUBLISHED["dinov2_with_registers"] = PUBLISHED["dinov2"]


def image_cfg(
    folder: Path, model_type: str, *, model_size: Any, published: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Returns mean, std, filter, size and crop of preprocessor_config.json, as ``pretrained_cfg`` has them.

    Args:
        folder: The checkpoint; without the file it is what the published models of the type do.
        model_type: As config.json says.
        model_size: Side, or height and width, that config.json names, for a file that says nothing.
        published: What published models do; as ``PUBLISHED`` says if None.

    Raises:
        UserError: If the file asks for something that is not done here.
    """
    file = folder / FILE
    if not file.is_file():
        size = (model_size, model_size) if isinstance(model_size, int) else tuple(model_size)
        usual = PUBLISHED[model_type] if published is None else published
        if size != (224, 224):  # only the size of the published ones is known
            usual = {
                **usual,
                "size": {"height": size[0], "width": size[1]},
                "do_center_crop": False,
                "crop_pct": None,
            }
        return _cfg(usual, str(file))
    config = NotedConfig(read_json(file), str(file))
    kind = str(config.get("image_processor_type", config.get("feature_extractor_type", "")))
    name = kind.removesuffix("Fast").removesuffix("Pil")
    name = name.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if name not in PROCESSORS:
        known = ", ".join(f"{one}ImageProcessor" for one in PROCESSORS)
        raise UserError(f"{file}: the processor {kind!r} is not known; known: {known}")
    usual = PROCESSORS[name]
    found = {
        key: config.get(key) if key in config else usual.get(key)
        for key in ("do_center_crop", *usual, "crop_size")
    }
    for flag in ("do_resize", "do_rescale"):
        if config.get(flag) is False:
            raise UserError(
                f"{file}: {flag}=false is not read; pictures are resized and scaled to 0..1"
            )
    factor = config.get("rescale_factor")
    if factor is not None and abs(float(factor) * 255 - 1) > 1e-6:
        raise UserError(f"{file}: rescale_factor={factor} is not read; pictures are divided by 255")
    if config.get("do_normalize") is False:
        found.update(image_mean=(0.0,) * 3, image_std=(1.0,) * 3)
    config.refuse_unread(str(file), defaults={"do_pad": False}, harmless=_HARMLESS)
    return _cfg(found, str(file))


_HARMLESS = ("do_convert_rgb", "processor_class", "_processor_class", "_valid_processor_keys", "device",
             "data_format", "input_data_format", "disable_grouping", "return_tensors", "default_to_square",
             "image_seq_length")  # fmt: skip


def _cfg(found: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Returns the words of ``pretrained_cfg`` for those of a processor."""
    size, crop = found["size"], found.get("crop_size")
    if isinstance(size, int):
        size = {"height": size, "width": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    resample = FILTERS.get(found["resample"])
    if resample is None:
        raise UserError(f"{file}: resample={found['resample']!r} is none of {FILTERS}")
    cfg: dict[str, Any] = {
        "mean": tuple(found["image_mean"]),
        "std": tuple(found["image_std"]),
        "interpolation": resample,
    }
    if found.get("crop_pct") is not None:
        size = {axis: int(side / found["crop_pct"]) for axis, side in size.items()}
    cropped = (crop["height"], crop["width"]) if found.get("do_center_crop") and crop else None
    if "shortest_edge" in size:
        if cropped is None or cropped[0] != cropped[1]:
            raise UserError(f"{file}: a shortest_edge without a square crop is not read")
        share = _share(cropped[0], size["shortest_edge"])
        return {**cfg, "size": cropped, "crop_pct": share, "crop_mode": "center"}
    try:
        height, width = size["height"], size["width"]
    except (KeyError, TypeError):
        raise UserError(
            f"{file}: size={size!r} is not read; known are height and width, or shortest_edge"
        ) from None
    cropped = cropped or (height, width)
    share = _share(cropped[0], height)
    if _share(cropped[1], width) != share:
        raise UserError(f"{file}: a crop of {cropped} out of {(height, width)} is not read")
    return {**cfg, "size": cropped, "crop_pct": share, "crop_mode": "squash"}


def processor_config(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the preprocessor_config.json that ``image_cfg`` reads as these words.

    Args:
        cfg: mean, std, interpolation, crop_pct, crop_mode and ``size`` (height, width).

    Raises:
        UserError: If no processor of transformers does the same.
    """
    height, width = cfg["size"]
    outer = [int(side / cfg["crop_pct"]) for side in (height, width)]
    cut = cfg["crop_pct"] != 1.0 or cfg["crop_mode"] == "center"
    resample = {name: number for number, name in FILTERS.items()}
    config = {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_center_crop": cut,
        "image_mean": list(cfg["mean"]),
        "image_std": list(cfg["std"]),
        "resample": resample[cfg["interpolation"]],
        "rescale_factor": 1 / 255,
    }
    crop = {"crop_size": {"height": height, "width": width}} if cut else {}
    if cfg["crop_mode"] == "squash":
        kind = "DeiTImageProcessor" if cut else "ViTImageProcessor"
        size = {"height": outer[0], "width": outer[1]}
    elif cfg["crop_mode"] == "center" and height == width:
        kind, size = "BitImageProcessor", {"shortest_edge": outer[0]}
    else:
        raise UserError(
            f"no processor of transformers cuts {height}x{width} out with crop_mode={cfg['crop_mode']!r}"
        )
    return {"image_processor_type": kind, "size": size, **crop, **config}


def _share(inner: int, outer: int) -> float:
    """Returns the share of a side that a crop keeps, such that ``floor(inner / share)`` is ``outer``."""
    # Just below, so that the division does not end under the whole number.
    return min(1.0, inner / (outer + 1e-6)) if inner != outer else 1.0
