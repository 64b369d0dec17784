"""Reading and writing ModernBERT of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from headway.core.errors import UserError
from headway.core.feedforward import GLU
from headway.core.language import EncoderLanguageModel, MaskedHead, ModernBert, TextEmbedding
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary
from headway.core.weights.language.common import EncoderAdapter, normed, rotation
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.table import Rule, rename, under

_FULL, _SLIDING = "full_attention", "sliding_attention"


class HuggingFaceModernBert(EncoderAdapter):
    """Recognises ``model_type: modernbert`` in config.json."""

    name = "Hugging Face ModernBERT"
    model_type = "modernbert"
    prefix = "model."
    architectures = ("ModernBertForMaskedLM", "ModernBertModel")
    vocab_size, padding = 50368, 50283
    defaults: ClassVar[dict[str, Any]] = {"mlp_dropout": 0.0, "position_embedding_type": "absolute"}
    # Of heads for other tasks, of training, and of how it is computed.
    harmless = (
        "classifier_dropout",
        "classifier_pooling",
        "cls_token_id",
        "deterministic_flash_attn",
        "gradient_checkpointing",
        "initializer_cutoff_factor",
        "reference_compile",
        "repad_logits_with_grad",
        "sep_token_id",
        "sparse_pred_ignore_index",
        "sparse_prediction",
    )

    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration."""
        eps, bias = float(config.get("norm_eps", 1e-5)), bool(config.get("norm_bias", False))
        norm = partial(LayerNorm, eps=eps, bias=bias)
        return ModernBert(
            dim=config.get("hidden_size", 768),
            depth=config.get("num_hidden_layers", 22),
            heads=config.get("num_attention_heads", 12),
            max_length=config.get("max_position_embeddings", 8192),
            embedding=partial(
                TextEmbedding,
                position=None,
                norm=norm,
                dropout=float(config.get("embedding_dropout", 0.0)),
            ),
            mixer=self.mixers(config),
            feedforward=partial(
                GLU,
                hidden_dim=config.get("intermediate_size", 1152),
                activation=activation(config.get("hidden_activation", "gelu")),
                bias=bool(config.get("mlp_bias", False)),
            ),
            norm=norm,
            head=partial(
                MaskedHead,
                activation=activation(config.get("classifier_activation", "gelu")),
                norm=norm,
                bias=bool(config.get("classifier_bias", False)),
                out_bias=bool(config.get("decoder_bias", True)),
            ),
            tied=bool(config.get("tie_word_embeddings", True)),
            **options,
        )

    def mixers(self, config: dict[str, Any]) -> list[Any]:
        """Returns the mixer of each block: of the whole text, or of a window."""
        biased, rate = (
            bool(config.get("attention_bias", False)),
            float(config.get("attention_dropout", 0.0)),
        )
        plain = partial(
            SelfAttention, qkv_bias=biased, out_bias=biased, dropout=rate, out_dropout=rate
        )
        every = config.get("global_attn_every_n_layers", 3)
        depth = config.get("num_hidden_layers", 22)
        usual = [_SLIDING if place % every else _FULL for place in range(depth)]
        kinds = config.get("layer_types") or usual
        # 4.x has the base of each kind by itself, 5.x what rotations are for each.
        scaled = config.get("rope_parameters") or {}
        bases = {
            _FULL: config.get("global_rope_theta", 160000.0),
            _SLIDING: config.get("local_rope_theta") or 10000.0,
        }
        made = {
            kind: partial(
                plain,
                position=partial(Rotary, theta=theta_of(scaled.get(kind), base)),
                window=config.get("local_attention", 128) // 2 if kind == _SLIDING else None,
            )
            for kind, base in bases.items()
        }
        if other := set(kinds) - made.keys():
            raise UserError(f"layer_types has {min(other)!r}; known: {', '.join(sorted(made))}")
        return [made[kind] for kind in kinds[:depth]]

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [
            rename("embedding.token.weight", "model.embeddings.tok_embeddings.weight"),
            *normed("embedding.norm", "model.embeddings.norm"),
            *normed("encoder.norm", "model.final_norm"),
            *under(
                "encoder.blocks.{n}.",
                "model.layers.{n}.",
                *normed("mixer.norm", "attn_norm"),
                *normed("feedforward.norm", "mlp_norm"),
                rename("mixer.function.qkv.*", "attn.Wqkv.*"),
                rename("mixer.function.projection.*", "attn.Wo.*"),
                rename("feedforward.function.fc1.*", "mlp.Wi.*"),
                rename("feedforward.function.fc2.*", "mlp.Wo.*"),
            ),
            rename("head.dense.*", "head.dense.*"),
            *normed("head.norm", "head.norm"),
            rename("head.decoder.*", "decoder.*"),
        ]


def theta_of(parameters: Any, base: float) -> float:
    """Returns the base of the rotations of a kind of block.

    Args:
        parameters: What 5.x says of the kind; None in files of 4.x.
        base: What holds if it says nothing.
    """
    return rotation({"rope_parameters": parameters, "rope_theta": base})[0]
