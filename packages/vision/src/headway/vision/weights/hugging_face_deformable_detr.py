"""Reading Deformable DETR checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.mixers import DeformableAttention, PositionedSelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, rename, under
from headway.vision.models.deformable_detr import DeformableDETR
from headway.vision.weights.detr_parts import (
    BACKBONE,
    HARMLESS,
    deformable,
    describe,
    dropouts,
    refuse,
    resnet,
    same,
    shared,
)

_FEEDFORWARD = (
    rename("feedforward.norm.*", "final_layer_norm.*"),
    rename("feedforward.function.fc{k}.*", "fc{k}.*", "mlp.fc{k}.*"),
)
_REST = (
    drop("*num_batches_tracked"),
    *BACKBONE,
    rename("projections.layers.{n}.*", "model.input_proj.{n}.*"),
    rename("level_embedding", "model.level_embed"),
    rename("queries", "model.query_position_embeddings.weight"),
    rename("reference.*", "model.reference_points.*"),
    rename("selection.projection.*", "model.enc_output.*"),
    rename("selection.norm.*", "model.enc_output_norm.*"),
    rename("selection.query.*", "model.pos_trans.*"),
    rename("selection.query_norm.*", "model.pos_trans_norm.*"),
    *under(
        "encoder.blocks.{n}.",
        "model.encoder.layers.{n}.",
        *deformable("mixer", "self_attn"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        *_FEEDFORWARD,
    ),
    *under(
        "decoder.blocks.{n}.",
        "model.decoder.layers.{n}.",
        join("mixer.function.qk.*", ["self_attn.q_proj.*", "self_attn.k_proj.*"]),
        rename("mixer.function.v.*", "self_attn.v_proj.*"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*", "self_attn.o_proj.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        *deformable("cross", "encoder_attn"),
        rename("cross.norm.*", "encoder_attn_layer_norm.*"),
        *_FEEDFORWARD,
    ),
)


def _heads(ours: str, theirs: str, own: int, depth: int, proposed: str | None) -> list[Rule]:
    """Returns the rules of the layers of classes or boxes, which files may name several times."""
    rules = []
    inner = f"model.decoder.{theirs}"
    wanted = [(f"{ours}.{place}.*", place) for place in range(own)]
    if proposed is not None:
        wanted.append((f"{proposed}.*", depth))
    for name, place in wanted:
        # One layer that all blocks share stands there for each of them.
        places = range(depth) if own == 1 and place < depth else [place]
        ways = [[f"{one}.{k}.*" for k in places] for one in (theirs, inner)]
        for way in (ways[0] + ways[1], ways[0], ways[1]):
            rules += [same(name, way)] if len(way) > 1 else []
        rules.append(rename(name, *(f"{one}.{place}.*" for one in (theirs, inner))))
    return rules


class HuggingFaceDeformableDETR:
    """Recognises ``model_type`` in config.json."""

    name = "Hugging Face Deformable DETR"
    architectures = ("DeformableDetrModel", "DeformableDetrForObjectDetection")
    # Of transformers' DeformableDetrConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "num_channels": 3,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "scale_embedding": False,
        "return_intermediate": True,
        "decoder_layerdrop": 0.0,
    }
    harmless = (
        *HARMLESS, "eos_coefficient", "focal_alpha", "disable_custom_kernels", "tie_word_embeddings",
        "num_queries", "two_stage_num_proposals",
    )  # fmt: skip
    may_miss = ("class_heads.", "box_heads.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a Deformable DETR."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "deformable_detr"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes; the backbone as its tensors are."""
        config = checkpoint.config or {}
        refuse(checkpoint.source, config)
        points = config.get("encoder_n_points", 4)
        if points != config.get("decoder_n_points", 4):
            raise UserError(f"{checkpoint.source} has other n_points in the decoder")
        state = Table(*_REST, prefix="model.").to_ours(checkpoint.state)
        two_stage = bool(config.get("two_stage", False))
        refine, levels = (
            bool(config.get("with_box_refine", False)),
            config.get("num_feature_levels", 4),
        )
        heads = {
            f"{front}class_embed.{place}": f"{front}class_embed.{place}.weight" in checkpoint.state
            for front in ("", "model.decoder.", "decoder.")
            for place in (0, 1)
        }
        first = next((name for name, there in heads.items() if there), None)
        classes = (
            len(checkpoint.state[f"{first}.weight"])
            if first is not None
            else len(config.get("id2label") or {}) or 91
        )
        # Files of transformers 5 that refine boxes may share the layer of the classes.
        own = refine and any(there for name, there in heads.items() if name.endswith("1"))
        # The maps of the backbone are read by 1x1 convolutions, further ones are made by 3x3.
        maps = [state.get(f"projections.layers.{place}.0.weight") for place in range(levels)]
        kernels = [one.shape[-1] for one in maps if one is not None]
        if len(kernels) < levels:
            raise UserError(
                f"{checkpoint.source} has projections of {len(kernels)} maps, and num_feature_levels={levels}"
            )
        mixing: dict[str, Any] = dropouts(config)
        count = "two_stage_num_proposals" if two_stage else "num_queries"
        model = DeformableDETR(
            num_classes=classes,
            backbone=resnet(checkpoint.source, state, out_indices=range(-kernels.count(1), 0)),
            queries=config.get(count, 300),
            levels=levels,
            refine=refine,
            two_stage=two_stage,
            own_classes=None if own == refine else own,
            mixer=partial(PositionedSelfAttention, **mixing),
            attention=partial(
                DeformableAttention, points=points, out_dropout=mixing["out_dropout"]
            ),
            **shared(config, hidden=1024),
        )
        describe(model, checkpoint)
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        assert isinstance(model, DeformableDETR)
        depth = len(model.decoder.blocks)
        rules = []
        for ours, theirs, one in (
            ("class_heads", "class_embed", "selection.class_head"),
            ("box_heads", "bbox_embed", "selection.box_head"),
        ):
            own = len(getattr(model, ours))
            proposed = one if model.selection is not None else None
            rules += _heads(ours, theirs, own, depth, proposed)
        return Table(*_REST, *rules, prefix="model.")


adapter = HuggingFaceDeformableDETR()
