"""Reading and writing T5 of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import GLU, MLP
from headway.core.language import T5, Tokenizer
from headway.core.norms import RMSNorm
from headway.core.positions import BucketedBias
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.common import TextAdapter
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.language.tokenizers import read_tokenizer
from headway.core.weights.table import Reshaped, Rule, Table, combine, drop, join, rename, under


class HuggingFaceT5(TextAdapter):
    """Recognises ``model_type: t5`` in config.json."""

    name = "Hugging Face T5"
    model_type = "t5"
    prefix = ""
    architectures = ("T5ForConditionalGeneration", "T5Model")
    vocab_size = 32128
    may_miss: ClassVar[tuple[str, ...]] = ("head.",)
    defaults: ClassVar[dict[str, Any]] = {
        "is_encoder_decoder": True,
        "is_decoder": False,
        "tie_encoder_decoder": False,
    }
    # Of training, of other heads, and what follows from other keys.
    harmless = (
        "classifier_dropout",
        "decoder_start_token_id",
        "dense_act_fn",
        "initializer_factor",
        "is_gated_act",
        "output_past",
        "task_specific_params",
    )

    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder; a target begins with the padding token unless it is said."""
        config = checkpoint.config or {}
        start = config.get("decoder_start_token_id", config.get("pad_token_id", 0))
        size = self.size(checkpoint)
        return read_tokenizer(checkpoint, size, bos_token_id=start, eos_token_id=1, pad_token_id=0)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes; a head of its own stands among the tensors."""
        config, state = checkpoint.config or {}, checkpoint.state
        head, shared = state.get("lm_head.weight"), state.get("shared.weight")
        tied = head is None or (shared is not None and torch.equal(head, shared))
        return self.model(config, tokenizer=self.tokenizer(checkpoint), tied=tied)

    def model(self, config: dict[str, Any], **options: Any) -> T5:
        """Returns the model of a configuration."""
        dim, heads = config.get("d_model", 512), config.get("num_heads", 8)
        width, kind = config.get("d_ff", 2048), config.get("feed_forward_proj", "relu")
        gated, _, name = kind.rpartition("-")
        if gated not in ("", "gated"):
            raise UserError(
                f"feed_forward_proj is {kind!r}; known: an activation, or gated-activation"
            )
        # Gates of the published class use the approximation, whatever the name says.
        act = activation("gelu_new" if kind == "gated-gelu" else name)
        part = GLU if gated else MLP
        usual = config.get("tie_word_embeddings", True)
        return T5(
            dim=dim,
            depth=config.get("num_layers", 6),
            decoder_depth=config.get("num_decoder_layers"),
            heads=heads,
            head_dim=config.get("d_kv", 64),
            max_length=config.get("n_positions", 512),
            feedforward=partial(part, hidden_dim=width, activation=act, bias=False),
            norm=partial(RMSNorm, eps=float(config.get("layer_norm_epsilon", 1e-6))),
            position=partial(
                BucketedBias,
                buckets=config.get("relative_attention_num_buckets", 32),
                max_distance=config.get("relative_attention_max_distance", 128),
            ),
            scaled=bool(config.get("scale_decoder_outputs", usual)),
            dropout=float(config.get("dropout_rate", 0.1)),
            **options,
        )

    def rules(self, model: T5) -> list[Rule]:
        """Returns names and forms of the tensors."""
        width = model.init_args["head_dim"]
        return [
            rename(
                "embedding.weight",
                "shared.weight",
                "encoder.embed_tokens.weight",
                "decoder.embed_tokens.weight",
            ),
            rename("head.*", "lm_head.*"),
            # Biases of cross-attention that old files hold and nobody reads.
            drop("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
            *stack("encoder", width, gated=_gated(model), feedforward=1),
            *stack("decoder", width, gated=_gated(model), feedforward=2),
            *under(
                "decoder.blocks.{n}.cross.",
                "decoder.block.{n}.layer.1.",
                rename("norm.*", "layer_norm.*"),
                rename("function.q.weight", "EncDecAttention.q.weight", form=scaled_queries(width)),
                join("function.kv.weight", [f"EncDecAttention.{x}.weight" for x in "kv"]),
                rename("function.projection.*", "EncDecAttention.o.*"),
            ),
        ]

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; what is shared stands in a file once."""
        assert isinstance(model, T5)
        tied = {"head.weight": "embedding.weight"} if model.tied else {}
        for side, blocks in (("encoder", model.encoder.blocks), ("decoder", model.decoder.blocks)):
            name = f"{side}.blocks.{{}}.mixer.function.position.table"
            tied |= {name.format(place): name.format(0) for place in range(1, len(blocks))}
        return Table(self.rules(model), tied=tied)


def stack(side: str, width: int, *, gated: bool, feedforward: int) -> list[Rule]:
    """Returns the rules of one of the two stacks.

    Args:
        side: ``encoder`` or ``decoder``.
        width: Of a head.
        gated: Whether the feed-forward has a gate.
        feedforward: Its place in a block.
    """
    form = scaled_queries(width)
    dense = f"layer.{feedforward}.DenseReluDense"
    first = [f"{dense}.wi_0.*", f"{dense}.wi_1.*"] if gated else [f"{dense}.wi.*"]
    return [
        rename(f"{side}.norm.*", f"{side}.final_layer_norm.*"),
        *under(
            f"{side}.blocks.{{n}}.",
            f"{side}.block.{{n}}.",
            rename(
                "mixer.function.position.table",
                "layer.0.SelfAttention.relative_attention_bias.weight",
            ),
            rename("mixer.norm.*", "layer.0.layer_norm.*"),
            combine(
                ["mixer.function.qkv.weight"],
                [f"layer.0.SelfAttention.{x}.weight" for x in "qkv"],
                read=lambda q, k, v: torch.cat([form.read(q), k, v]),
                write=lambda value: _sections(value, form),
            ),
            rename("mixer.function.projection.*", "layer.0.SelfAttention.o.*"),
            rename("feedforward.norm.*", f"layer.{feedforward}.layer_norm.*"),
            join("feedforward.function.fc1.*", first),
            rename("feedforward.function.fc2.*", f"{dense}.wo.*"),
        ),
    ]


def scaled_queries(width: int) -> Reshaped:
    """Returns the form of queries of scores that are not divided by the root of the width: ours are larger.

    Args:
        width: Of a head; the root of the published 64 is a power of 2, by which nothing is rounded.
    """
    return Reshaped(lambda value: value * width**0.5, lambda value: value / width**0.5)


def _sections(value: Tensor, form: Reshaped) -> tuple[Tensor, ...]:
    query, key, of_values = value.chunk(3)
    return form.write(query), key, of_values


def _gated(model: T5) -> bool:
    return isinstance(model.encoder.blocks[0].get_submodule("feedforward.function"), GLU)
