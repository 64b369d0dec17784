"""A small Whisper of transformers with random weights, a tokenizer and all special tokens, in a folder."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

LANGUAGES, LETTERS = ("en", "de", "fr"), "abcdefgh"
# Letters, a space with letters behind it, the marks of Whisper, and 51 marks of time (a window is a second).
TEXT = [*LETTERS, ".", *(f"Ġ{letter}" for letter in LETTERS[:4])]
SPECIALS = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
    *(f"<|{0.02 * place:.2f}|>" for place in range(51)),
]
NAMES = [*TEXT, *SPECIALS]
NUMBERS = {name: place for place, name in enumerate(NAMES)}
FRAMES = 100
SIZES: dict[str, Any] = {
    "vocab_size": len(NAMES),
    "num_mel_bins": 80,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_source_positions": FRAMES // 2,
    "max_target_positions": 64,
    "pad_token_id": NUMBERS["<|endoftext|>"],
    "bos_token_id": NUMBERS["<|endoftext|>"],
    "eos_token_id": NUMBERS["<|endoftext|>"],
    "decoder_start_token_id": NUMBERS["<|startoftranscript|>"],
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "init_std": 0.3,
}


def tokenizer_json() -> dict[str, Any]:
    """Returns what tokenizer.json has: pairs of letters at the byte level."""
    vocabulary = {**{name: NUMBERS[name] for name in TEXT}, "Ġ": len(NAMES) + 1}
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": NUMBERS[name], "content": name, **flags, "special": not name[2].isdigit()}
            for name in SPECIALS
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [f"Ġ {letter}" for letter in LETTERS[:4]],
        },
    }


def make_whisper(
    folder: Path, seed: int = 0, *, multilingual: bool = True, **options: Any
) -> WhisperForConditionalGeneration:
    """Writes a model of transformers and returns it."""
    torch.manual_seed(seed)
    made = WhisperForConditionalGeneration(WhisperConfig(**{**SIZES, **options})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    made.generation_config = GenerationConfig(
        is_multilingual=multilingual,
        lang_to_id={f"<|{one}|>": NUMBERS[f"<|{one}|>"] for one in LANGUAGES},
        task_to_id={one: NUMBERS[f"<|{one}|>"] for one in ("transcribe", "translate")},
        no_timestamps_token_id=NUMBERS["<|notimestamps|>"],
        prev_sot_token_id=NUMBERS["<|startofprev|>"],
        decoder_start_token_id=NUMBERS["<|startoftranscript|>"],
        eos_token_id=NUMBERS["<|endoftext|>"],
        pad_token_id=NUMBERS["<|endoftext|>"],
        bos_token_id=NUMBERS["<|endoftext|>"],
        suppress_tokens=[
            3,
            *(NUMBERS[name] for name in SPECIALS[1 : SPECIALS.index("<|notimestamps|>")]),
        ],
        begin_suppress_tokens=[0, NUMBERS["<|endoftext|>"]],
        max_initial_timestamp_index=50,
        alignment_heads=[[0, 1], [0, 0]],
        max_length=64,
    )
    made.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json()), encoding="utf-8")
    return made


def features(seed: int, batch: int = 3) -> torch.Tensor:
    """Returns features of a second each, (batch, mels, FRAMES)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, SIZES["num_mel_bins"], FRAMES, generator=generator)
