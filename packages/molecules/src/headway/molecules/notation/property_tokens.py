"""Molecules with numbers in front: ``<QED>0.394|CBr``, every digit a token."""

import re
from collections.abc import Mapping, Sequence

from headway.core.errors import InputError, UserError
from headway.core.language import (
    SPECIALS,
    NumberFormat,
    SpecialTokens,
    Tokenizer,
    number_text,
    numerals,
)
from headway.core.language.numerals import is_numeral
from headway.core.passed import Passed
from headway.molecules.notation.smiles import SmilesTokenizer

BORDER = "|"
_FRONT = re.compile(r"<([^<>]+)>([+-]?\d+(?:\.\d+)?)")


class PropertyTokenizer(Tokenizer):
    """Cuts ``<QED>0.394|CBr`` into ``<QED>``, digits with their places, ``|`` and the tokens of the molecule.

    A text without a border is a molecule alone.

    Args:
        properties: Names of the numbers, each with a template of how it is written: ``{"QED": "0.000"}``;
            a sign in front (``"+00.0"``) where numbers below 0 occur.
        notation: Cuts the molecule; atom by atom if None. Its vocabulary does not matter.
        vocabulary: As of every ``Tokenizer``; special tokens, names and digits if None.
        mask: As of every ``Tokenizer``.
        **tokens: As of every ``Tokenizer``.

    Source:
        Born and Manica 2023, https://doi.org/10.1038/s42256-023-00639-z, the section on tokenization.
    """

    def __init__(
        self,
        *,
        properties: Mapping[str, str],
        notation: Tokenizer | None = None,
        vocabulary: Sequence[str] | None = None,
        mask: int | None = 3,
        **tokens: Passed[SpecialTokens],
    ) -> None:
        formats = {name: NumberFormat(template) for name, template in properties.items()}
        if not formats:
            raise UserError("properties is empty; name at least one, such as {'QED': '0.000'}")
        if vocabulary is None:
            digits = dict.fromkeys(token for one in formats.values() for token in one.vocabulary())
            vocabulary = (*SPECIALS, "<mask>", BORDER, *(f"<{name}>" for name in formats), *digits)
        super().__init__(vocabulary=vocabulary, mask=mask, **tokens)
        self.init_args["vocabulary"] = self.vocabulary
        self.notation = self.init_args["notation"] = notation or SmilesTokenizer()
        self.formats = formats

    def split(self, text: str, name: str = "SMILES") -> list[str]:
        """Returns the tokens of numbers and molecule.

        Raises:
            InputError: If a number or the molecule cannot be cut.
        """
        front, border, rest = text.rpartition(BORDER)
        tokens: list[str] = []
        at = 0
        for found in _FRONT.finditer(front):
            if found.start() != at:
                break
            tokens += [f"<{found[1]}>", *numerals(found[2])]
            at = found.end()
        if at != len(front):
            raise InputError(name, f"{text!r:.80} does not begin with numbers such as <QED>0.394|")
        return [*tokens, *([BORDER] if border else []), *self.notation.split(rest, name)]

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of numbers and molecule."""
        if BORDER not in tokens:
            return self.notation.join(tokens)
        place = len(tokens) - 1 - list(reversed(tokens)).index(BORDER)
        front = "".join(
            number_text([token]) if is_numeral(token) else token for token in tokens[:place]
        )
        return front + BORDER + self.notation.join(tokens[place + 1 :])

    def front(self, values: Sequence[float], name: str = "values") -> list[int]:
        """Returns the numbers of the tokens in front of a molecule, border included.

        Args:
            values: The properties in their order; nan where one is unknown, which is written as masks.
            name: The file and row, for the message.

        Raises:
            InputError: If a template has no room for a number.
        """
        found: list[int] = []
        for (key, form), value in zip(self.formats.items(), values, strict=True):
            found.append(self.numbers[f"<{key}>"])
            if value != value:
                assert self.mask is not None
                found += [self.mask] * len(form)
                continue
            try:
                found += [self.numbers[token] for token in form.tokens(value)]
            except UserError as error:
                raise InputError(name, f"{key}: {error}") from None
        return [*found, self.numbers[BORDER]]

    def molecular(self) -> set[int]:
        """Returns the numbers of the tokens that stand in molecules."""
        front = {BORDER, *(f"<{name}>" for name in self.formats)}
        return {
            number
            for token, number in self.numbers.items()
            if number not in self.specials() and token not in front and not is_numeral(token)
        }
