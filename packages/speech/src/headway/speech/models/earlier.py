"""Recognisers that an earlier release wrote: vocabulary and front end stood beside the model, as notes."""

from collections.abc import Mapping
from typing import Any

import torch

from headway.core.errors import UserError
from headway.core.language import NumberedTokens, Tokenizer
from headway.core.weights.preprocessing import note, read_preprocessing, reading_note
from headway.speech.front_ends import FrontEnd, KaldiFbank, Waveform
from headway.speech.recogniser import Recogniser
from headway.speech.tokenizers import TextTokenizer


def arguments_with_parts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arguments with a tokenizer and a front end in the place of ``vocab_size`` and ``blank``."""
    found = {name: arguments[name] for name in arguments if name not in ("vocab_size", "blank")}
    if "vocab_size" not in arguments:
        return found
    found["tokenizer"] = {
        "class_path": f"{NumberedTokens.__module__}.{NumberedTokens.__name__}",
        "init_args": {
            "vocabulary": [f"<{place}>" for place in range(arguments["vocab_size"])],
            "padding": None,
            "start": None,
            "end": None,
            "blank": arguments.get("blank", 0),
        },
    }
    encoder = (arguments.get("encoder") or {}).get("init_args", {})
    stem = encoder.get("stem") or {}
    hears_samples = str(stem.get("class_path", "")).endswith("WaveformStem")
    mels = (stem.get("init_args") or {}).get("features", 80)
    kind = Waveform if hears_samples else KaldiFbank
    found["front_end"] = {
        "class_path": f"{kind.__module__}.{kind.__name__}",
        # The statistics stand in the notes.
        "init_args": {} if hears_samples else {"mels": mels, "normalise": "none"},
    }
    return found


def take_notes(model: Recogniser, source: str) -> None:
    """Gives a model of an earlier release the vocabulary and the front end that stand beside it.

    Args:
        model: The model; one of today has both and is left alone.
        source: Where it was loaded from.

    Raises:
        InputError: If a note is not what it should be.
    """
    if not isinstance(model.tokenizer, NumberedTokens):
        return
    notes = read_preprocessing(source)
    cfg = note(notes, "tokenizer", dict, source)
    if cfg is not None:
        with reading_note("tokenizer", source):
            tokenizer = _tokenizer(cfg)
            if len(tokenizer) != len(model.tokenizer) or tokenizer.blank != model.tokenizer.blank:
                raise UserError(
                    f"it has {len(tokenizer)} tokens with blank {tokenizer.blank}, the model answers for "
                    f"{len(model.tokenizer)} with blank {model.tokenizer.blank}"
                )
        model.take_tokenizer(tokenizer)
    cfg = note(notes, "frontend", dict, source)
    if cfg is not None:
        with reading_note("frontend", source):
            model.set_front_end(_front_end(cfg))


def _tokenizer(cfg: Mapping[str, Any]) -> Tokenizer:
    told = {name: cfg[name] for name in ("unit", "case", "blank") if name in cfg}
    return TextTokenizer(vocabulary=cfg.get("tokens", ()), **told)


def _front_end(cfg: Mapping[str, Any]) -> FrontEnd:
    told = {name: cfg[name] for name in ("sample_rate", "normalise") if name in cfg}
    if cfg.get("kind") == "waveform":
        return Waveform(**told)
    found = KaldiFbank(mels=cfg.get("mels", 80), **told)
    if found.normalise == "global" and cfg.get("mean") is not None:
        found.mean.copy_(torch.tensor(cfg["mean"]))
        found.std.copy_(torch.tensor(cfg["std"]))
        found.frames.fill_(1)
    return found
