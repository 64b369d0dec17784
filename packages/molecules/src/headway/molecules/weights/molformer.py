"""Reading and writing MoLFormer as its authors publish it for Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.language import EncoderLanguageModel, MaskedHead, TextEmbedding, Tokenizer
from headway.core.mixers import GeneralizedRandomFeatures, LinearAttention
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.bert import attention
from headway.core.weights.language.common import DEFAULTS, EncoderAdapter, normed
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.language.tokenizers import read_tokenizer
from headway.core.weights.table import TRANSPOSED, Rule, drop, rename, under
from headway.molecules.models import MoLFormer


class PublishedMoLFormer(EncoderAdapter):
    """Recognises ``model_type: molformer`` in config.json; its code is not run.

    Files of the class for properties load as an encoder: what stands in front of their numbers is a head of
    another task. Sums of weights below ``linear_attention_eps`` are not raised to it; 0 stays 0.
    """

    name = "MoLFormer of its authors"
    model_type = "molformer"
    prefix = "molformer."
    architectures = ("MolformerForMaskedLM", "MolformerModel", "MolformerForSequenceClassification")
    vocab_size, padding = 2362, 2
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, "feature_map_kernel": "relu"}
    # Whether features are drawn anew, of other heads, and where the authors' code lies, which is not run.
    harmless = (
        *("deterministic_eval", "linear_attention_eps", "auto_map", "initializer_range"),
        *("classifier_dropout_prob", "classifier_skip_connection"),
    )

    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder."""
        usual = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": self.padding}
        return read_tokenizer(checkpoint, self.size(checkpoint), **usual)

    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration."""
        dim, act = config.get("hidden_size", 768), activation(config.get("hidden_act", "gelu"))
        features = config.get("num_random_features", 32)
        if not isinstance(features, int) or features < 1:
            raise UserError(f"num_random_features is {features!r}; it must be at least 1")
        norm = partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12)))
        return MoLFormer(
            dim=dim,
            depth=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            max_length=config.get("max_position_embeddings", 202),
            embedding=partial(
                TextEmbedding,
                position=None,
                norm=None,
                dropout=float(config.get("embedding_dropout_prob", 0.2)),
            ),
            mixer=partial(
                LinearAttention,
                feature_map=partial(GeneralizedRandomFeatures, features=features),
                position=Rotary,
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("intermediate_size", 768),
                activation=act,
                dropout=float(config.get("hidden_dropout_prob", 0.1)),
            ),
            norm=norm,
            head=partial(MaskedHead, activation=act, norm=norm, out_bias=False),
            tied=bool(config.get("tie_word_embeddings", True)),
            **options,
        )

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [
            rename("embedding.token.weight", "molformer.embeddings.word_embeddings.weight"),
            *normed("encoder.norm", "molformer.LayerNorm"),
            drop("*rotary_embeddings.*", "classifier.*"),
            *under(
                "encoder.blocks.{n}.",
                "molformer.encoder.layer.{n}.",
                rename(
                    "mixer.function.feature_map.directions",
                    "attention.self.feature_map.weight",
                    form=TRANSPOSED,
                ),
                *attention(),
                *normed("mixer.norm", "attention.output.LayerNorm"),
                *normed("feedforward.norm", "output.LayerNorm"),
            ),
            rename("head.dense.*", "lm_head.transform.dense.*"),
            *normed("head.norm", "lm_head.transform.LayerNorm"),
            rename("head.decoder.weight", "lm_head.decoder.weight"),
        ]


adapter = PublishedMoLFormer()
