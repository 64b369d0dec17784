"""Reading w2v-BERT 2.0 of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal, RelativeVectors
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, rename
from headway.speech.front_ends import StackedFbank
from headway.speech.layers import ProjectedFeatures
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC
from headway.speech.weights.hugging_face import macaron_rules
from headway.speech.weights.processors import read_characters, read_processor, written_ctc
from headway.speech.weights.waveforms import HARMLESS, read_activation

_BASE = "wav2vec2_bert."
_CONVOLUTION = "encoder.encoder.blocks.{n}.convolution.function."
_TABLE = Table(
    rename("encoder.stem.norm.*", f"{_BASE}feature_projection.layer_norm.*"),
    rename("encoder.stem.projection.*", f"{_BASE}feature_projection.projection.*"),
    macaron_rules(_BASE),
    rename(
        f"{_CONVOLUTION}norm.*",
        f"{_BASE}encoder.layers.{{n}}.conv_module.depthwise_layer_norm.*",
    ),
    rename(
        "encoder.encoder.blocks.{n}.mixer.function.position.key_table",
        f"{_BASE}encoder.layers.{{n}}.self_attn.distance_embedding.weight",
    ),
    rename("head.classifier.*", "lm_head.*"),
    drop(f"{_BASE}masked_spec_embed"),
    prefix=_BASE,
)


class HuggingFaceWav2Vec2Bert:
    """Recognises ``model_type: wav2vec2-bert`` in config.json."""

    name = "Hugging Face Wav2Vec2-BERT"
    architectures = ("Wav2Vec2BertForCTC", "Wav2Vec2BertModel")
    # Of transformers' Wav2Vec2BertConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {"use_weighted_layer_sum": False, "add_adapter": False}
    harmless = (*HARMLESS, "max_source_positions", "rotary_embedding_base")
    # What is published to be fine-tuned has no head.
    may_miss = ("head.classifier.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "wav2vec2-bert"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        return CTC(
            encoder=build_encoder(config),
            tokenizer=read_characters(checkpoint),
            front_end=_front_end(checkpoint),
            dropout=config.get("final_dropout", 0.1),
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json and vocab.json of a model that writes other tokens."""
        assert isinstance(model, CTC)
        return written_ctc(checkpoint, model)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def build_encoder(config: dict[str, Any]) -> Conformer:
    """Returns the encoder that a config.json describes.

    Raises:
        UserError: If it asks for parts that are not here.
    """
    if config.get("add_adapter"):
        raise UserError("a checkpoint with add_adapter is not supported; take one without")
    activation = read_activation(config, usual="swish")
    norm = partial(LayerNorm, eps=config.get("layer_norm_eps", 1e-5))
    attention = config.get("attention_dropout", 0.0)
    return Conformer(
        dim=config.get("hidden_size", 1024),
        depth=config.get("num_hidden_layers", 24),
        heads=config.get("num_attention_heads", 16),
        stem=partial(
            ProjectedFeatures,
            features=config.get("feature_projection_input_dim", 160),
            eps=config.get("layer_norm_eps", 1e-5),
            dropout=config.get("feat_proj_dropout", 0.0),
        ),
        mixer=partial(
            SelfAttention, position=_position(config), dropout=attention, out_dropout=attention
        ),
        feedforward=partial(
            MLP,
            hidden_dim=config.get("intermediate_size", 4096),
            activation=activation,
            dropout=config.get("hidden_dropout", 0.0),
        ),
        norm=norm,
        block=partial(
            MacaronBlock,
            convolution=partial(
                GatedConvolutionMixer,
                window=config.get("conv_depthwise_kernel_size", 31),
                causal=True,
                norm=norm,
                activation=activation,
                dropout=config.get("conformer_conv_dropout", 0.1),
            ),
        ),
    )


def _position(config: dict[str, Any]) -> Any:
    """Returns what builds the positions of the attention."""
    kind = config.get("position_embeddings_type", "relative_key")
    reach = (
        config.get("left_max_position_embeddings", 64),
        config.get("right_max_position_embeddings", 8),
    )
    known = {
        "relative_key": partial(RelativeVectors, reach=reach, values=False),
        "relative": RelativeSinusoidal,
        None: None,
    }
    if kind not in known:
        raise UserError(
            f"position_embeddings_type {kind!r} of this checkpoint turns the input of queries and keys "
            "before their projection, which no mixer here does; take a 'relative_key' one"
        )
    return known[kind]


def _front_end(checkpoint: Checkpoint) -> StackedFbank:
    notes = read_processor(checkpoint)
    size = (checkpoint.config or {}).get("feature_projection_input_dim", 160)
    mels, stack = notes.get("num_mel_bins", 80), notes.get("stride", 2)
    if mels * stack != size:
        raise UserError(
            f"{checkpoint.source}: {stack} frames of {mels} bands are {mels * stack} features, and the model "
            f"hears {size}; make its processor's num_mel_bins and stride fit"
        )
    return StackedFbank(sample_rate=notes.get("sampling_rate", 16000), mels=mels, stack=stack)


adapter = HuggingFaceWav2Vec2Bert()
