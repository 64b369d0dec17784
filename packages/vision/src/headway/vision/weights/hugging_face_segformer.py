"""Reading SegFormer checkpoints of Hugging Face transformers, 4.x and 5.x, and those of its encoder."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import NotedConfig, with_changes
from headway.core.weights.table import Table, rename, under
from headway.vision.models.mix_transformer import MixTransformer
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.segformer import SegFormer
from headway.vision.weights.hugging_face_processor import FILE

_BLOCK = (
    rename("norm1.*", "layernorm_before.*", "layer_norm_1.*"),
    rename("norm2.*", "layernorm_after.*", "layer_norm_2.*"),
    rename("attention.query.*", "attention.q_proj.*", "attention.self.query.*"),
    rename("attention.key.*", "attention.k_proj.*", "attention.self.key.*"),
    rename("attention.value.*", "attention.v_proj.*", "attention.self.value.*"),
    rename("attention.out.*", "attention.o_proj.*", "attention.output.dense.*"),
    rename(
        "attention.reduce.*",
        "attention.sequence_reduction.sequence_reduction.*",
        "attention.self.sr.*",
    ),
    rename(
        "attention.norm.*",
        "attention.sequence_reduction.layer_norm.*",
        "attention.self.layer_norm.*",
    ),
    rename("feedforward.conv.*", "mlp.dwconv.dwconv.*"),
    rename("feedforward.fc{k}.*", "mlp.fc{k}.*", "mlp.dense{k}.*"),
)
_NEW, _OLD = "segformer.stages.", "segformer.encoder."
_STAGES = (
    rename(
        "stages.{s}.patches.*",
        f"{_NEW}{{s}}.patch_embeddings.proj.*",
        f"{_OLD}patch_embeddings.{{s}}.proj.*",
    ),
    rename(
        "stages.{s}.patch_norm.*",
        f"{_NEW}{{s}}.patch_embeddings.layer_norm.*",
        f"{_OLD}patch_embeddings.{{s}}.layer_norm.*",
    ),
    rename("stages.{s}.norm.*", f"{_NEW}{{s}}.layer_norm.*", f"{_OLD}layer_norm.{{s}}.*"),
    *under(
        "stages.{s}.blocks.{b}.",
        (f"{_NEW}{{s}}.blocks.{{b}}.", f"{_OLD}block.{{s}}.{{b}}."),
        *_BLOCK,
    ),
)
_HEAD = "decode_head."
_SEGMENTER = Table(
    *_STAGES,
    rename(
        "projections.{s}.*",
        f"{_HEAD}linear_projections.{{s}}.proj.*",
        f"{_HEAD}linear_c.{{s}}.proj.*",
    ),
    rename("fuse.*", f"{_HEAD}linear_fuse.*"),
    rename("norm.*", f"{_HEAD}batch_norm.*"),
    rename("classifier.*", f"{_HEAD}classifier.*"),
    prefix="segformer.",
)
_CLASSIFIER = Table(*_STAGES, rename("classifier.*", "classifier.*"), prefix="segformer.")

# What published pictures go through where no file says it.
_USUAL: Mapping[str, Any] = {
    "size": {"height": 512, "width": 512}, "image_mean": MEAN_STD["imagenet"][0],
    "image_std": MEAN_STD["imagenet"][1],
}  # fmt: skip
_FIXED: Mapping[str, Any] = {
    "do_rescale": True, "do_normalize": True, "resample": 2, "do_center_crop": None, "do_pad": False,
}  # fmt: skip
_HARMLESS = ("image_processor_type", "feature_extractor_type", "do_convert_rgb", "processor_class",
             "_processor_class", "_valid_processor_keys", "device", "data_format", "input_data_format",
             "disable_grouping", "return_tensors", "default_to_square", "crop_size", "pad_size",
             "image_seq_length", "size_divisor")  # fmt: skip


class HuggingFaceSegFormer:
    """Recognises ``model_type`` in config.json; without a decode head it is an encoder."""

    name = "Hugging Face SegFormer"
    architectures = (
        "SegformerForSemanticSegmentation", "SegformerForImageClassification", "SegformerModel",
    )  # fmt: skip
    # Of transformers' SegformerConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "reshape_last_stage": True,
    }
    harmless = (
        "drop_path_rate", "initializer_range", "semantic_loss_ignore_index", "layer_norm_eps",
        "num_encoder_blocks", "num_hidden_layers", "image_size", "downsampling_rates",
    )  # fmt: skip
    # An encoder has no classifier.
    may_miss = ("classifier.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a SegFormer."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "segformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        dims = config.get("hidden_sizes", (32, 64, 160, 256))
        for name, usual in (
            ("patch_sizes", (7, 3, 3, 3)),
            ("strides", (4, 2, 2, 2)),
            ("mlp_ratios", (4, 4, 4, 4)),
        ):
            found = tuple(config.get(name, usual))
            if found != usual[: len(dims)]:
                raise UserError(
                    f"{checkpoint.source} has {name} {list(found)}; {list(usual[: len(dims)])} are read"
                )
        shared: dict[str, Any] = {
            "dims": tuple(dims),
            "depths": tuple(config.get("depths", (2, 2, 2, 2))),
            "heads": tuple(config.get("num_attention_heads", (1, 2, 5, 8))),
            "reductions": tuple(config.get("sr_ratios", (8, 4, 2, 1))),
            "channels": config.get("num_channels", 3),
            "drop_path": overrides.pop("drop_path", 0.0),
        }
        state = checkpoint.state
        segments, classifier = _segments(checkpoint), f"{_HEAD}classifier.weight"
        weight = state.get(classifier if segments else "classifier.weight")
        names = config.get("id2label") or {}
        classes = len(names) or 1000 if weight is None else len(weight)
        # Read in any case: both belong to the configuration of an encoder, too.
        dim, dropout = (
            config.get("decoder_hidden_size", 256),
            config.get("classifier_dropout_prob", 0.1),
        )
        if segments:
            model: nn.Module = SegFormer(
                num_classes=classes, dim=dim, dropout=float(dropout), **shared
            )
        else:
            model = MixTransformer(num_classes=classes, **shared)
        cfg: dict[str, Any] = model.pretrained_cfg  # pyright: ignore[reportAssignmentType]
        cfg.update(_pictures(checkpoint, classes, segments))
        if len(names) == classes:
            cfg["label_names"] = [names[str(place)] for place in range(classes)]
        return model

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json with the names of other classes."""
        cfg: dict[str, Any] = model.pretrained_cfg  # pyright: ignore[reportAssignmentType]
        classes: int = model.num_classes  # pyright: ignore[reportAssignmentType]
        config = with_changes(checkpoint.config, {})
        names = cfg.get("label_names") or [f"LABEL_{place}" for place in range(classes)]
        known = list((config.get("id2label") or {}).values())
        if len(known) != classes or cfg.get("label_names", known) != known:
            config["id2label"] = {str(place): name for place, name in enumerate(names)}
            config["label2id"] = {name: place for place, name in enumerate(names)}
        return {"config.json": config}

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, of both generations."""
        return _SEGMENTER if _segments(checkpoint) else _CLASSIFIER


def _segments(checkpoint: Checkpoint) -> bool:
    return any(name.startswith(_HEAD) for name in checkpoint.state)


def _pictures(checkpoint: Checkpoint, classes: int, segments: bool) -> dict[str, Any]:
    """Returns what pictures go through, and which ids classes have in masks.

    Raises:
        UserError: If preprocessor_config.json asks for something that is not done here.
    """
    file = checkpoint.folder / FILE
    config = NotedConfig(read_json(file) if file.is_file() else {}, str(file))
    found = {key: config.get(key) if key in config else value for key, value in _USUAL.items()}
    resized = config.get("do_resize", True)
    reduced = bool(config.get("do_reduce_labels", config.get("reduce_labels", False)))
    factor = config.get("rescale_factor")
    if factor is not None and abs(float(factor) * 255 - 1) > 1e-6:
        raise UserError(f"{file}: rescale_factor={factor} is not read; pictures are divided by 255")
    config.refuse_unread(str(file), defaults=_FIXED, harmless=_HARMLESS)
    cfg = {"mean": tuple(found["image_mean"]), "std": tuple(found["image_std"])}
    size = found["size"]
    if isinstance(size, int):
        size = {"height": size, "width": size}
    try:
        height, width = int(size["height"]), int(size["width"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{file}: size={size!r} is not read; known are height and width") from None
    if not segments:
        bilinear = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "squash"}
        return {**cfg, **bilinear, "input_size": (3, height, width)}
    cfg |= {"height": height, "width": width} if resized else {}
    if reduced:
        # The id 0 of the data is no class, and those of the model come one later.
        cfg |= {"category_ids": list(range(1, classes + 1)), "ignore": [0]}
    return cfg


adapter = HuggingFaceSegFormer()
