"""Tokenizers of transformers: ``tokenizer.json``, run by the ``tokenizers`` library."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

from headway.core.errors import InputError, UserError, one_line
from headway.core.language.tokenizer import Tokenizer
from headway.core.reading import parse_json


class SubwordTokenizer(Tokenizer):
    """Cuts texts as a ``tokenizer.json`` says (BPE, WordPiece, Unigram, single words).

    Its vocabulary is read without the ``tokenizers`` library; texts need it (``pip install tokenizers``).

    Args:
        definition: The text of ``tokenizer.json``.
        size: Numbers in all, where a model has more rows than the file has tokens; the rest is called
            ``<n>``. As many as the file has tokens if None.
        padding: As of every ``Tokenizer``.
        start: As of every ``Tokenizer``.
        end: As of every ``Tokenizer``.
        unknown: As of every ``Tokenizer``.
        mask: As of every ``Tokenizer``.
        blank: As of every ``Tokenizer``.

    Raises:
        UserError: If the definition is no tokenizer.
    """

    # A text is cut into pieces that the file has; what it cannot cut is no new piece.
    grows: ClassVar[bool] = False

    def __init__(
        self,
        *,
        definition: str,
        size: int | None = None,
        padding: int | None = None,
        start: int | None = None,
        end: int | None = None,
        unknown: int | None = None,
        mask: int | None = None,
        blank: int | None = None,
    ) -> None:
        super().__init__(
            vocabulary=file_vocabulary(definition, size),
            padding=padding,
            start=start,
            end=end,
            unknown=unknown,
            mask=mask,
            blank=blank,
        )
        self.definition = definition

    @cached_property
    def engine(self) -> Any:
        """What the ``tokenizers`` library makes of the definition, without the frame of special tokens."""
        try:
            from tokenizers import Tokenizer as Engine
        except ImportError:
            raise UserError(
                "texts of this model are cut by the tokenizers library: pip install tokenizers"
            ) from None
        try:
            engine: Any = Engine.from_str(self.definition)
        except Exception as error:  # a plain Exception is what the library raises
            raise UserError(f"its tokenizer.json is damaged: {one_line(error)[:200]}") from None
        engine.no_truncation()
        engine.no_padding()
        return engine

    def split(self, text: str, name: str = "text") -> list[str]:
        """Returns the pieces of a text; what the file has no piece for as it stands in the text.

        Raises:
            InputError: If a character belongs to no piece: such files drop what they do not know.
        """
        if not text:
            return []
        found = self.engine.encode(text, add_special_tokens=False)
        lost = set(range(len(text))).difference(*(range(*span) for span in found.offsets))
        if dropped := "".join(sorted({text[place] for place in lost if not text[place].isspace()})):
            raise InputError(
                name, f"{text!r:.80} has parts that the model does not know: {dropped}"
            )
        unknown = None if self.unknown is None else self.vocabulary[self.unknown]
        return [
            text[slice(*span)] if token == unknown else token
            for token, span in zip(found.tokens, found.offsets, strict=True)
        ]

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of pieces."""
        decoder = self.engine.decoder
        return "".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def with_vocabulary(self, vocabulary: Sequence[str]) -> Self:
        """Returns the same tokenizer with further tokens.

        Raises:
            UserError: If the tokens of the file do not stand in front: the pieces would be cut otherwise.
        """
        own = len(self.vocabulary)
        if tuple(vocabulary[:own]) != self.vocabulary:
            raise UserError(
                "a vocabulary of pieces can grow, and loses or moves no token; extend it instead"
            )
        content = json.loads(self.definition)
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
        # The library counts on from the last token of the file, so rows without one are named, too.
        first = len(file_vocabulary(self.definition))
        content["added_tokens"] = [
            *(content.get("added_tokens") or []),
            *(
                {"id": place, "content": vocabulary[place], **flags}
                for place in range(first, len(vocabulary))
            ),
        ]
        changes = {"definition": json.dumps(content), "size": len(vocabulary)}
        return type(self)(**{**self.init_args, **changes})


def file_vocabulary(definition: str, size: int | None = None) -> tuple[str, ...]:
    """Returns the tokens of a ``tokenizer.json`` in the order of their numbers, gaps called ``<n>``.

    Args:
        definition: The text of the file.
        size: Numbers in all; as many as it has if None.

    Raises:
        UserError: If it is none.
    """
    content = parse_json(definition, "tokenizer.json")
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, list):  # Unigram: pairs of token and score
        pairs: Iterable[tuple[Any, Any]] = (
            (entry[0], place)
            for place, entry in enumerate(vocabulary)
            if isinstance(entry, list) and entry
        )
    elif isinstance(vocabulary, Mapping):
        pairs = vocabulary.items()
    else:
        raise InputError("tokenizer.json", "has no vocabulary, it is no tokenizer")
    places: dict[Any, Any] = {place: token for token, place in pairs}
    known = {token for token in places.values() if isinstance(token, str)}
    for entry in content.get("added_tokens") or []:
        # What the vocabulary has keeps its number there, whatever stands here: so does the library.
        token = entry.get("content") if isinstance(entry, dict) else None
        if isinstance(token, str) and token not in known:
            places[entry.get("id")] = token
    return numbered(places, size)


def numbered(places: Mapping[Any, Any], size: int | None = None) -> tuple[str, ...]:
    """Returns tokens in the order of their numbers; a number without one is called ``<n>``.

    Args:
        places: Tokens by number; anything else is left out.
        size: Numbers in all; up to the largest of them if None.
    """
    real = {
        place: token
        for place, token in places.items()
        if isinstance(place, int) and place >= 0 and isinstance(token, str)
    }
    most = 1 + max(real, default=-1)
    count = most if size is None else size
    if count > 10**7:
        raise InputError("tokenizer.json", f"numbers a token {count:,}; it is damaged")
    return tuple(real.get(place, f"<{place}>") for place in range(count))
