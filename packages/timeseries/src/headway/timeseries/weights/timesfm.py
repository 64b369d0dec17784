"""Reading TimesFM checkpoints in the format of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.norms import RMSNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.renaming import Renaming, join_sections
from headway.timeseries.layers.scaled_query import ScaledQueryAttention
from headway.timeseries.models.timesfm import LEVELS, TimesFM

_LAYER = r"^decoder\.layers\.(\d+)\."
_BLOCK = r"decoder.blocks.\1."
_NAMES = Renaming(
    [
        (_LAYER + r"self_attn\.scaling$", _BLOCK + "mixer.function.query_norm.scale"),
        (_LAYER + r"self_attn\.o_proj\.", _BLOCK + "mixer.function.projection."),
        (_LAYER + r"self_attn\.", _BLOCK + "mixer.function."),
        (_LAYER + r"input_layernorm\.", _BLOCK + "mixer.norm."),
        (_LAYER + r"mlp\.gate_proj\.", _BLOCK + "feedforward.function.fc1."),
        (_LAYER + r"mlp\.down_proj\.", _BLOCK + "feedforward.function.fc2."),
        (_LAYER + r"mlp\.layer_norm\.", _BLOCK + "feedforward.norm."),
        (r"^decoder\.freq_emb\.", "kind."),
        (r"^decoder\.input_ff_layer\.", "embedding."),
        (r"^horizon_ff_layer\.", "head."),
        (r"\.input_layer\.", ".fc1."),
        (r"\.output_layer\.", ".fc2."),
        (r"\.residual_layer\.", ".skip."),
    ]
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

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors and joins the projections of an attention."""
        state = {_NAMES(name): value for name, value in checkpoint.state.items()}
        join_sections(state, "qkv", ("q_proj", "k_proj", "v_proj"))
        return state


adapter = HuggingFaceTimesFM()
