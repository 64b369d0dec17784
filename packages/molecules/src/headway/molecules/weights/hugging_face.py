"""Reading Llama checkpoints of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import GLU
from headway.core.mixers import SelfAttention
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Table, drop, join, rename, under
from headway.molecules.models.llama import Llama
from headway.molecules.notation import refuse_pieces

_RULES = (
    rename("embedding.*", "model.embed_tokens.*"),
    rename("decoder.norm.*", "model.norm.*"),
    rename("head.*", "lm_head.*"),
    under(
        "decoder.blocks.{n}.",
        "model.layers.{n}.",
        rename("mixer.norm.*", "input_layernorm.*"),
        rename("feedforward.norm.*", "post_attention_layernorm.*"),
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.o_proj.*"),
        join("feedforward.function.fc1.*", ["mlp.gate_proj.*", "mlp.up_proj.*"]),
        rename("feedforward.function.fc2.*", "mlp.down_proj.*"),
    ),
    # Buffers that old files hold and every reader computes.
    drop("*rotary_emb.inv_freq"),
)


class HuggingFaceLlama:
    """Recognises ``model_type: llama`` in config.json."""

    name = "Hugging Face Llama"
    architectures = ("LlamaForCausalLM", "LlamaModel")
    # Of transformers' LlamaConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "attention_dropout": 0.0,
        "pretraining_tp": 1,
        "is_encoder_decoder": False,
        "is_decoder": False,
        "add_cross_attention": False,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a Llama."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") == "llama"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        if config.get("hidden_act", "silu") != "silu":
            raise UserError(f"a Llama gates with silu, this one with {config['hidden_act']!r}")
        dim, heads = config["hidden_size"], config["num_attention_heads"]
        start, end = (_special(config, name) for name in ("bos_token_id", "eos_token_id"))
        padding = config.get("pad_token_id")
        return Llama(
            vocabulary=_vocabulary(checkpoint.folder, config["vocab_size"]),
            dim=dim,
            depth=config["num_hidden_layers"],
            heads=heads,
            max_length=config.get("max_position_embeddings", 2048),
            mixer=partial(
                SelfAttention,
                causal=True,
                kv_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or dim // heads,
                position=partial(Rotary, theta=_theta(config)),
                qkv_bias=bool(config.get("attention_bias", False)),
                out_bias=bool(config.get("attention_bias", False)),
            ),
            feedforward=partial(
                GLU,
                hidden_dim=config["intermediate_size"],
                bias=bool(config.get("mlp_bias", False)),
            ),
            norm=partial(RMSNorm, eps=float(config.get("rms_norm_eps", 1e-6))),
            tied=bool(config.get("tie_word_embeddings", False)),
            padding=end if padding is None or padding < 0 else padding,
            start=start,
            end=end,
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with another vocabulary, and its tokens in tokenizer.json."""
        assert isinstance(model, Llama)
        config = checkpoint.config or {}
        vocabulary = list(model.vocabulary)
        if vocabulary == _vocabulary(checkpoint.folder, config["vocab_size"]):
            return {}
        values = {"vocab_size": (len(vocabulary), 32000)}
        file = checkpoint.folder / "tokenizer.json"
        tokenizer: dict[str, Any] = read_json(file) if file.is_file() else {}
        places = {token: place for place, token in enumerate(vocabulary)}
        tokenizer["model"] = {**tokenizer.get("model", {}), "vocab": places}
        return {"config.json": with_changes(config, values), "tokenizer.json": tokenizer}

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; what is shared stands in a file once."""
        tied = {"head.weight": "embedding.weight"} if getattr(model, "tied", False) else {}
        return Table(*_RULES, prefix="model.", tied=tied)


def _special(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    # Chat models end in several ways; the first is the end of the text.
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, int):
        raise UserError(
            f"config.json has no {name}, so nobody knows where a molecule begins or ends"
        )
    return value


def _theta(config: dict[str, Any]) -> float:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise UserError(f"rotations scaled as {kind!r} are not supported; only unscaled ones are")
    return float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))


def _vocabulary(folder: Path, size: int) -> list[str]:
    """Returns the tokens that stand beside the weights; numbered names where none does."""
    names = [f"<{place}>" for place in range(size)]
    for file, inner in (("tokenizer.json", ("model", "vocab")), ("vocab.json", ())):
        if not (folder / file).is_file():
            continue
        content: Any = read_json(folder / file)
        known = content
        for key in inner:
            known = known.get(key, {}) if isinstance(known, dict) else {}
        if not isinstance(known, dict):
            raise UserError(f"{folder / file} is damaged: its vocabulary is no mapping")
        special = {
            entry.get("content")
            for entry in content.get("added_tokens", [])
            if isinstance(entry, dict)
        }
        refuse_pieces((token for token in known if token not in special), str(folder / file))
        for token, place in known.items():
            if isinstance(place, int) and 0 <= place < size:
                names[place] = token
        return names
    if (folder / "tokenizer.model").is_file():
        raise UserError(
            f"{folder} brings a tokenizer of pieces (tokenizer.model); only atom-wise vocabularies are read"
        )
    return names


adapter = HuggingFaceLlama()
