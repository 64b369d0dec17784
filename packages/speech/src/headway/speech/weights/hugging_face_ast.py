"""Reading checkpoints of the Audio Spectrogram Transformer of Hugging Face, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn

from headway.core.blocks import PreNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Table, combine, join, rename, under
from headway.speech.front_ends import FixedFbank
from headway.speech.models.audio_spectrogram import AST
from headway.speech.weights.processors import PROCESSOR, read_processor
from headway.speech.weights.waveforms import read_activation

_BASE = "audio_spectrogram_transformer."
_TABLE = Table(
    under(
        "",
        _BASE,
        combine(
            ["front"],
            ["embeddings.cls_token", "embeddings.distillation_token"],
            read=lambda first, second: (torch.cat([first, second], dim=1),),
            write=lambda front: (front[:, :1], front[:, 1:]),
        ),
        rename("position.table", "embeddings.position_embeddings"),
        rename("embedding.*", "embeddings.patch_embeddings.projection.*"),
        rename("encoder.norm.*", "layernorm.*"),
    ),
    under(
        "encoder.blocks.{n}.",
        (f"{_BASE}encoder.layer.{{n}}.", f"{_BASE}layers.{{n}}."),
        rename("mixer.norm.*", "layernorm_before.*"),
        rename("feedforward.norm.*", "layernorm_after.*"),
        join(
            "mixer.function.qkv.*",
            [f"attention.attention.{part}.*" for part in ("query", "key", "value")],
            [f"attention.{part}_proj.*" for part in "qkv"],
        ),
        rename("mixer.function.projection.*", "attention.output.dense.*", "attention.o_proj.*"),
        rename("feedforward.function.fc1.*", "intermediate.dense.*", "mlp.fc1.*"),
        rename("feedforward.function.fc2.*", "output.dense.*", "mlp.fc2.*"),
    ),
    rename("head.norm.*", "classifier.layernorm.*"),
    rename("head.classifier.*", "classifier.dense.*"),
    prefix=_BASE,
)


class HuggingFaceAST:
    """Recognises ``model_type: audio-spectrogram-transformer`` in config.json."""

    name = "Hugging Face AST"
    architectures = ("ASTForAudioClassification", "ASTModel")
    # Of transformers' ASTConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = ()
    # A base model has no classifier.
    may_miss = ("head.norm.", "head.classifier.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "audio-spectrogram-transformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        dropout = config.get("hidden_dropout_prob", 0.0)
        return AST(
            classes=_classes(checkpoint),
            front_end=_front_end(checkpoint),
            dim=config.get("hidden_size", 768),
            depth=config.get("num_hidden_layers", 12),
            heads=config.get("num_attention_heads", 12),
            patch=config.get("patch_size", 16),
            stride=(config.get("frequency_stride", 10), config.get("time_stride", 10)),
            mixer=partial(
                SelfAttention,
                qkv_bias=config.get("qkv_bias", True),
                dropout=config.get("attention_probs_dropout_prob", 0.0),
                out_dropout=dropout,
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("intermediate_size", 3072),
                activation=read_activation(config),
                dropout=dropout,
            ),
            block=overrides.pop("block", PreNormBlock),
            norm=partial(LayerNorm, eps=config.get("layer_norm_eps", 1e-12)),
            dropout=dropout,
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json, and what the feature extractor reads, of a changed model."""
        assert isinstance(model, AST)
        front = model.front_end
        assert isinstance(front, FixedFbank)
        sizes = {"max_length": (front.steps, 1024), "num_mel_bins": (front.bands, 128)}
        config = with_changes(checkpoint.config, sizes)
        if model.classes and model.classes != _classes(checkpoint):
            config["id2label"] = {str(n): name for n, name in enumerate(model.classes)}
            config["label2id"] = {name: n for n, name in enumerate(model.classes)}
        return {"config.json": config}

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names, of both generations."""
        return _TABLE


def _classes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Returns the names of the classes: numbers, where a file has none or some twice."""
    weight = checkpoint.state.get("classifier.dense.weight")
    if weight is None:
        return ()
    numbers = [str(number) for number in range(len(weight))]
    names = (checkpoint.config or {}).get("id2label") or {}
    known = tuple(names.get(number, number) for number in numbers)
    return known if len(set(known)) == len(known) else tuple(numbers)


def _front_end(checkpoint: Checkpoint) -> FixedFbank:
    config = checkpoint.config or {}
    bands, steps = config.get("num_mel_bins", 128), config.get("max_length", 1024)
    notes = read_processor(checkpoint)
    asked = notes.get("num_mel_bins", bands), notes.get("max_length", steps)
    if asked != (bands, steps):
        raise UserError(
            f"{PROCESSOR} asks for {asked[0]} bands and {asked[1]} steps, and config.json for {bands} and "
            f"{steps}; make them the same"
        )
    plain = not notes.get("do_normalize", True)
    return FixedFbank(
        sample_rate=notes.get("sampling_rate", 16000),
        mels=bands,
        steps=steps,
        # Nothing is taken off, and half is the deviation that divides by one.
        mean=0.0 if plain else notes.get("mean", -4.2677393),
        std=0.5 if plain else notes.get("std", 4.5689974),
    )


adapter = HuggingFaceAST()
