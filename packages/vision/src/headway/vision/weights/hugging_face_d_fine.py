"""Reading D-FINE checkpoints of Hugging Face transformers, 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.backbones import FrozenBatchNorm
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.layers import ELANEncoder, HGNetV2
from headway.vision.layers.sampling_attention import SamplingAttention
from headway.vision.models.dfine import DFINE
from headway.vision.models.edge_bins import EdgeBins
from headway.vision.weights.detr_parts import heads
from headway.vision.weights.hugging_face_rt_detr import (
    AIFI,
    DEFAULTS,
    HARMLESS,
    activation_of,
    describe,
    encoder_parts,
    get,
    shared,
)

_CONV = {"conv": "convolution", "norm": "normalization", "affine": "lab"}
_STEMS = ("stem1", "stem2a", "stem2b", "stem3", "stem4")


def _convs(ours: str, theirs: str) -> list[Rule]:
    return [rename(f"{ours}.{one}.*", f"{theirs}.{other}.*") for one, other in _CONV.items()]


def _block(side: str, theirs: str | tuple[str, ...], *cross: Rule) -> list[Rule]:
    return under(
        f"{side}.blocks.{{n}}.",
        theirs,
        join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
        rename("mixer.function.v.*", "self_attn.v_proj.*"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*", "self_attn.o_proj.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        rename("feedforward.norm.*", "final_layer_norm.*"),
        rename("feedforward.function.fc{k+1}.*", "fc{k+1}.*", "mlp.layers.{k}.*"),
        *cross,
    )


def _elan(ours: str, theirs: str) -> list[Rule]:
    rules = []
    for mine, name in (("near", "csp_rep1"), ("far", "csp_rep2")):
        rules += [
            rename(f"{mine}.first.*", f"{name}.conv1.*"),
            rename(f"{mine}.second.*", f"{name}.conv2.*"),
            rename(f"{mine}.blocks.{{k}}.wide.*", f"{name}.bottlenecks.{{k}}.conv1.*"),
            rename(f"{mine}.blocks.{{k}}.narrow.*", f"{name}.bottlenecks.{{k}}.conv2.*"),
        ]
    names = ("first", "near_conv", "far_conv", "last")
    rules += [rename(f"{mine}.*", f"conv{place + 1}.*") for place, mine in enumerate(names)]
    return under(f"encoder.{ours}.{{n}}.", f"model.encoder.{theirs}.{{n}}.", *rules)


_TABLE = Table(
    drop("model.decoder.layers.{n}.encoder_attn.num_points_scale"),
    under(
        "backbone.", "model.backbone.model.embedder.", *(r for s in _STEMS for r in _convs(s, s))
    ),
    under(
        "backbone.stages.{s}.",
        "model.backbone.model.encoder.stages.{s}.",
        *_convs("downsample", "downsample"),
        *_convs("blocks.{b}.layers.{k}.0", "blocks.{b}.layers.{k}.conv1"),
        *_convs("blocks.{b}.layers.{k}.1", "blocks.{b}.layers.{k}.conv2"),
        *_convs("blocks.{b}.layers.{k}", "blocks.{b}.layers.{k}"),
        *_convs("blocks.{b}.join.{k}", "blocks.{b}.aggregation.{k}"),
    ),
    rename("encoder.inputs.{n}.conv.*", "model.encoder_input_proj.{n}.0.*"),
    rename("encoder.inputs.{n}.norm.*", "model.encoder_input_proj.{n}.1.*"),
    rename("encoder.lateral.{n}.*", "model.encoder.lateral_convs.{n}.*"),
    rename("encoder.shrink.{n}.0.*", "model.encoder.downsample_convs.{n}.conv1.*"),
    rename("encoder.shrink.{n}.1.*", "model.encoder.downsample_convs.{n}.conv2.*"),
    _elan("up", "fpn_blocks"),
    _elan("down", "pan_blocks"),
    _block("encoder.encoder", AIFI),
    rename("projections.{n}.conv.*", "model.decoder_input_proj.{n}.0.*"),
    rename("projections.{n}.norm.*", "model.decoder_input_proj.{n}.1.*"),
    rename("first", "model.weight_embedding.weight"),
    rename("denoising.embedding.*", "model.denoising_class_embed.*"),
    rename("selection.projection.*", "model.enc_output.0.*"),
    rename("selection.norm.*", "model.enc_output.1.*"),
    rename("selection.class_head.*", "model.enc_score_head.*"),
    rename("selection.box_head.*", "model.enc_bbox_head.*"),
    _block(
        "decoder",
        "model.decoder.layers.{n}.",
        rename("cross.function.offsets.*", "encoder_attn.sampling_offsets.*"),
        rename("cross.function.weights.*", "encoder_attn.attention_weights.*"),
        rename("cross.gate.*", "gateway.gate.*"),
        rename("cross.norm.*", "gateway.norm.*"),
    ),
    rename("query_position.{2n}.*", "model.decoder.query_pos_head.layers.{n}.*"),
    rename("bins.reach", "model.decoder.up"),
    rename("bins.curve", "model.decoder.reg_scale"),
    rename("first_box.*", "model.decoder.pre_bbox_head.*"),
    rename("quality.{n}.*", "model.decoder.lqe_layers.{n}.reg_conf.*"),
    *heads("class_heads", "class_embed"),
    *heads("box_heads", "bbox_embed"),
    prefix="model.",
)


class HuggingFaceDFINE:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face D-FINE"
    architectures = ("DFineModel", "DFineForObjectDetection")
    # Of transformers' DFineConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        **DEFAULTS,
        "decoder_method": "default",
        "eval_idx": -1,
        "layer_scale": 1.0,
        "top_prob_values": 4,
        "lqe_hidden_dim": 64,
        "lqe_layers": 2,
    }
    harmless = (*HARMLESS, "weight_loss_fgl", "weight_loss_ddf", "head_dim")
    may_miss = ("class_heads.", "box_heads.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a D-FINE."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "d_fine"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        given = partial(get, config)
        backbone = _backbone(checkpoint.source, config)
        blocks = round(3 * given("depth_mult", 1.0))
        model = DFINE(
            backbone=backbone,
            encoder=partial(ELANEncoder, blocks=blocks, **encoder_parts(config)),
            cross=partial(SamplingAttention, points=given("decoder_n_points", 4)),
            feedforward=partial(
                MLP,
                hidden_dim=given("decoder_ffn_dim", 1024),
                activation=activation_of(given("decoder_activation_function", "relu")),
            ),
            bins=partial(
                EdgeBins,
                bins=given("max_num_bins", 32),
                reach=float(given("up", 0.5)),
                curve=float(given("reg_scale", 4.0)),
            ),
            **shared(checkpoint, maps=len(backbone.out_indices)),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def _backbone(source: str, config: dict[str, Any]) -> HGNetV2:
    """Returns the backbone that config.json describes."""
    described = config.get("backbone_config") or {}
    kind = described.get("model_type", "hgnet_v2")
    if kind != "hgnet_v2":
        raise UserError(f"the backbone {kind} of {source} is none that is read; hgnet_v2 is")
    usual = {
        "hidden_act": "relu",
        "stem_strides": [2, 1, 1, 2, 1],
        "stage_downsample": [False, True, True, True],
        "stage_downsample_strides": [2, 2, 2, 2],
    }
    for name, value in usual.items():
        if described.get(name, value) != value:
            raise UserError(
                f"the backbone of {source} has {name}={described[name]}; {value} is read"
            )
    channels, *stem = described.get("stem_channels", [3, 32, 48])
    return HGNetV2(
        stem=stem,
        middles=described.get("stage_mid_channels", [48, 96, 192, 384]),
        widths=described.get("stage_out_channels", [128, 512, 1024, 2048]),
        depths=described.get("stage_num_blocks", [1, 1, 3, 1]),
        layers=described.get("stage_numb_of_layers", [6, 6, 6, 6]),
        kernels=described.get("stage_kernel_size", [3, 3, 5, 5]),
        light=described.get("stage_light_block", [False, False, True, True]),
        affine=described.get("use_learnable_affine_block", False),
        channels=channels,
        norm=FrozenBatchNorm
        if get(config, "freeze_backbone_batch_norms", True)
        else nn.BatchNorm2d,
        # Theirs count the stem as the first.
        out_indices=[place - 1 for place in described.get("out_indices", [2, 3, 4])],
    )


adapter = HuggingFaceDFINE()
