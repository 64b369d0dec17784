"""Reading Wav2Vec2-Conformer checkpoints of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, join, pointwise, rename, under
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC
from headway.speech.weights.processors import read_characters, read_waveform, written_ctc
from headway.speech.weights.waveforms import (
    HARMLESS,
    PRETRAINING,
    read_activation,
    stem_rules,
    waveform_stem,
)

_BASE = "wav2vec2_conformer."


def macaron_rules(base: str) -> list[Rule]:
    """Returns the rules of the blocks, but for the norm behind the convolution.

    Args:
        base: In front of their names.
    """
    return under(
        "encoder.encoder.blocks.{n}.",
        f"{base}encoder.layers.{{n}}.",
        rename("feedforward_in.norm.*", "ffn1_layer_norm.*"),
        rename("feedforward_in.function.fc1.*", "ffn1.intermediate_dense.*"),
        rename("feedforward_in.function.fc2.*", "ffn1.output_dense.*"),
        rename("feedforward_out.norm.*", "ffn2_layer_norm.*"),
        rename("feedforward_out.function.fc1.*", "ffn2.intermediate_dense.*"),
        rename("feedforward_out.function.fc2.*", "ffn2.output_dense.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        join("mixer.function.qkv.*", [f"self_attn.linear_{part}.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.linear_out.*"),
        rename("mixer.function.position.relative.*", "self_attn.linear_pos.*"),
        rename("mixer.function.position.content_bias", "self_attn.pos_bias_u"),
        rename("mixer.function.position.place_bias", "self_attn.pos_bias_v"),
        rename("convolution.norm.*", "conv_module.layer_norm.*"),
        # Convolutions over one frame are linear layers here.
        rename("convolution.function.expand.*", "conv_module.pointwise_conv1.*", form=pointwise(1)),
        rename("convolution.function.convolution.*", "conv_module.depthwise_conv.*"),
        rename(
            "convolution.function.projection.*", "conv_module.pointwise_conv2.*", form=pointwise(1)
        ),
        rename("norm.*", "final_layer_norm.*"),
    )


_TABLE = Table(
    stem_rules(_BASE),
    rename("encoder.encoder.norm.*", f"{_BASE}encoder.layer_norm.*"),
    macaron_rules(_BASE),
    under(
        "encoder.encoder.blocks.{n}.convolution.",
        f"{_BASE}encoder.layers.{{n}}.conv_module.",
        rename("function.norm.*", "batch_norm.*"),
    ),
    rename("head.classifier.*", "lm_head.*"),
    PRETRAINING,
    # A positional convolution that the Conformer inherited and never calls, and the mask of pre-training.
    drop(f"{_BASE}masked_spec_embed", f"{_BASE}encoder.pos_conv_embed.*"),
    prefix=_BASE,
)


class HuggingFaceConformer:
    """Recognises ``model_type: wav2vec2-conformer`` in config.json."""

    name = "Hugging Face Wav2Vec2-Conformer"
    architectures = (
        "Wav2Vec2ConformerForCTC",
        "Wav2Vec2ConformerModel",
        "Wav2Vec2ConformerForPreTraining",
    )
    # Of transformers' Wav2Vec2ConformerConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "feat_extract_activation": "gelu",
        "use_weighted_layer_sum": False,
        "add_adapter": False,
    }
    # Sizes of parts that are not there.
    harmless = (
        *HARMLESS, "do_stable_layer_norm", "max_source_positions", "num_conv_pos_embedding_groups",
        "num_conv_pos_embeddings", "rotary_embedding_base",
    )  # fmt: skip
    # A checkpoint of pre-training has no head.
    may_miss = ("head.classifier.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "wav2vec2-conformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        return CTC(
            encoder=build_encoder(config),
            tokenizer=read_characters(checkpoint),
            front_end=read_waveform(checkpoint),
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
    position = config.get("position_embeddings_type", "relative")
    if position not in ("relative", None):
        raise UserError(
            f"position_embeddings_type {position!r} of this checkpoint turns the input of queries and "
            "keys before their projection, which no mixer here does; take a 'relative' one"
        )
    if config.get("add_adapter"):
        raise UserError("a checkpoint with add_adapter is not supported; take one without")
    activation = read_activation(config)
    hidden, attention = config.get("hidden_dropout", 0.1), config.get("attention_dropout", 0.1)
    convolution = partial(
        GatedConvolutionMixer,
        window=config.get("conv_depthwise_kernel_size", 31),
        activation=activation,
        dropout=config.get("conformer_conv_dropout", 0.1),
    )
    return Conformer(
        dim=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        stem=waveform_stem(config),
        mixer=partial(
            SelfAttention,
            position=RelativeSinusoidal if position == "relative" else None,
            dropout=attention,
            out_dropout=attention,
        ),
        feedforward=partial(
            MLP,
            hidden_dim=config["intermediate_size"],
            activation=activation,
            dropout=hidden,
        ),
        norm=partial(LayerNorm, eps=1e-5),
        block=partial(MacaronBlock, convolution=convolution),
        final_norm=True,
    )


adapter = HuggingFaceConformer()
