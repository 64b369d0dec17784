"""SELFIES: a notation in which every string is a molecule."""

import functools
from collections.abc import Sequence
from typing import Any

from headway.core.errors import InputError, UserError, one_line
from headway.core.language import Tokenizer
from headway.molecules.notation.smiles import check_length


class SelfiesTokenizer(Tokenizer):
    """Writes a SMILES as SELFIES and cuts that into its symbols; whatever they are joined to is a molecule.

    Texts are SMILES on both sides. Needs ``pip install selfies``.

    Source:
        Krenn et al. 2020, https://arxiv.org/abs/1905.13741.
    """

    def split(self, text: str, name: str = "SMILES") -> list[str]:
        """Returns the symbols of a SMILES written as SELFIES.

        Raises:
            InputError: If it has no SELFIES (a valence beyond its rules, no aromatic form).
        """
        if not text:
            return []
        check_length(text, name)
        library = _library()
        try:
            return list(library.split_selfies(library.encoder(text)))
        except library.EncoderError as error:
            reason = one_line(error)[:200]
            raise InputError(name, f"{text!r} cannot be written as SELFIES: {reason}") from None
        except Exception as error:  # of what is no SMILES it raises anything
            raise InputError(
                name, f"{text!r} is no SMILES: {one_line(error)[:200] or type(error).__name__}"
            ) from None

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the SMILES of symbols; what is no symbol (a special token) says nothing."""
        library = _library()
        written = "".join(token for token in tokens if token.startswith("["))
        try:
            return library.decoder(written)
        except library.DecoderError:  # a symbol of another set of rules
            return ""


@functools.cache
def _library() -> Any:
    try:
        import selfies
    except ImportError:
        raise UserError("SELFIES need a package: pip install selfies") from None
    return selfies
