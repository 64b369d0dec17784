"""Reading and writing GPT-2 of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.language import GPT2, DecoderLanguageModel
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.language.common import DEFAULTS, DecoderAdapter
from headway.core.weights.table import TRANSPOSED, Rule, drop, rename, under

ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "gelu": GELU,
    "gelu_new": partial(GELU, approximate="tanh"),
    "gelu_fast": partial(GELU, approximate="tanh"),
    "gelu_pytorch_tanh": partial(GELU, approximate="tanh"),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
# What else GPT2Config says of attention.
ATTENTION: dict[str, Any] = {
    "reorder_and_upcast_attn": False,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}
BLOCK = (
    # Causal masks, which old versions saved.
    drop("attn.bias", "attn.masked_bias"),
    rename("mixer.norm.*", "ln_1.*"),
    rename("feedforward.norm.*", "ln_2.*"),
    rename("mixer.function.qkv.*", "attn.c_attn.*", form=TRANSPOSED),
    rename("mixer.function.projection.*", "attn.c_proj.*", form=TRANSPOSED),
    rename("feedforward.function.fc1.*", "mlp.c_fc.*", form=TRANSPOSED),
    rename("feedforward.function.fc2.*", "mlp.c_proj.*", form=TRANSPOSED),
)
"""Names of a block: GPT-2 itself, and what is made of it (decision transformers)."""

RULES = [
    rename("embedding.*", "transformer.wte.*"),
    rename("position.*", "transformer.wpe.*"),
    rename("decoder.norm.*", "transformer.ln_f.*"),
    rename("head.*", "lm_head.*"),
    *under("decoder.blocks.{n}.", "transformer.h.{n}.", *BLOCK),
]


def activation(name: str) -> Any:
    """Returns the class of an activation.

    Raises:
        UserError: If it is not known.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"the activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def parts(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a ``GPT2`` that a configuration describes, but for its tokenizer."""
    dim = config.get("n_embd", 768)
    rates = {name: float(config.get(f"{name}_pdrop", 0.1)) for name in ("attn", "resid")}
    return {
        "dim": dim,
        "depth": config.get("n_layer", 12),
        "heads": config.get("n_head", 12),
        "max_length": config.get("n_positions", 1024),
        "mixer": partial(
            SelfAttention, causal=True, dropout=rates["attn"], out_dropout=rates["resid"]
        ),
        "feedforward": partial(
            MLP,
            hidden_dim=config.get("n_inner") or 4 * dim,
            activation=activation(config.get("activation_function", "gelu_new")),
        ),
        "norm": partial(LayerNorm, eps=float(config.get("layer_norm_epsilon", 1e-5))),
        "tied": bool(config.get("tie_word_embeddings", True)),
        "dropout": float(config.get("embd_pdrop", 0.1)),
    }


class HuggingFaceGPT2(DecoderAdapter):
    """Recognises ``model_type: gpt2`` in config.json."""

    name = "Hugging Face GPT-2"
    model_type = "gpt2"
    prefix = "transformer."
    architectures = ("GPT2LMHeadModel", "GPT2Model")
    vocab_size, start, end = 50257, 50256, 50256
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, **ATTENTION}
    # Of heads for other tasks.
    harmless = (
        "summary_type",
        "summary_use_proj",
        "summary_activation",
        "summary_proj_to_labels",
        "summary_first_dropout",
        "n_ctx",
    )

    def model(self, config: dict[str, Any], **options: Any) -> DecoderLanguageModel:
        """Returns the model of a configuration."""
        return GPT2(**parts(config), **options)

    def rules(self, model: DecoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return RULES
