"""Tokenizers of folders without ``tokenizer.json``, written as what would stand there."""

from pathlib import Path
from typing import Any

from headway.core.errors import InputError
from headway.core.reading import read_json, read_text, split_lines

SPECIAL = ("<", "[")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def older_definition(folder: Path) -> dict[str, Any] | None:
    """Returns the ``tokenizer.json`` that older files of a folder amount to; None if there are none.

    ``vocab.json`` with ``merges.txt`` are byte-level pairs (RoBERTa), ``vocab.txt`` are pieces of words
    (BERT), or single letters where one of the tokens is called ``<cls>`` (ESM).

    Args:
        folder: Of the checkpoint.

    Raises:
        UserError: If a file is damaged.
    """
    settings = folder / "tokenizer_config.json"
    told = read_json(settings) if settings.is_file() else {}
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _pairs(folder, bool(told.get("add_prefix_space", False)))
    if (folder / "vocab.txt").is_file():
        tokens = split_lines(read_text(folder / "vocab.txt"))
        places = {token: place for place, token in enumerate(tokens) if token}
        if not places:
            raise InputError(str(folder / "vocab.txt"), "has no tokens")
        if "<cls>" in places:
            return _letters(places)
        return _words(places, bool(told.get("do_lower_case", True)))
    return None


def _pairs(folder: Path, prefix: bool) -> dict[str, Any]:
    places = read_json(folder / "vocab.json")
    lines = split_lines(read_text(folder / "merges.txt"))
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if wrong := next((pair for pair in pairs if len(pair) != 2), None):
        raise InputError(str(folder / "merges.txt"), f"has {' '.join(wrong)!r:.60}, expected pairs")
    level = {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": True,
    }
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": places,
        "merges": pairs,
    }
    return _definition(places, model, cut=level, join=level)


def _words(places: dict[str, int], lower: bool) -> dict[str, Any]:
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": places,
    }
    clean = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": lower,
    }
    join = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return _definition(places, model, cut={"type": "BertPreTokenizer"}, join=join, clean=clean)


def _letters(places: dict[str, int]) -> dict[str, Any]:
    model = {"type": "WordLevel", "vocab": places, "unk_token": "<unk>"}
    cut = {"type": "Split", "pattern": {"Regex": r"\S"}, "behavior": "Isolated", "invert": False}
    return _definition(places, model, cut=cut, join={"type": "Fuse"})


def _definition(
    places: dict[str, Any], model: dict[str, Any], *, cut: Any, join: Any, clean: Any = None
) -> dict[str, Any]:
    specials = [
        {"id": place, "content": token, **dict.fromkeys(_FLAGS, False), "special": True}
        for token, place in places.items()
        if len(token) > 2 and token.startswith(SPECIAL) and token[-1] in (">", "]")
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": specials,
        "normalizer": clean,
        "pre_tokenizer": cut,
        "post_processor": None,
        "decoder": join,
        "model": model,
    }
