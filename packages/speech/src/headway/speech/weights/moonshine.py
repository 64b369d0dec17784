"""Reading and writing Moonshine of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.errors import UserError
from headway.core.feedforward import GLU, MLP
from headway.core.language import DecoderLanguageModel
from headway.core.mixers import CrossAttention, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.tokenizers import read_tokenizer, written_tokenizer
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Reshaped, Rule, Table, join, rename, under
from headway.speech.models.conformer import Conformer
from headway.speech.models.moonshine import Moonshine, MoonshineStem
from headway.speech.weights.processors import read_waveform
from headway.speech.weights.waveforms import read_activation

_SIZE = 32768


def _swapped(value: Tensor) -> Tensor:
    first, second = value.chunk(2)
    return torch.cat([second, first])


# The gate of the decoder's feed-forward stands behind the values there.
_GATE_IN_FRONT = Reshaped(_swapped, _swapped)


class HuggingFaceMoonshine:
    """Recognises ``model_type: moonshine`` in config.json."""

    name = "Hugging Face Moonshine"
    architectures = ("MoonshineForConditionalGeneration", "MoonshineModel")
    # Of transformers' MoonshineConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {"is_encoder_decoder": True, "rope_scaling": None}
    # What kernels are fed, and what the special tokens say themselves.
    harmless = (
        "bos_token_id", "eos_token_id", "num_hidden_layers", "num_attention_heads", "hidden_act",
        "num_key_value_heads", "pad_head_dim_to_multiple_of", "pad_token_id",
    )  # fmt: skip
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        return (checkpoint.config or {}).get("model_type") == "moonshine"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json and its neighbours describe.

        Raises:
            UserError: If it asks for parts that are not here.
        """
        config = checkpoint.config or {}
        start = config.get("decoder_start_token_id", 1)
        dim = config.get("hidden_size", 288)
        plain = {"qkv_bias": config.get("attention_bias", False), "out_bias": False}
        dropout = config.get("attention_dropout", 0.0)
        mixer = partial(SelfAttention, position=_rotary(config), dropout=dropout, **plain)
        norm = partial(LayerNorm, eps=1e-5, bias=False)
        width = config.get("intermediate_size", 1152)
        encoder = Conformer(
            dim=dim,
            depth=config.get("encoder_num_hidden_layers", 6),
            heads=_heads(config, "encoder"),
            stem=MoonshineStem,
            mixer=mixer,
            feedforward=partial(
                MLP,
                hidden_dim=width,
                activation=read_activation(config, "encoder_hidden_act", "gelu"),
            ),
            norm=norm,
            block=PreNormBlock,
            final_norm=True,
        )
        return Moonshine(
            encoder=encoder,
            tokenizer=read_tokenizer(
                checkpoint,
                config.get("vocab_size", _SIZE),
                bos_token_id=start,
                eos_token_id=2,
            ),
            front_end=read_waveform(checkpoint, normalised=False),
            decoder=partial(
                DecoderLanguageModel,
                dim=dim,
                depth=config.get("decoder_num_hidden_layers", 6),
                heads=_heads(config, "decoder"),
                max_length=config.get("max_position_embeddings", 512),
                mixer=partial(mixer, causal=True),
                feedforward=partial(
                    GLU,
                    hidden_dim=width,
                    activation=read_activation(config, "decoder_hidden_act", "silu"),
                ),
                norm=norm,
                tied=config.get("tie_word_embeddings", True),
            ),
            cross=partial(CrossAttention, dropout=dropout, **plain),
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with another vocabulary, and the file that has its tokens."""
        assert isinstance(model, Moonshine)
        expected = self.build(checkpoint, {})
        assert isinstance(expected, Moonshine)
        if expected.tokenizer.vocabulary == model.tokenizer.vocabulary:
            return {}
        values = {"vocab_size": (len(model.tokenizer), _SIZE)}
        return {
            "config.json": with_changes(checkpoint.config, values),
            **written_tokenizer(checkpoint, model.tokenizer),
        }

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; the head is the embedding unless config.json says otherwise."""
        assert isinstance(model, Moonshine)
        tied = {"decoder.head.weight": "decoder.embedding.weight"} if model.decoder.tied else {}
        return Table(
            under(
                "encoder.stem.",
                "model.encoder.",
                *[rename(f"conv{n}.*", f"conv{n}.*") for n in (1, 2, 3)],
                rename("norm.*", "groupnorm.*"),
            ),
            rename("encoder.encoder.norm.*", "model.encoder.layer_norm.*"),
            under(
                "encoder.encoder.blocks.{n}.",
                "model.encoder.layers.{n}.",
                *_attention(),
                rename("feedforward.norm.*", "post_attention_layernorm.*"),
                rename("feedforward.function.fc1.*", "mlp.fc1.*"),
                rename("feedforward.function.fc2.*", "mlp.fc2.*"),
            ),
            rename("decoder.embedding.*", "model.decoder.embed_tokens.*"),
            rename("decoder.decoder.norm.*", "model.decoder.norm.*"),
            rename("decoder.head.*", "proj_out.*"),
            under(
                "decoder.decoder.blocks.{n}.",
                "model.decoder.layers.{n}.",
                *_attention(),
                rename("cross.norm.*", "post_attention_layernorm.*"),
                rename("cross.function.q.*", "encoder_attn.q_proj.*"),
                join("cross.function.kv.*", [f"encoder_attn.{part}_proj.*" for part in "kv"]),
                rename("cross.function.projection.*", "encoder_attn.o_proj.*"),
                rename("feedforward.norm.*", "final_layernorm.*"),
                rename("feedforward.function.fc1.*", "mlp.fc1.*", form=_GATE_IN_FRONT),
                rename("feedforward.function.fc2.*", "mlp.fc2.*"),
            ),
            tied=tied,
        )


def _attention() -> list[Rule]:
    """Returns the rules of self-attention."""
    return [
        rename("mixer.norm.*", "input_layernorm.*"),
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.o_proj.*"),
    ]


def _heads(config: dict[str, Any], side: str) -> int:
    """Returns the heads of a stack.

    Raises:
        UserError: If keys and values have others.
    """
    heads = config.get(f"{side}_num_attention_heads", 8)
    shared = config.get(f"{side}_num_key_value_heads") or heads
    if shared != heads:
        raise UserError(
            f"{side}_num_key_value_heads is {shared} and there are {heads} heads; a Moonshine has as many"
        )
    return heads


def _rotary(config: dict[str, Any]) -> partial[Rotary]:
    """Returns what builds the rotations; transformers 5 keeps their numbers together."""
    told = config.get("rope_parameters") or {}
    kind = told.get("rope_type", "default")
    if kind != "default":
        raise UserError(f"rope_type {kind!r} of this checkpoint is not here; take a default one")
    theta = told.get("rope_theta", config.get("rope_theta", 10000.0))
    share = told.get("partial_rotary_factor", config.get("partial_rotary_factor", 0.9))
    return partial(Rotary, theta=float(theta), share=float(share), pairing="interleaved")


adapter = HuggingFaceMoonshine()
