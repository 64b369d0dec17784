"""What stands beside the weights of published speech models: front ends and characters."""

from typing import Any

from headway.core.errors import InputError, UserError
from headway.core.language import NumberedTokens, Tokenizer
from headway.core.language.subwords import numbered
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.speech.front_ends import Waveform
from headway.speech.models.ctc import CTC
from headway.speech.tokenizers import TextTokenizer

PROCESSOR = "preprocessor_config.json"
_PHONEMES = "Wav2Vec2PhonemeCTCTokenizer"


def read_beside(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """Returns what a JSON file beside the weights says; nothing if it is not there."""
    file = checkpoint.folder / name
    return (read_json(file) or {}) if file.is_file() else {}


def read_processor(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what is done to samples: transformers 4 and 5 write it into files of other names.

    Raises:
        InputError: If it is no mapping.
    """
    if (checkpoint.folder / PROCESSOR).is_file():
        return read_beside(checkpoint, PROCESSOR)
    found = read_beside(checkpoint, "processor_config.json").get("feature_extractor") or {}
    if not isinstance(found, dict):
        raise InputError(
            f"processor_config.json of {checkpoint.source}",
            f"has feature_extractor {found!r:.40}, expected a mapping",
        )
    return found


def read_waveform(checkpoint: Checkpoint, *, normalised: bool = True) -> Waveform:
    """Returns the front end of models that hear samples.

    Args:
        checkpoint: The folder.
        normalised: Whether samples are normalised where no file says it.
    """
    notes = read_processor(checkpoint)
    return Waveform(
        sample_rate=notes.get("sampling_rate", 16000),
        normalise="utterance" if notes.get("do_normalize", normalised) else "none",
    )


def read_characters(checkpoint: Checkpoint, *, size: int = 32) -> Tokenizer:
    """Returns the characters of vocab.json, the word delimiter as a space; numbers where there is none.

    A vocabulary of several languages (MMS) is that of the language whose adapter the weights have. Phonemes
    are words with spaces between.

    Args:
        checkpoint: The folder.
        size: Tokens of the head where config.json does not say it.

    Raises:
        UserError: If the vocabulary is larger than the head, or of a language that it lacks.
    """
    config = checkpoint.config or {}
    size, blank = config.get("vocab_size", size) or size, config.get("pad_token_id", 0)
    vocabulary = _characters(checkpoint)
    if not vocabulary:
        names = [f"<{place}>" for place in range(size)]
        return NumberedTokens(vocabulary=names, padding=None, start=None, end=None, blank=blank)
    places = {place: token for token, place in vocabulary.items()}
    most = max((place for place in places if isinstance(place, int)), default=-1)
    if most >= size:
        raise InputError(
            f"vocab.json of {checkpoint.source}",
            f"numbers a token {most}, and the model answers for {size}",
        )
    # A file may be shorter than the head; the rest stands for no text.
    delimiter = _delimiter(checkpoint)
    tokens = [" " if token == delimiter else token for token in numbered(places, size)]
    if read_beside(checkpoint, "tokenizer_config.json").get("tokenizer_class") == _PHONEMES:
        return TextTokenizer(vocabulary=tokens, unit="words", case="keep", blank=blank)
    upper = any(len(token) == 1 and token.isupper() for token in tokens)
    lower = any(len(token) == 1 and token.islower() for token in tokens)
    case = "keep" if upper == lower else "upper" if upper else "lower"
    return TextTokenizer(vocabulary=tokens, case=case, blank=blank)


def written_ctc(checkpoint: Checkpoint, model: CTC, *, size: int = 32) -> dict[str, dict[str, Any]]:
    """Returns config.json of a recogniser, and vocab.json if it writes other tokens.

    Args:
        checkpoint: What the model was made of.
        model: The model of today.
        size: As of ``read_characters``.
    """
    tokenizer = model.tokenizer
    values = {"vocab_size": (len(tokenizer), size), "pad_token_id": (model.blank, 0)}
    files = {"config.json": with_changes(checkpoint.config, values)}
    if tokenizer.vocabulary == read_characters(checkpoint, size=size).vocabulary:
        return files
    delimiter = _delimiter(checkpoint)
    names = (delimiter if token == " " else token for token in tokenizer.vocabulary)
    found: dict[str, Any] = {name: place for place, name in enumerate(names)}
    language = _language(checkpoint)
    return {**files, "vocab.json": {language: found} if language else found}


def _characters(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the numbers of the tokens of one language."""
    vocabulary = read_beside(checkpoint, "vocab.json")
    language = _language(checkpoint)
    if not language:
        return vocabulary
    if language not in vocabulary:
        raise UserError(
            f"{checkpoint.source} is set to the language {language!r}, which its vocab.json lacks"
        )
    return vocabulary[language]


def _language(checkpoint: Checkpoint) -> str:
    """Returns whose tokens are read where vocab.json has several languages, else nothing."""
    vocabulary = read_beside(checkpoint, "vocab.json")
    if not vocabulary or not all(isinstance(value, dict) for value in vocabulary.values()):
        return ""
    # The published files of MMS carry the adapter of English.
    return read_beside(checkpoint, "tokenizer_config.json").get("target_lang") or "eng"


def _delimiter(checkpoint: Checkpoint) -> str:
    found = read_beside(checkpoint, "tokenizer_config.json").get("word_delimiter_token", "|")
    if isinstance(found, dict):  # of transformers 4: a token with its properties
        found = found.get("content", "|")
    return found if isinstance(found, str) and found else "|"
