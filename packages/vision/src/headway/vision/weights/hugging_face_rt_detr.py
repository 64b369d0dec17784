"""Reading RT-DETR and RT-DETRv2 checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.backbones import FrozenBatchNorm, ResNetD
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import DeformableAttention, PositionedSelfAttention
from headway.core.norms import LayerNorm
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.layers import DiscreteDeformableAttention, HybridEncoder
from headway.vision.models.denoising import ContrastiveDenoising
from headway.vision.models.pretrained_cfg import MEAN_STD
from headway.vision.models.rt_detr import RTDETR
from headway.vision.weights.detr_parts import heads
from headway.vision.weights.hugging_face import ACTIVATIONS

_BACKBONE = "model.backbone.model."
# The generation of the published files comes first.
AIFI = ("model.encoder.encoder.0.layers.{n}.", "model.encoder.aifi.0.layers.{n}.")


def _block(side: str, theirs: str | tuple[str, ...], *cross: Rule) -> list[Rule]:
    """Returns the rules of a block of the encoder or decoder."""
    return under(
        f"{side}.blocks.{{n}}.",
        theirs,
        join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
        rename("mixer.function.v.*", "self_attn.v_proj.*"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*", "self_attn.o_proj.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        rename("feedforward.norm.*", "final_layer_norm.*"),
        rename("feedforward.function.fc{k}.*", "fc{k}.*", "mlp.fc{k}.*"),
        *cross,
    )


_CROSS = [
    rename("cross.function.offsets.*", "encoder_attn.sampling_offsets.*"),
    rename("cross.function.weights.*", "encoder_attn.attention_weights.*"),
    rename("cross.function.v.*", "encoder_attn.value_proj.*"),
    rename("cross.function.projection.*", "encoder_attn.output_proj.*"),
    rename("cross.norm.*", "encoder_attn_layer_norm.*"),
]


def _csp(ours: str, theirs: str) -> list[Rule]:
    parts = {"first": "conv1", "second": "conv2", "third": "conv3"}
    rules = [rename(f"{mine}.*", f"{name}.*") for mine, name in parts.items()]
    return under(
        f"encoder.{ours}.{{n}}.",
        f"model.encoder.{theirs}.{{n}}.",
        *rules,
        rename("blocks.{k}.wide.*", "bottlenecks.{k}.conv1.*"),
        rename("blocks.{k}.narrow.*", "bottlenecks.{k}.conv2.*"),
    )


_TABLE = Table(
    drop("model.decoder.layers.{n}.encoder_attn.n_points_scale"),
    under(
        "backbone.",
        _BACKBONE,
        *(
            rename(f"conv1.{3 * place}.*", f"embedder.embedder.{place}.convolution.*")
            for place in range(3)
        ),
        *(
            rename(f"conv1.{3 * place + 1}.*", f"embedder.embedder.{place}.normalization.*")
            for place in range(2)
        ),
        rename("bn1.*", "embedder.embedder.2.normalization.*"),
    ),
    under(
        "backbone.layer1.{b}.",
        _BACKBONE + "encoder.stages.0.layers.{b}.",
        rename("downsample.1.*", "shortcut.convolution.*"),
        rename("downsample.2.*", "shortcut.normalization.*"),
    ),
    under(
        "backbone.layer{s+1}.{b}.",
        _BACKBONE + "encoder.stages.{s}.layers.{b}.",
        rename("downsample.1.*", "shortcut.1.convolution.*"),
        rename("downsample.2.*", "shortcut.1.normalization.*"),
        rename("conv{c+1}.*", "layer.{c}.convolution.*"),
        rename("bn{c+1}.*", "layer.{c}.normalization.*"),
    ),
    rename("encoder.inputs.{n}.conv.*", "model.encoder_input_proj.{n}.0.*"),
    rename("encoder.inputs.{n}.norm.*", "model.encoder_input_proj.{n}.1.*"),
    rename("encoder.lateral.{n}.*", "model.encoder.lateral_convs.{n}.*"),
    rename("encoder.shrink.{n}.*", "model.encoder.downsample_convs.{n}.*"),
    _csp("up", "fpn_blocks"),
    _csp("down", "pan_blocks"),
    _block("encoder.encoder", AIFI),
    rename("projections.{n}.conv.*", "model.decoder_input_proj.{n}.0.*"),
    rename("projections.{n}.norm.*", "model.decoder_input_proj.{n}.1.*"),
    rename("first", "model.weight_embedding.weight"),
    rename("denoising.embedding.*", "model.denoising_class_embed.*"),
    rename("selection.projection.*", "model.enc_output.0.*"),
    rename("selection.norm.*", "model.enc_output.1.*"),
    rename("selection.class_head.*", "model.enc_score_head.*"),
    rename("selection.box_head.*", "model.enc_bbox_head.*"),
    _block("decoder", "model.decoder.layers.{n}.", *_CROSS),
    rename("query_position.0.*", "model.decoder.query_pos_head.layers.0.*"),
    rename("query_position.2.*", "model.decoder.query_pos_head.layers.1.*"),
    *heads("class_heads", "class_embed"),
    *heads("box_heads", "bbox_embed"),
    prefix="model.",
)


# Of transformers' RTDetrConfig, for what is not read here.
DEFAULTS: dict[str, Any] = {
    "normalize_before": False,
    "eval_size": None,
    "with_box_refine": True,
    "encode_proj_layers": [2],
    "positional_encoding_temperature": 10000,
    "activation_dropout": 0.0,
    "decoder_offset_scale": 0.5,
}
# How it was trained; anchors follow from the size of the maps.
HARMLESS: tuple[str, ...] = (
    "initializer_range", "initializer_bias_prior_prob", "backbone", "use_pretrained_backbone",
    "use_timm_backbone", "backbone_kwargs", "feat_strides", "anchor_image_size", "disable_custom_kernels",
    "is_encoder_decoder", "matcher_alpha", "matcher_gamma", "matcher_class_cost", "matcher_bbox_cost",
    "matcher_giou_cost", "use_focal_loss", "auxiliary_loss", "focal_loss_alpha", "focal_loss_gamma",
    "weight_loss_vfl", "weight_loss_bbox", "weight_loss_giou", "eos_coefficient", "num_hidden_layers",
    "encoder_in_channels", "decoder_in_channels", "tie_word_embeddings",
    "label_noise_ratio", "box_noise_scale",
)  # fmt: skip


class HuggingFaceRTDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face RT-DETR"
    architectures = (
        "RTDetrModel",
        "RTDetrForObjectDetection",
        "RTDetrV2Model",
        "RTDetrV2ForObjectDetection",
    )
    defaults: ClassVar[dict[str, Any]] = DEFAULTS
    harmless = (*HARMLESS, "decoder_n_levels")
    may_miss = ("class_heads.", "box_heads.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of an RT-DETR."""
        kinds = ("rt_detr", "rt_detr_v2")
        return checkpoint.config is not None and checkpoint.config.get("model_type") in kinds

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        given = partial(get, config)
        backbone = _backbone(checkpoint.source, config)
        dropout = float(given("dropout", 0.0))
        model = RTDETR(
            backbone=backbone,
            encoder=partial(HybridEncoder, **encoder_parts(config)),
            cross=partial(
                _sampling(checkpoint.source, given("decoder_method", "default")),
                points=given("decoder_n_points", 4),
                out_dropout=dropout,
            ),
            feedforward=partial(
                MLP,
                hidden_dim=given("decoder_ffn_dim", 1024),
                activation=activation_of(given("decoder_activation_function", "relu")),
                dropout=dropout,
            ),
            **shared(checkpoint, maps=len(backbone.out_indices)),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def shared(checkpoint: Checkpoint, *, maps: int) -> dict[str, Any]:
    """Returns the arguments that RT-DETR and D-FINE read alike.

    Args:
        checkpoint: Whose config.json says them.
        maps: How many the backbone gives.

    Raises:
        UserError: If the model makes further maps.
    """
    config = checkpoint.config or {}
    given = partial(get, config)
    head = "model.enc_score_head.weight"
    head = head if head in checkpoint.state else head.removeprefix("model.")
    known = len(config.get("id2label") or {}) or 80
    if given("num_feature_levels", 3) != maps:
        raise UserError(f"{checkpoint.source} makes further maps of its last one; none do here")
    denoising = None
    if given("num_denoising", 100) > 0:
        denoising = partial(
            ContrastiveDenoising,
            queries=given("num_denoising", 100),
            label_noise=given("label_noise_ratio", 0.5),
            box_noise=given("box_noise_scale", 1.0),
        )
    return {
        "num_classes": len(checkpoint.state[head]) if head in checkpoint.state else known,
        "dim": given("d_model", 256),
        "encoder_dim": given("encoder_hidden_dim", 256),
        "heads": given("decoder_attention_heads", 8),
        "queries": given("num_queries", 300),
        "depth": given("decoder_layers", 6),
        "mixer": partial(
            PositionedSelfAttention,
            dropout=float(given("attention_dropout", 0.0)),
            out_dropout=float(given("dropout", 0.0)),
        ),
        "norm": partial(LayerNorm, eps=float(given("layer_norm_eps", 1e-5))),
        "learned_queries": given("learn_initial_query", False),
        "denoising": denoising,
    }


def encoder_parts(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the hybrid encoder."""
    given = partial(get, config)
    dropout = float(given("dropout", 0.0))
    return {
        "heads": given("encoder_attention_heads", 8),
        "depth": given("encoder_layers", 1),
        "mixer": partial(PositionedSelfAttention, dropout=dropout, out_dropout=dropout),
        "feedforward": partial(
            MLP,
            hidden_dim=given("encoder_ffn_dim", 1024),
            activation=activation_of(given("encoder_activation_function", "gelu")),
            dropout=dropout,
        ),
        "expansion": given("hidden_expansion", 1.0),
        "norm": partial(nn.BatchNorm2d, eps=float(given("batch_norm_eps", 1e-5))),
        "activation": activation_of(given("activation_function", "silu")),
    }


def describe(model: RTDETR, checkpoint: Checkpoint) -> None:
    """Writes what pictures go through and the names of the classes into ``pretrained_cfg``."""
    model.pretrained_cfg.update(pictures(checkpoint))
    names, classes = (checkpoint.config or {}).get("id2label") or {}, model.num_classes
    if len(names) == classes:
        model.pretrained_cfg["label_names"] = [names[str(place)] for place in range(classes)]


def pictures(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what a picture goes through: a square, and shares of the largest value, nothing more."""
    file = checkpoint.folder / "preprocessor_config.json"
    told = read_json(file) if file.is_file() else {}
    size = told.get("size") or {}
    side = size.get("height", 640) if isinstance(size, dict) else 640
    if isinstance(size, dict) and size.get("width", side) != side:
        raise UserError(
            f"{file} makes pictures of {side}x{size['width']}; only squares are made here"
        )
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if told.get("do_normalize", False):
        usual = MEAN_STD["imagenet"]
        mean, std = told.get("image_mean", usual[0]), told.get("image_std", usual[1])
    found = {"shortest": int(side), "longest": max(int(side), 1333), "stretch": True}
    return {**found, "mean": tuple(mean), "std": tuple(std)}


def get(config: dict[str, Any], name: str, default: Any) -> Any:
    """Returns what a configuration says, or the default where it says null."""
    value = config.get(name)
    return default if value is None else value


def _sampling(source: str, name: str) -> type[DeformableAttention]:
    """Returns the attention that reads maps in this way."""
    known = {"default": DeformableAttention, "discrete": DiscreteDeformableAttention}
    if name not in known:
        raise UserError(f"{source} has decoder_method={name!r}; known: {', '.join(known)}")
    return known[name]


def activation_of(name: str) -> Any:
    """Returns what builds an activation.

    Raises:
        UserError: If it is not known.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"the activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _backbone(source: str, config: dict[str, Any]) -> ResNetD:
    """Returns the backbone that config.json describes."""
    described = config.get("backbone_config") or {}
    kind = described.get("model_type", "rt_detr_resnet")
    if kind != "rt_detr_resnet" or described.get("downsample_in_bottleneck"):
        raise UserError(f"the backbone {kind} of {source} is none that is read; rt_detr_resnet is")
    if described.get("hidden_act", "relu") != "relu" or described.get("downsample_in_first_stage"):
        raise UserError(f"the backbone of {source} is none of RT-DETR's published ones")
    bottleneck = described.get("layer_type", "bottleneck") == "bottleneck"
    frozen = get(config, "freeze_backbone_batch_norms", True)
    return ResNetD(
        depths=described.get("depths", [3, 4, 6, 3]),
        widths=described.get("hidden_sizes", [256, 512, 1024, 2048]),
        bottleneck=bottleneck,
        stem=described.get("embedding_size", 64),
        channels=described.get("num_channels", 3),
        norm=FrozenBatchNorm if frozen else nn.BatchNorm2d,
        # Theirs count the stem as the first.
        out_indices=[place - 1 for place in described.get("out_indices", [2, 3, 4])],
    )


adapter = HuggingFaceRTDETR()
