"""Reading and writing ESM-2 of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.language import (
    EncoderLanguageModel,
    Esm2,
    MaskedHead,
    MaskScaledEmbedding,
    TextEmbedding,
)
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary
from headway.core.weights.language.bert import attention
from headway.core.weights.language.common import DEFAULTS, EncoderAdapter, normed
from headway.core.weights.table import Rule, drop, rename, under


class HuggingFaceESM(EncoderAdapter):
    """Recognises ``model_type: esm`` in config.json, of version 2: with rotations."""

    name = "Hugging Face ESM-2"
    model_type = "esm"
    prefix = "esm."
    architectures = ("EsmForMaskedLM", "EsmModel")
    vocab_size, padding = 33, 1
    defaults: ClassVar[dict[str, Any]] = {
        **DEFAULTS,
        "is_folding_model": False,
        "esmfold_config": None,
        "hidden_act": "gelu",
    }
    # Of a head for another task, what vocab.txt has, and the hidden token where nothing asks for it.
    harmless = ("classifier_dropout", "vocab_list", "mask_token_id")

    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration."""
        kind = config.get("position_embedding_type", "absolute")
        if kind != "rotary":
            raise UserError(
                f"positions of this ESM are {kind!r}; only those of version 2, 'rotary', are read"
            )
        if config.get("emb_layer_norm_before"):
            raise UserError("this ESM has a norm in front of its blocks, as only version 1b has")
        rates = {
            kind: float(config.get(f"{kind}_dropout_prob", 0.1))
            for kind in ("hidden", "attention_probs")
        }
        norm = partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12)))
        embedding: Any = partial(TextEmbedding, position=None, norm=None)
        if config.get("token_dropout", False):
            embedding = partial(MaskScaledEmbedding, mask=config["mask_token_id"])
        return Esm2(
            dim=config.get("hidden_size", 768),
            depth=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            max_length=config.get("max_position_embeddings", 1026),
            embedding=embedding,
            mixer=partial(
                SelfAttention,
                position=partial(Rotary, theta=float(config.get("rope_theta", 10000.0))),
                dropout=rates["attention_probs"],
                out_dropout=rates["hidden"],
            ),
            feedforward=partial(MLP, hidden_dim=config.get("intermediate_size", 3072)),
            norm=norm,
            head=partial(MaskedHead, norm=norm),
            tied=bool(config.get("tie_word_embeddings", True)),
            **options,
        )

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [
            rename("embedding.token.weight", "esm.embeddings.word_embeddings.weight"),
            *normed("encoder.norm", "esm.encoder.emb_layer_norm_after"),
            # What follows from the configuration, which places are near in space, and a layer for the first.
            drop("*rotary_embeddings.inv_freq", "*embeddings.position_ids"),
            drop("esm.embeddings.position_embeddings.weight"),
            drop("esm.contact_head.regression.*", "esm.pooler.dense.*"),
            *under(
                "encoder.blocks.{n}.",
                "esm.encoder.layer.{n}.",
                *attention(),
                *normed("mixer.norm", "attention.LayerNorm"),
                *normed("feedforward.norm", "LayerNorm"),
            ),
            rename("head.dense.*", "lm_head.dense.*"),
            *normed("head.norm", "lm_head.layer_norm"),
            rename("head.decoder.weight", "lm_head.decoder.weight"),
            rename("head.decoder.bias", "lm_head.bias"),
        ]
