"""Reading and writing Whisper of CTranslate2, as faster-whisper has it: float32, float16, bfloat16, int8."""

from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.tokenizers import read_tokenizer
from headway.core.weights.table import Rule, Table, drop, rename
from headway.speech.front_ends import WhisperMel
from headway.speech.models.whisper import Whisper
from headway.speech.weights.whisper import ENGLISH

# The number of GELU among the activations of CTranslate2.
_GELU = 3


class CTranslate2Whisper:
    """Recognises a ``model.bin`` of CTranslate2 by its tensors."""

    name = "CTranslate2 Whisper"
    architectures = ()
    defaults: ClassVar[dict[str, Any]] = {}
    # Of other models in the same format, and of languages, which the tokenizer names.
    harmless = ("lang_ids", "bos_token", "eos_token", "unk_token", "add_source_bos", "add_source_eos",
                "decoder_start_token", "layer_norm_epsilon", "multi_query_attention")  # fmt: skip

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the tensors are called so."""
        config = checkpoint.config or {}
        if checkpoint.files[0].suffix != ".bin" or "model_type" in config or "class_path" in config:
            return False
        return {"encoder/conv1/weight", "decoder/embeddings/weight"} <= checkpoint.state.keys()

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that the shapes, config.json and tokenizer.json describe.

        Raises:
            UserError: If it has parts that are not here.
        """
        state, config = checkpoint.state, checkpoint.config or {}
        act = int(state.get("decoder/activation", _GELU))
        if act != _GELU:
            raise UserError(f"activation {act} of CTranslate2 is not here; Whisper's is {_GELU}")
        size, dim = state["decoder/embeddings/weight"].shape
        _, mels, _ = state["encoder/conv1/weight"].shape
        positions = state["encoder/position_encodings/encodings"].shape[0]
        if not (checkpoint.folder / "tokenizer.json").is_file():
            raise UserError(f"{checkpoint.folder} lacks tokenizer.json, which cuts the texts")
        return Whisper(
            tokenizer=read_tokenizer(checkpoint, size),
            front_end=WhisperMel(mels=mels, seconds=positions / 50, filling="zeros"),
            dim=dim,
            depth=_blocks(state, "encoder"),
            decoder_depth=_blocks(state, "decoder"),
            heads=int(state["encoder/num_heads"]),
            hidden_dim=state["encoder/layer_0/ffn/linear_0/weight"].shape[0],
            max_length=state["decoder/position_encodings/encodings"].shape[0],
            multilingual=size > ENGLISH,
            suppressed=_tokens(config, "suppress_ids", size),
            begin_suppressed=_tokens(config, "suppress_ids_begin", size),
            alignment_heads=[tuple(pair) for pair in config.get("alignment_heads") or ()],
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; scalars say what the shapes and config.json do not."""
        return Table(
            *_linear("encoder.stem.conv1", "encoder/conv1"),
            *_linear("encoder.stem.conv2", "encoder/conv2"),
            rename("encoder.position", "encoder/position_encodings/encodings"),
            rename("decoder.position.weight", "decoder/position_encodings/encodings"),
            rename("decoder.embedding.weight", "decoder/embeddings/weight"),
            rename("decoder.head.weight", "decoder/projection/weight"),
            *_normed("encoder.encoder.norm", "encoder/layer_norm"),
            *_normed("decoder.decoder.norm", "decoder/layer_norm"),
            *_stack("encoder.encoder.blocks.{n}", "encoder/layer_{n}"),
            *_stack("decoder.decoder.blocks.{n}", "decoder/layer_{n}"),
            *_normed(
                "decoder.decoder.blocks.{n}.cross.norm", "decoder/layer_{n}/attention/layer_norm"
            ),
            *_linear(
                "decoder.decoder.blocks.{n}.cross.function.q",
                "decoder/layer_{n}/attention/linear_0",
            ),
            *_linear(
                "decoder.decoder.blocks.{n}.cross.function.kv",
                "decoder/layer_{n}/attention/linear_1",
            ),
            *_linear(
                "decoder.decoder.blocks.{n}.cross.function.projection",
                "decoder/layer_{n}/attention/linear_2",
            ),
            drop(*(f"{side}/{name}" for side in ("encoder", "decoder") for name in _SCALARS)),
            tied={"decoder.head.weight": "decoder.embedding.weight"},
        )


# What a file says of each side in single numbers.
_SCALARS = (
    "activation", "alibi", "alibi_use_positive_positions", "alignment_heads", "alignment_layer",
    "embeddings_merge", "layernorm_embedding", "num_heads", "num_heads_kv", "pre_norm", "project_in",
    "project_out", "rotary_interleave", "scale_alibi", "scale_embeddings", "scale_outputs",
    "sliding_window", "start_from_zero_embedding", "multi_query_attention",
)  # fmt: skip


def _stack(ours: str, theirs: str) -> list[Rule]:
    return [
        *_normed(f"{ours}.mixer.norm", f"{theirs}/self_attention/layer_norm"),
        *_linear(f"{ours}.mixer.function.qkv", f"{theirs}/self_attention/linear_0"),
        *_linear(f"{ours}.mixer.function.projection", f"{theirs}/self_attention/linear_1"),
        *_normed(f"{ours}.feedforward.norm", f"{theirs}/ffn/layer_norm"),
        *_linear(f"{ours}.feedforward.function.fc1", f"{theirs}/ffn/linear_0"),
        *_linear(f"{ours}.feedforward.function.fc2", f"{theirs}/ffn/linear_1"),
    ]


def _linear(ours: str, theirs: str) -> list[Rule]:
    return [rename(f"{ours}.{name}", f"{theirs}/{name}") for name in ("weight", "bias")]


def _normed(ours: str, theirs: str) -> list[Rule]:
    return [
        rename(f"{ours}.weight", f"{theirs}/gamma"),
        rename(f"{ours}.bias", f"{theirs}/beta"),
    ]


def _blocks(state: dict[str, Any], side: str) -> int:
    begin, end = f"{side}/layer_", "/ffn/linear_0/weight"
    return sum(name.startswith(begin) and name.endswith(end) for name in state)


def _tokens(config: dict[str, Any], name: str, size: int) -> tuple[int, ...]:
    return tuple(token for token in config.get(name) or () if 0 <= token < size)


adapter = CTranslate2Whisper()
