"""The tokenizer that lies beside published weights."""

import json
from typing import Any

from headway.core.errors import UserError
from headway.core.language import NumberedTokens, SubwordTokenizer, Tokenizer
from headway.core.language.subwords import numbered
from headway.core.reading import parse_json, read_json, read_text
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.older_tokenizers import older_definition

_MASKS = ("<mask>", "[MASK]", "<|mask|>")
_STARTS = ("[CLS]", "<s>", "<cls>")
_ENDS = ("[SEP]", "</s>", "<eos>")


def read_tokenizer(
    checkpoint: Checkpoint, size: int, *, framed: bool = False, **usual: int | None
) -> Tokenizer:
    """Returns the tokenizer of a folder: ``tokenizer.json``, older files, or numbers.

    Older files are ``vocab.json`` with ``merges.txt`` (pieces) or alone (names), and ``vocab.txt``.

    Args:
        checkpoint: The folder.
        size: Rows of the embedding.
        framed: Whether start and end are known by their names, as encoders have them.
        **usual: What the published class takes where config.json names no ``bos_token_id``,
            ``eos_token_id`` and ``pad_token_id``.

    Raises:
        UserError: If a file is damaged, or the only one is of sentencepiece.
    """
    folder, config = checkpoint.folder, checkpoint.config or {}
    specials = {
        name: _special(config.get(key, usual.get(key)), size)
        for name, key in (
            ("padding", "pad_token_id"),
            ("start", "bos_token_id"),
            ("end", "eos_token_id"),
        )
    }
    file = folder / "tokenizer.json"
    if file.is_file():
        content = parse_json(read_text(file), str(file))
        definition = json.dumps(content)
        model = content.get("model") if isinstance(content, dict) else None
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
            raise UserError(f"{file} is damaged: its vocabulary is no mapping")
        if not isinstance(model.get("type"), str):  # a list of names, no way to cut texts
            names = numbered({place: token for token, place in dict(model["vocab"]).items()}, size)
            return NumberedTokens(vocabulary=names, **specials)
        return _of_pieces(definition, size, specials, framed)
    if (older := older_definition(folder)) is not None:
        return _of_pieces(json.dumps(older), size, specials, framed)
    places: dict[Any, Any] = {}
    if (folder / "vocab.json").is_file():
        places = {place: token for token, place in read_json(folder / "vocab.json").items()}
    elif (folder / "tokenizer.model").is_file():
        raise UserError(
            f"{folder} brings a tokenizer of sentencepiece (tokenizer.model); save it with transformers as "
            "tokenizer.json"
        )
    return NumberedTokens(vocabulary=numbered(places, size), **specials)


def _of_pieces(
    definition: str, size: int, specials: dict[str, int | None], framed: bool
) -> SubwordTokenizer:
    vocabulary = SubwordTokenizer(definition=definition, size=size).vocabulary

    def find(*names: str | None) -> int | None:
        return next((vocabulary.index(name) for name in names if name in vocabulary), None)

    if framed:
        frame = {"start": find(*_STARTS), "end": find(*_ENDS)}
        specials = {**specials, **{key: one for key, one in frame.items() if one is not None}}
    return SubwordTokenizer(
        definition=definition,
        size=size,
        unknown=find(json.loads(definition)["model"].get("unk_token")),
        mask=find(*_MASKS),
        **specials,
    )


def written_tokenizer(checkpoint: Checkpoint, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """Returns the file that a tokenizer with other tokens than those of a checkpoint is written to.

    Args:
        checkpoint: What the model was made of.
        tokenizer: That of the model.
    """
    if isinstance(tokenizer, SubwordTokenizer):
        return {"tokenizer.json": json.loads(tokenizer.definition)}
    places = {token: place for place, token in enumerate(tokenizer.vocabulary)}
    file = checkpoint.folder / "tokenizer.json"
    if file.is_file():  # it is read before vocab.json
        content = json.loads(read_text(file))
        return {"tokenizer.json": {**content, "model": {**content["model"], "vocab": places}}}
    return {"vocab.json": places}


def _special(value: Any, size: int) -> int | None:
    # Chat models end in several ways; the first is the end of the text.
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) and 0 <= value < size else None
