"""The published members of Swin V2 (``swin_v2.tsv``), and how timm and transformers save them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.embeddings import PatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.mixers import CosineWindowAttention
from headway.core.norms import LayerNorm
from headway.core.resample import PostNormPatchMerging
from headway.core.weights.table import Table, combine, drop, join, rename, under
from headway.vision.models.classifier import sides
from headway.vision.models.families import (
    Family,
    HuggingFace,
    Row,
    blocks_of_stages,
    numbers,
)
from headway.vision.models.swin_v2 import SwinV2
from headway.vision.models.swin_variants import fitted_windows, window_mixers


def _make(
    row: Row,
    *,
    image_size: int | Sequence[int],
    channels: int,
    patch_size: int,
    dropout: float,
    **sizes: Any,
) -> SwinV2:
    """Makes the model of a row; as in timm, no window is larger than the map of its stage."""
    depths = numbers(row["depths"])
    windows = fitted_windows(numbers(row["windows"]), image_size, patch_size)
    norm = partial(LayerNorm, eps=1e-5)
    return SwinV2(
        image_size=image_size,
        dim=int(row["dim"]),
        depths=depths,
        heads=numbers(row["heads"]),
        embedding=partial(
            PatchEmbedding, patch=patch_size, channels=channels, norm=norm, remainder="pad"
        ),
        mixer=window_mixers(
            windows,
            depths,
            attention=CosineWindowAttention,
            trained=numbers(row["trained"]),
            pad="after",
        ),
        norm=norm,
        resampler=partial(PostNormPatchMerging, norm=norm),
        head=partial(ClassificationHead, pooling=AveragePooling, dropout=dropout),
        **sizes,
    )


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns what timm's tensors tell; of windows they know only in official files."""
    depths = blocks_of_stages(state, "layers")
    scales = [state[_SCALE.format(place)] for place in range(len(depths))]
    return {
        "dim": str(len(state["patch_embed.proj.weight"])),
        "depths": ",".join(map(str, depths)),
        "heads": ",".join(str(len(scale)) for scale in scales),
    }


def _with_key(query: Tensor, value: Tensor) -> Tensor:
    return torch.cat([query, torch.zeros_like(query), value])


def _without_key(bias: Tensor) -> tuple[Tensor, ...]:
    query, _, value = bias.chunk(3)
    return query, value


def _table(*downsample: str) -> Table:
    """Returns timm's names; where a merging stands is another place in official files."""
    attention = "mixer.function."
    return Table(
        rename("embedding.norm.*", "patch_embed.norm.*"),
        rename("embedding.*", "patch_embed.proj.*"),
        rename(
            "stages.{s+1}.downsample.projection.*", *(f"{one}.reduction.*" for one in downsample)
        ),
        rename("stages.{s+1}.downsample.norm.*", *(f"{one}.norm.*" for one in downsample)),
        under(
            "stages.{s}.blocks.{b}.",
            "layers.{s}.blocks.{b}.",
            rename("mixer.norm.*", "norm1.*"),
            rename("feedforward.norm.*", "norm2.*"),
            rename(f"{attention}position.network.hidden.*", "attn.cpb_mlp.0.*"),
            rename(f"{attention}position.network.out.weight", "attn.cpb_mlp.2.weight"),
            rename(f"{attention}log_scale", "attn.logit_scale"),
            rename(f"{attention}qkv.weight", "attn.qkv.weight"),
            combine(
                [f"{attention}qkv.bias"],
                ["attn.q_bias", "attn.v_bias"],
                read=_with_key,
                write=_without_key,
            ),
            rename(f"{attention}projection.*", "attn.proj.*"),
            rename("feedforward.function.*", "mlp.*"),
        ),
        rename("norm.*", "norm.*"),
        rename("head.classifier.*", "head.fc.*", "head.*"),
        # Buffers of official files, which follow from the sizes.
        drop("*relative_position_index", "*relative_coords_table", "*attn_mask"),
    )


_SCALE = "layers.{}.blocks.0.attn.logit_scale"
TIMM = _table("layers.{s+1}.downsample")
# There a stage ends with the merging that leads to the next one.
OFFICIAL = _table("layers.{s}.downsample")


def _of_transformers(
    config: Mapping[str, Any], *, num_classes: int, activation: type[nn.Module], **options: Any
) -> SwinV2:
    """Builds the model that a config.json of transformers describes."""
    if config.get("use_absolute_embeddings"):
        raise UserError(
            "config.json says use_absolute_embeddings=true, which the published Swin V2 models and this "
            "one lack"
        )
    depths, patch = config.get("depths", [2, 2, 6, 2]), config.get("patch_size", 4)
    size, window = config.get("image_size", 224), config.get("window_size", 7)
    # There windows are square, and what one window covered at that size is never shifted.
    rows = [fit for fit, _ in fitted_windows([window] * len(depths), size, patch)]
    maps = [fit for fit, _ in fitted_windows([max(sides(size))] * len(depths), size, patch)]
    plain = partial(LayerNorm, eps=1e-5)
    return SwinV2(
        image_size=size,
        num_classes=num_classes,
        dim=config.get("embed_dim", 96),
        depths=depths,
        heads=config.get("num_heads", [3, 6, 12, 24]),
        embedding=partial(
            PatchEmbedding,
            patch=patch,
            channels=config.get("num_channels", 3),
            norm=plain,
            remainder="pad",
        ),
        mixer=window_mixers(
            [(fit, fit) for fit in rows],
            depths,
            shifted=[fit < side for fit, side in zip(rows, maps, strict=True)],
            attention=CosineWindowAttention,
            trained=config.get("pretrained_window_sizes", [0] * len(depths)),
            qkv_bias=config.get("qkv_bias", True),
        ),
        feedforward=partial(MLP, mlp_ratio=config.get("mlp_ratio", 4.0), activation=activation),
        norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-5))),
        resampler=partial(PostNormPatchMerging, norm=plain),
        head=partial(ClassificationHead, pooling=AveragePooling),
        **options,
    )


_HIDDEN = "attention.self.continuous_position_bias_mlp"


def _biases(*names: str) -> list[str]:
    return [f"attention.self.{name}.bias" for name in names]


SWIN_V2 = Family(
    name="Swin V2",
    table="swin_v2.tsv",
    make=_make,
    patch=4,
    tiny={
        "image": "32",
        "dim": "12",
        "depths": "1,1",
        "heads": "2,4",
        "windows": "4,4",
        "trained": "0,0",
    },
    timm=TIMM,
    timm_marks=frozenset({"patch_embed.proj.weight", _SCALE.format(0)}),
    seen=_seen,
    told=("num_heads",),  # its factors tell
    hugging_face=HuggingFace(
        model_type="swinv2",
        architectures=("Swinv2Model", "Swinv2ForImageClassification"),
        table=Table(
            under(
                "",
                "swinv2.",
                rename("embedding.norm.*", "embeddings.norm.*"),
                rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
                rename("norm.*", "layernorm.*"),
                rename(
                    "stages.{s+1}.downsample.projection.*",
                    "encoder.layers.{s}.downsample.reduction.*",
                ),
                rename("stages.{s+1}.downsample.norm.*", "encoder.layers.{s}.downsample.norm.*"),
            ),
            under(
                "stages.{s}.blocks.{b}.",
                "swinv2.encoder.layers.{s}.blocks.{b}.",
                rename("mixer.norm.*", "layernorm_before.*"),
                rename("feedforward.norm.*", "layernorm_after.*"),
                rename("mixer.function.position.network.hidden.*", f"{_HIDDEN}.0.*"),
                rename("mixer.function.position.network.out.weight", f"{_HIDDEN}.2.weight"),
                rename("mixer.function.log_scale", "attention.self.logit_scale"),
                join(
                    "mixer.function.qkv.weight",
                    [f"attention.self.{part}.weight" for part in ("query", "key", "value")],
                ),
                combine(
                    ["mixer.function.qkv.bias"],
                    _biases("query", "value"),
                    read=_with_key,
                    write=_without_key,
                ),
                rename("mixer.function.projection.*", "attention.output.dense.*"),
                rename("feedforward.function.fc1.*", "intermediate.dense.*"),
                rename("feedforward.function.fc2.*", "output.dense.*"),
            ),
            rename("head.classifier.*", "classifier.*"),
            drop("*relative_position_index", "*relative_coords_table", "*mask_token"),
            prefix="swinv2.",
        ),
        build=_of_transformers,
        defaults={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
        harmless=(
            "out_features",
            "out_indices",
            "stage_names",
            "drop_path_rate",
            "num_layers",
            "hidden_size",
            "encoder_stride",
        ),
    ),
)
