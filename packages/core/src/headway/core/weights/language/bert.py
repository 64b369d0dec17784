"""Reading and writing BERT and RoBERTa (ChemBERTa) of Hugging Face transformers."""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.language import Bert, EncoderLanguageModel, MaskedHead, Roberta, TextEmbedding
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.language.common import DEFAULTS, EncoderAdapter, normed
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.table import Rule, combine, drop, join, rename, under


class HuggingFaceBert(EncoderAdapter):
    """Recognises ``model_type: bert`` in config.json."""

    name = "Hugging Face BERT"
    model_type = "bert"
    prefix = "bert."
    architectures = ("BertForMaskedLM", "BertForPreTraining", "BertModel")
    kind: ClassVar[type[EncoderLanguageModel]] = Bert
    vocab_size, padding = 30522, 0
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, "position_embedding_type": "absolute"}
    harmless = ("classifier_dropout",)

    def first(self, config: dict[str, Any]) -> int:
        """Returns the place of the first token in the table."""
        return 0

    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration."""
        rates = {
            kind: float(config.get(f"{kind}_dropout_prob", 0.1))
            for kind in ("hidden", "attention_probs")
        }
        norm = partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12)))
        act, first = activation(config.get("hidden_act", "gelu")), self.first(config)
        places = config.get("max_position_embeddings", 512)
        if places - first < 2:
            raise UserError(
                f"max_position_embeddings is {places}; a text needs at least {first + 2}"
            )
        return self.kind(
            dim=config.get("hidden_size", 768),
            depth=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            max_length=places - first,
            embedding=partial(
                TextEmbedding,
                first=first,
                segments=config.get("type_vocab_size", 2),
                norm=norm,
                dropout=rates["hidden"],
            ),
            mixer=partial(
                SelfAttention, dropout=rates["attention_probs"], out_dropout=rates["hidden"]
            ),
            feedforward=partial(
                MLP, hidden_dim=config.get("intermediate_size", 3072), activation=act
            ),
            norm=norm,
            head=partial(MaskedHead, activation=self.head_activation(config), norm=norm),
            tied=bool(config.get("tie_word_embeddings", True)),
            **options,
        )

    def head_activation(self, config: dict[str, Any]) -> Any:
        """Returns the class of the activation of the head."""
        return activation(config.get("hidden_act", "gelu"))

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [
            *body(self.prefix),
            rename("head.dense.*", "cls.predictions.transform.dense.*"),
            *normed("head.norm", "cls.predictions.transform.LayerNorm"),
            rename("head.decoder.weight", "cls.predictions.decoder.weight"),
            *decoder_bias("cls.predictions"),
            # Whether a sentence follows another.
            drop("cls.seq_relationship.*"),
        ]


class HuggingFaceRoberta(HuggingFaceBert):
    """Recognises ``model_type: roberta`` in config.json; ChemBERTa is one."""

    name = "Hugging Face RoBERTa"
    model_type = "roberta"
    prefix = "roberta."
    architectures = ("RobertaForMaskedLM", "RobertaModel")
    kind = Roberta
    vocab_size, padding = 50265, 1

    def first(self, config: dict[str, Any]) -> int:
        """Returns the place of the first token in the table."""
        return 1 + config.get("pad_token_id", 1)

    def head_activation(self, config: dict[str, Any]) -> Any:
        """Returns the class of the activation of the head, whatever that of the blocks is."""
        return activation("gelu")

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [
            *body(self.prefix),
            rename("head.dense.*", "lm_head.dense.*"),
            *normed("head.norm", "lm_head.layer_norm"),
            rename("head.decoder.weight", "lm_head.decoder.weight"),
            *decoder_bias("lm_head"),
        ]


def body(prefix: str) -> Sequence[Rule]:
    """Returns the rules of embedding and blocks.

    Args:
        prefix: In front of their names.
    """
    return [
        rename("embedding.token.weight", f"{prefix}embeddings.word_embeddings.weight"),
        rename("embedding.position.weight", f"{prefix}embeddings.position_embeddings.weight"),
        rename("embedding.segment", f"{prefix}embeddings.token_type_embeddings.weight"),
        *normed("embedding.norm", f"{prefix}embeddings.LayerNorm"),
        # Numbers of places, which old versions saved, and a layer for the first token.
        drop("*embeddings.position_ids", f"{prefix}pooler.dense.*"),
        *under(
            "encoder.blocks.{n}.",
            f"{prefix}encoder.layer.{{n}}.",
            *attention(),
            *normed("mixer.norm", "attention.output.LayerNorm"),
            *normed("feedforward.norm", "output.LayerNorm"),
        ),
    ]


def attention() -> list[Rule]:
    """Returns the rules of what is linear in a block."""
    return [
        join("mixer.function.qkv.*", [f"attention.self.{x}.*" for x in ("query", "key", "value")]),
        rename("mixer.function.projection.*", "attention.output.dense.*"),
        rename("feedforward.function.fc1.*", "intermediate.dense.*"),
        rename("feedforward.function.fc2.*", "output.dense.*"),
    ]


def decoder_bias(front: str) -> list[Rule]:
    """Returns the rules of the bias of each token, which some files hold twice; the decoder's own is used.

    Args:
        front: In front of their names.
    """
    whole, own = f"{front}.bias", f"{front}.decoder.bias"
    twice = combine(
        ["head.decoder.bias"],
        [whole, own],
        read=lambda one, other: other,
        write=lambda value: (value, value.clone()),
    )
    return [twice, rename("head.decoder.bias", whole)]
