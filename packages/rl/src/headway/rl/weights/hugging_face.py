"""Reading decision transformers of Hugging Face transformers."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.renaming import Renaming
from headway.rl.layers import ContinuousActions
from headway.rl.models.decision_transformer import DecisionTransformer

ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "gelu": GELU,
    "gelu_new": partial(GELU, approximate="tanh"),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
# Of transformers' DecisionTransformerConfig, for what is not read here.
DEFAULTS = {
    "vocab_size": 1,
    "n_positions": 1024,
    "bos_token_id": 50256,
    "eos_token_id": 50256,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
    "reorder_and_upcast_attn": False,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}
_BLOCK = r"^encoder\.h\.(\d+)\."
_NAMES = Renaming(
    [
        (r"^embed_timestep\.", "timestep_embedding."),
        (r"^embed_return\.", "return_embedding."),
        (r"^embed_state\.", "observation_embedding."),
        (r"^embed_action\.", "actions.embedding."),
        (r"^predict_action\.0\.", "actions.head."),
        (r"^embed_ln\.", "norm."),
        (r"^encoder\.ln_f\.", "decoder.norm."),
        (_BLOCK + r"ln_1\.", r"decoder.blocks.\1.mixer.norm."),
        (_BLOCK + r"ln_2\.", r"decoder.blocks.\1.feedforward.norm."),
        (_BLOCK + r"attn\.c_attn\.", r"decoder.blocks.\1.mixer.function.qkv."),
        (_BLOCK + r"attn\.c_proj\.", r"decoder.blocks.\1.mixer.function.projection."),
        (_BLOCK + r"mlp\.c_fc\.", r"decoder.blocks.\1.feedforward.function.fc1."),
        (_BLOCK + r"mlp\.c_proj\.", r"decoder.blocks.\1.feedforward.function.fc2."),
    ]
)


class HuggingFaceDecisionTransformer:
    """Recognises ``model_type: decision_transformer`` in config.json.

    Their files hold no statistics of observations and returns: ``normalise`` them as their model card
    says, or call ``set_statistics``.
    """

    name = "Hugging Face Decision Transformer"
    architectures = ("DecisionTransformerModel",)
    defaults = DEFAULTS
    # The word table that GPT-2 brings along, and two heads that no loss ever reached.
    may_drop = ("encoder.wte.", "predict_state.", "predict_return.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a decision transformer."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "decision_transformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        activation = config.get("activation_function", "relu")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"the activation {activation!r} is not known; known: {known}")
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
                activation=ACTIVATIONS[activation],
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_epsilon", 1e-5))),
            # The norm of the tokens has torch's own epsilon there, whatever the file says.
            token_norm=partial(LayerNorm, eps=1e-5),
            dropout=float(config.get("embd_pdrop", 0.1)),
        )

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors; their layers of the GPT-2 kind are stored transposed."""
        state: dict[str, Tensor] = {}
        for name, value in checkpoint.state.items():
            if name.endswith((".attn.bias", ".attn.masked_bias")):
                continue  # causal masks, which old versions saved
            transposed = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
            state[_NAMES(name)] = value.T.contiguous() if transposed else value
        # Every token there is at place 0 of a table of places: one constant behind the norm.
        table = state.pop("encoder.wpe.weight", None)
        if table is not None:
            state["norm.bias"] = state["norm.bias"] + table[0]
        for name, value in model.named_buffers():
            state.setdefault(name, torch.clone(value))
        return state


adapter = HuggingFaceDecisionTransformer()
