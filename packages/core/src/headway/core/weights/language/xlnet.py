"""Reading and writing XLNet of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.language import EncoderLanguageModel, TextEmbedding, XLNet
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.weights.language.common import DEFAULTS, EncoderAdapter, normed
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.table import Reshaped, Rule, combine, drop, rename, under

# Relative positions reach any distance; longer texts were not seen in training.
LENGTH = 512
ATTENTION = "mixer.function."


class HuggingFaceXLNet(EncoderAdapter):
    """Recognises ``model_type: xlnet`` in config.json; texts are of one segment, without memory."""

    name = "Hugging Face XLNet"
    model_type = "xlnet"
    prefix = "transformer."
    architectures = ("XLNetLMHeadModel", "XLNetModel")
    vocab_size, padding = 32000, 5
    defaults: ClassVar[dict[str, Any]] = {
        **DEFAULTS,
        "attn_type": "bi",
        "bi_data": False,
        "clamp_len": -1,
    }
    # How training cut texts, what is kept of the text before, and heads for other tasks.
    harmless = (
        *("mem_len", "reuse_len", "use_mems_eval", "use_mems_train", "same_length"),
        *("summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"),
        *("start_n_top", "end_n_top", "untie_r", "task_specific_params"),
    )

    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration."""
        dim, heads = config.get("d_model", 1024), config.get("n_head", 16)
        if config.get("d_head") not in (None, dim // heads):
            raise UserError(
                f"d_head is {config['d_head']}; {heads} heads of d_model {dim} are {dim // heads} wide"
            )
        rate = float(config.get("dropout", 0.1))
        return XLNet(
            dim=dim,
            depth=config.get("n_layer", 24),
            heads=heads,
            max_length=LENGTH,
            embedding=partial(TextEmbedding, position=None, norm=None, dropout=rate),
            mixer=partial(
                SelfAttention,
                position=RelativeSinusoidal,
                qkv_bias=False,
                out_bias=False,
                dropout=rate,
                out_dropout=rate,
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("d_inner", 4096),
                activation=activation(config.get("ff_activation", "gelu")),
                dropout=rate,
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-12))),
            tied=bool(config.get("tie_word_embeddings", True)),
            **options,
        )

    def rules(self, model: EncoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        mixer = model.encoder.blocks[0].get_submodule("mixer.function")
        assert isinstance(mixer, SelfAttention)
        heads = mixer.heads
        wide = Reshaped(_rows, partial(_heads, heads=heads))
        return [
            rename("embedding.token.weight", "transformer.word_embedding.weight"),
            rename(
                "query",
                "transformer.mask_emb",
                form=Reshaped(lambda x: x[0, 0], lambda x: x[None, None]),
            ),
            *under(
                "encoder.blocks.{n}.",
                "transformer.layer.{n}.",
                combine(
                    [f"{ATTENTION}qkv.weight"],
                    [f"rel_attn.{name}" for name in "qkv"],
                    read=lambda *parts: torch.cat([_rows(x) for x in parts]),
                    write=lambda x: tuple(_heads(y, heads=heads) for y in x.chunk(3)),
                ),
                rename(
                    f"{ATTENTION}projection.weight",
                    "rel_attn.o",
                    form=Reshaped(
                        lambda x: x.flatten(1), lambda x: x.unflatten(1, (heads, -1)).contiguous()
                    ),
                ),
                rename(
                    f"{ATTENTION}position.relative.weight",
                    "rel_attn.r",
                    form=Reshaped(
                        lambda x: _alternating(wide.read(x)), lambda x: wide.write(_one_by_one(x))
                    ),
                ),
                rename(f"{ATTENTION}position.content_bias", "rel_attn.r_w_bias"),
                rename(f"{ATTENTION}position.place_bias", "rel_attn.r_r_bias"),
                *normed("mixer.norm", "rel_attn.layer_norm"),
                rename("feedforward.function.fc1.*", "ff.layer_1.*"),
                rename("feedforward.function.fc2.*", "ff.layer_2.*"),
                *normed("feedforward.norm", "ff.layer_norm"),
            ),
            # Which of two texts a token is of; in one text all are of the same.
            drop("*rel_attn.r_s_bias", "*rel_attn.seg_embed"),
            rename("head.decoder.weight", "lm_loss.weight"),
            rename("head.decoder.bias", "lm_loss.bias"),
        ]


def _rows(value: Tensor) -> Tensor:
    """Returns (inputs, heads, width) as a linear layer."""
    return value.flatten(1).T.contiguous()


def _heads(value: Tensor, *, heads: int) -> Tensor:
    """Returns a linear layer as (inputs, heads, width)."""
    return value.T.unflatten(1, (heads, -1)).contiguous()


def _alternating(value: Tensor) -> Tensor:
    """Puts the columns of a sine and of its cosine side by side; in the files all sines come first."""
    return torch.stack(value.chunk(2, dim=1), dim=2).flatten(1)


def _one_by_one(value: Tensor) -> Tensor:
    return torch.cat([value[:, 0::2], value[:, 1::2]], dim=1)
