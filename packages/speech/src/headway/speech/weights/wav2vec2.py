"""Reading wav2vec 2.0 (with MMS), HuBERT and WavLM of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.blocks import PostNormBlock, PreNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import GatedBiasAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import BucketedBias
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Reshaped, Table, drop, join, rename, under
from headway.speech.layers import ConvolutionalPosition
from headway.speech.models.ctc import CTC
from headway.speech.models.wav2vec2 import LanguageBlock, Wav2Vec2
from headway.speech.weights.processors import read_characters, read_waveform, written_ctc
from headway.speech.weights.waveforms import (
    HARMLESS,
    PRETRAINING,
    read_activation,
    stem_rules,
    waveform_stem,
)

# A number for each head, with axes for items, queries and keys there.
_PER_HEAD = Reshaped(lambda value: value.flatten(), lambda value: value[None, :, None, None])


class Wav2Vec2Family:
    """Recognises one ``model_type`` in config.json.

    Args:
        name: Of the format.
        model_type: As config.json says it.
        classes: In front of the names of the published classes.
    """

    # Of the published configurations, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "feat_extract_activation": "gelu",
        "use_weighted_layer_sum": False,
        "add_adapter": False,
        "conv_pos_batch_norm": False,
    }
    harmless = HARMLESS
    # A checkpoint of pre-training has no head.
    may_miss = ("head.classifier.",)

    def __init__(self, name: str, model_type: str, classes: str) -> None:
        self.name, self.model_type = name, model_type
        self.architectures = tuple(
            f"{classes}{kind}" for kind in ("ForCTC", "Model", "ForPreTraining")
        )

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == self.model_type

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
        """Returns the names; WavLM's biases of distances stand in a file once."""
        assert isinstance(model, CTC)
        assert isinstance(model.encoder, Wav2Vec2)
        base = f"{self.model_type}."
        ours = "encoder.norm.*" if model.encoder.norm is not None else "encoder.encoder.norm.*"
        place = "encoder.encoder.blocks.{}.mixer.function.relative.table"
        gated = self.model_type == "wavlm"
        depth = len(model.encoder.encoder.blocks) if gated else 0
        return Table(
            stem_rules(base),
            rename(ours, f"{base}encoder.layer_norm.*"),
            under(
                "encoder.position.",
                f"{base}encoder.pos_conv_embed.conv.",
                rename("length", "parametrizations.weight.original0", "weight_g"),
                rename("direction", "parametrizations.weight.original1", "weight_v"),
                rename("bias", "bias"),
            ),
            under(
                "encoder.encoder.blocks.{n}.",
                f"{base}encoder.layers.{{n}}.",
                rename("mixer.norm.*", "layer_norm.*"),
                join("mixer.function.qkv.*", [f"attention.{part}_proj.*" for part in "qkv"]),
                rename("mixer.function.projection.*", "attention.out_proj.*"),
                rename("mixer.function.gates.*", "attention.gru_rel_pos_linear.*"),
                rename("mixer.function.strength", "attention.gru_rel_pos_const", form=_PER_HEAD),
                rename("mixer.function.relative.table", "attention.rel_attn_embed.weight"),
                rename("feedforward.norm.*", "final_layer_norm.*"),
                rename("feedforward.function.fc1.*", "feed_forward.intermediate_dense.*"),
                rename("feedforward.function.fc2.*", "feed_forward.output_dense.*"),
                rename("adapter.norm.*", "adapter_layer.norm.*"),
                rename("adapter.function.fc1.*", "adapter_layer.linear_1.*"),
                rename("adapter.function.fc2.*", "adapter_layer.linear_2.*"),
            ),
            rename("head.classifier.*", "lm_head.*"),
            PRETRAINING,
            # Stands in the place of what pre-training and its kind of augmentation mask.
            drop(f"{base}masked_spec_embed"),
            prefix=base,
            tied={place.format(n): place.format(0) for n in range(1, depth)},
        )


def build_encoder(config: dict[str, Any]) -> Wav2Vec2:
    """Returns the encoder that a config.json describes.

    Raises:
        UserError: If it asks for parts that are not here.
    """
    if config.get("add_adapter"):
        raise UserError("a checkpoint with add_adapter is not supported; take one without")
    if config.get("conv_pos_batch_norm"):
        raise UserError("a checkpoint with conv_pos_batch_norm is not supported; take one without")
    hidden, eps = config.get("hidden_dropout", 0.1), config.get("layer_norm_eps", 1e-5)
    norm = partial(LayerNorm, eps=eps)
    dropouts = {"dropout": config.get("attention_dropout", 0.1), "out_dropout": hidden}
    mixer: Any = partial(SelfAttention, **dropouts)
    if config.get("model_type") == "wavlm":
        relative = partial(
            BucketedBias,
            buckets=config.get("num_buckets", 320),
            max_distance=config.get("max_bucket_distance", 800),
        )
        mixer = partial(GatedBiasAttention, relative=relative, **dropouts)
    stable = config.get("do_stable_layer_norm", False)
    return Wav2Vec2(
        dim=config.get("hidden_size", 768),
        depth=config.get("num_hidden_layers", 12),
        heads=config.get("num_attention_heads", 12),
        stem=waveform_stem(config, normed=config.get("feat_proj_layer_norm", True)),
        position=partial(
            ConvolutionalPosition,
            window=config.get("num_conv_pos_embeddings", 128),
            groups=config.get("num_conv_pos_embedding_groups", 16),
        ),
        mixer=mixer,
        feedforward=partial(
            MLP,
            hidden_dim=config.get("intermediate_size", 3072),
            activation=read_activation(config),
            dropout=hidden,
        ),
        norm=norm,
        block=_pre_norm(config) if stable else PostNormBlock,
        norm_in_front=not stable,
        dropout=hidden,
    )


def _pre_norm(config: dict[str, Any]) -> Any:
    """Returns the block of the large models, with the adapter of a language if there is one."""
    width = config.get("adapter_attn_dim")
    if width is None:
        return PreNormBlock
    if config.get("layer_norm_eps", 1e-5) != 1e-5:
        raise UserError("norms of language adapters have an eps of 1e-5, and so must the others")
    return partial(LanguageBlock, adapter=partial(MLP, hidden_dim=width, activation=nn.ReLU))


adapter = (
    Wav2Vec2Family("Hugging Face Wav2Vec2", "wav2vec2", "Wav2Vec2"),
    Wav2Vec2Family("Hugging Face HuBERT", "hubert", "Hubert"),
    Wav2Vec2Family("Hugging Face WavLM", "wavlm", "WavLM"),
)
