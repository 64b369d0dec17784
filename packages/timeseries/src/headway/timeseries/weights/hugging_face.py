"""Reading PatchTST forecasters of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock, PreNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm, MaskedBatchNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Reshaped, Table, join, rename, under
from headway.timeseries.models.patchtst import PatchTST

ACTIVATIONS: dict[str, Any] = {"gelu": GELU, "relu": nn.ReLU}
NORMS: dict[str, Any] = {"batchnorm": MaskedBatchNorm, "layernorm": LayerNorm}
# What their class can do and ours not: option, the value that is read, what it is there by default.
READ = (
    ("loss", "mse", "mse"),
    ("share_embedding", True, True),
    ("channel_attention", False, False),
    ("bias", True, True),
    ("use_cls_token", False, False),
    ("share_projection", True, True),
    ("scaling", "std", "std"),
)
_RULES = (
    rename("embedding.*", "model.encoder.embedder.input_embedding.*"),
    rename("position", "model.encoder.positional_encoder.position_enc"),
    under(
        "encoder.blocks.{n}.",
        "model.encoder.layers.{n}.",
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.out_proj.*"),
        rename("mixer.norm.*", "norm_sublayer1.batchnorm.*", "norm_sublayer1.*"),
        rename("feedforward.norm.*", "norm_sublayer3.batchnorm.*", "norm_sublayer3.*"),
        rename("feedforward.function.fc1.*", "ff.0.*"),
        rename("feedforward.function.fc2.*", "ff.3.*"),
    ),
    rename("head.bias", "head.projection.bias"),
)


class HuggingFacePatchTST:
    """Recognises ``model_type: patchtst`` in config.json.

    A head that reads the average of the patches becomes one that reads each of them with a share of its
    weights: the same forecast, with more freedom in fine-tuning. Places that never learn there learn here.
    """

    name = "Hugging Face PatchTST"
    architectures = ("PatchTSTForPrediction",)
    # Of transformers' PatchTSTConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "norm_eps": 1e-5,
        "pre_norm": True,
        "do_mask_input": None,
        "output_range": None,
    }
    # Pre-training and other heads; each series is read by itself, so their number is free.
    harmless = (
        "num_input_channels", "distribution_output", "init_std", "mask_type", "random_mask_ratio",
        "num_forecast_mask_patches", "channel_consistent_masking", "unmasked_channel_indices", "mask_value",
        "num_targets", "num_parallel_samples", "positional_encoding_type",
    )  # fmt: skip

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a PatchTST."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "patchtst"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config, source = checkpoint.config or {}, checkpoint.source
        if "head.projection.weight" not in checkpoint.state:
            raise UserError(
                f"{source} holds no PatchTSTForPrediction; classes for pretraining, classification and "
                "regression are not read"
            )
        for option, value, usual in READ:
            found = config.get(option, usual)
            if found != value:
                raise UserError(
                    f"{source} was trained with {option}={found!r}, which PatchTST here does not have; "
                    f"train it with {option}={value!r}"
                )
        activation, norm = (
            config.get("activation_function", "gelu"),
            config.get("norm_type", "batchnorm"),
        )
        pooling = config.get("pooling_type", "mean")
        for name, found, known in (
            ("activation_function", activation, tuple(ACTIVATIONS)),
            ("norm_type", norm, tuple(NORMS)),
            ("pooling_type", pooling, ("mean", None)),
        ):
            if found not in known:
                choices = ", ".join(map(repr, known))
                raise UserError(
                    f"{source} has {name}={found!r}, which is not read; known: {choices}"
                )
        dropout = {
            name: float(config.get(f"{name}_dropout", 0.0))
            for name in ("attention", "positional", "path", "ff", "head")
        }
        return PatchTST(
            context_length=config.get("context_length", 32),
            horizon=config.get("prediction_length", 24),
            dim=config.get("d_model", 128),
            depth=config.get("num_hidden_layers", 3),
            heads=config.get("num_attention_heads", 4),
            patch=config.get("patch_length", 1),
            stride=config.get("patch_stride", 1),
            repeats=0,
            mixer=partial(SelfAttention, dropout=dropout["attention"], out_dropout=dropout["path"]),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("ffn_dim", 512),
                activation=ACTIVATIONS[activation],
                dropout=dropout["ff"],
            ),
            norm=partial(NORMS[norm], eps=float(config.get("norm_eps", 1e-5))),
            block=PreNormBlock if config.get("pre_norm", True) else PostNormBlock,
            dropout=dropout["positional"],
            head_dropout=dropout["head"],
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns the config.json of a changed model, whose head reads every patch."""
        assert isinstance(model, PatchTST)
        values = {
            "context_length": (model.context_length, 32),
            "prediction_length": (model.horizon, 24),
            "pooling_type": (None, "mean"),
        }
        return {"config.json": with_changes(checkpoint.config, values)}

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, and how the head reads the patches."""
        assert isinstance(model, PatchTST)
        patches, dim = model.position.shape

        def read(head: Tensor) -> Tensor:
            if head.shape[1] == dim:
                head = (head / patches)[:, None].expand(-1, patches, -1)
            # They put the channels of a patch side by side, the original and we the patches of a channel.
            head = head.unflatten(1, (patches, dim)) if head.ndim == 2 else head
            return torch.clone(head.transpose(1, 2).flatten(1))

        def write(head: Tensor) -> Tensor:
            return head.unflatten(1, (dim, patches)).transpose(1, 2).flatten(1)

        head = rename("head.weight", "head.projection.weight", form=Reshaped(read, write))
        return Table(*_RULES, head)


adapter = HuggingFacePatchTST()
