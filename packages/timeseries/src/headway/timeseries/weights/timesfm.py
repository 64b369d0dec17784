"""Reading TimesFM checkpoints in the format of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.norms import RMSNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, join, rename, under
from headway.timeseries.layers.scaled_query import ScaledQueryAttention
from headway.timeseries.models.timesfm import LEVELS, TimesFM

_RESIDUAL = (
    rename("fc1.*", "input_layer.*"),
    rename("fc2.*", "output_layer.*"),
    rename("skip.*", "residual_layer.*"),
)
_TABLE = Table(
    under(
        "decoder.blocks.{n}.",
        "decoder.layers.{n}.",
        rename("mixer.function.query_norm.scale", "self_attn.scaling"),
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.o_proj.*"),
        rename("mixer.norm.*", "input_layernorm.*"),
        rename("feedforward.function.fc1.*", "mlp.gate_proj.*"),
        rename("feedforward.function.fc2.*", "mlp.down_proj.*"),
        rename("feedforward.norm.*", "mlp.layer_norm.*"),
    ),
    rename("kind.*", "decoder.freq_emb.*"),
    under("embedding.", "decoder.input_ff_layer.", *_RESIDUAL),
    under("head.", "horizon_ff_layer.", *_RESIDUAL),
)


class HuggingFaceTimesFM:
    """Recognises ``model_type: timesfm`` in config.json.

    ``frequency`` may be given: 0 for steps up to a day, 1 for weeks and months, 2 for longer ones.
    """

    name = "Hugging Face TimesFM"
    architectures = ("TimesFmModelForPrediction", "TimesFmModel")
    # Of transformers' TimesFmConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "tolerance": 1e-6,
        "pad_val": 1123581321.0,
        "min_timescale": 1,
        "max_timescale": 10000,
    }

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a TimesFM."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "timesfm"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config, source = checkpoint.config or {}, checkpoint.source
        if "horizon_ff_layer.output_layer.weight" not in checkpoint.state:
            raise UserError(
                f"{source} holds no TimesFmModelForPrediction; a bare decoder forecasts nothing"
            )
        if config.get("use_positional_embedding", False):
            raise UserError(
                f"{source} was trained with use_positional_embedding=True (TimesFM 1.0), which TimesFM here "
                "does not have; take google/timesfm-2.0-500m-pytorch"
            )
        output, hidden = config.get("horizon_length", 128), config.get("intermediate_size", 1280)
        return TimesFM(
            context_length=config.get("context_length", 512),
            horizon=output,
            dim=config.get("hidden_size", 1280),
            depth=config.get("num_hidden_layers", 50),
            heads=config.get("num_attention_heads", 16),
            patch=config.get("patch_length", 32),
            output=output,
            hidden=hidden,
            quantiles=tuple(config.get("quantiles", LEVELS)),
            frequencies=config.get("freq_size", 3),
            frequency=overrides.pop("frequency", 0),
            mixer=partial(
                ScaledQueryAttention,
                head_dim=config.get("head_dim", 80),
                causal=True,
                dropout=float(config.get("attention_dropout", 0.0)),
            ),
            feedforward=partial(MLP, hidden_dim=hidden, activation=nn.ReLU),
            norm=partial(RMSNorm, eps=float(config.get("rms_norm_eps", 1e-6))),
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = HuggingFaceTimesFM()
