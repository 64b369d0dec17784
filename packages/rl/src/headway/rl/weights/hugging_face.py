"""Reading decision transformers of Hugging Face transformers."""

from functools import partial
from typing import Any

from torch import nn

from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.gpt2 import ATTENTION, BLOCK, activation
from headway.core.weights.table import Table, combine, drop, own, rename, under
from headway.rl.layers import ContinuousActions
from headway.rl.models.decision_transformer import DecisionTransformer

# Of transformers' DecisionTransformerConfig, for what is not read here.
DEFAULTS = {
    "vocab_size": 1,
    "n_positions": 1024,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    **ATTENTION,
}
_RULES = (
    rename("timestep_embedding.*", "embed_timestep.*"),
    rename("return_embedding.*", "embed_return.*"),
    rename("observation_embedding.linear.*", "embed_state.*"),
    rename("actions.embedding.*", "embed_action.*"),
    rename("actions.head.*", "predict_action.0.*"),
    rename("norm.*", "embed_ln.*"),
    rename("decoder.norm.*", "encoder.ln_f.*"),
    under("decoder.blocks.{n}.", "encoder.h.{n}.", *BLOCK),
    # The word table that GPT-2 brings along, and two heads that no loss ever reached.
    drop("encoder.wte.*", "predict_state.*", "predict_return.*"),
    own(
        "observation_embedding.mean",
        "observation_embedding.std",
        "return_scale",
        "actions.low",
        "actions.high",
    ),
)


class HuggingFaceDecisionTransformer:
    """Recognises ``model_type: decision_transformer`` in config.json.

    Their files hold no statistics of observations and returns: ``normalise`` them as their model card
    says, or call ``set_statistics``.
    """

    name = "Hugging Face Decision Transformer"
    architectures = ("DecisionTransformerModel",)
    defaults = DEFAULTS

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a decision transformer."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "decision_transformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        dim = config.get("hidden_size", 128)
        dropout = {name: float(config.get(f"{name}_pdrop", 0.1)) for name in ("attn", "resid")}
        return DecisionTransformer(
            observation_dim=config.get("state_dim", 17),
            action_dim=config.get("act_dim", 4),
            dim=dim,
            depth=config.get("n_layer", 3),
            heads=config.get("n_head", 1),
            max_timestep=config.get("max_ep_len", 4096),
            actions=partial(ContinuousActions, bounded=bool(config.get("action_tanh", True))),
            mixer=partial(
                SelfAttention,
                causal=True,
                dropout=dropout["attn"],
                out_dropout=dropout["resid"],
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("n_inner") or 4 * dim,
                activation=activation(config.get("activation_function", "relu")),
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_epsilon", 1e-5))),
            # The norm of the tokens has torch's own epsilon there, whatever the file says.
            token_norm=partial(LayerNorm, eps=1e-5),
            dropout=float(config.get("embd_pdrop", 0.1)),
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; layers of the GPT-2 kind are stored transposed."""
        rows = (checkpoint.config or {}).get("n_positions", 1024)
        # Every token there is at position 0 of a table of positions: one constant behind the norm.
        positions = combine(
            ["norm.bias"],
            ["embed_ln.bias", "encoder.wpe.weight"],
            read=lambda bias, table: bias + table[0],
            write=lambda bias: (bias, bias.new_zeros(rows, len(bias))),
        )
        return Table(positions, *_RULES)


adapter = HuggingFaceDecisionTransformer()
