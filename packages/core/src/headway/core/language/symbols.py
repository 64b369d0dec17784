"""Texts of any notation: what is a token is said by a pattern."""

import re
from collections.abc import Sequence

from headway.core.errors import InputError, UserError
from headway.core.language.tokenizer import Tokenizer, TokenizerOptions
from headway.core.passed import Passed


class SymbolTokenizer(Tokenizer):
    """Cuts a text wherever a pattern matches; what lies between is the joint, such as a space.

    Args:
        pattern: Regular expression of a token; what stands between spaces by default.
        joint: What stands between two tokens of a text; nothing where they follow each other.
        **tokens: As of every ``Tokenizer``.

    Raises:
        UserError: If the pattern is none, or matches nothing at all.
    """

    def __init__(
        self,
        *,
        pattern: str = r"\S+",
        joint: str = " ",
        **tokens: Passed[TokenizerOptions],
    ) -> None:
        super().__init__(**tokens)
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"the pattern {pattern!r} is no regular expression: {error}") from None
        if self.pattern.fullmatch(""):
            raise UserError(f"the pattern {pattern!r} matches an empty text; a token has letters")
        self.joint = joint

    def split(self, text: str, name: str = "text") -> list[str]:
        """Returns the tokens.

        Raises:
            InputError: If something of the text is no token and no joint.
        """
        tokens = [found[0] for found in self.pattern.finditer(text)]
        if self.join(tokens) != text:
            end = 0
            for token in tokens:
                if not text.startswith(token, end):
                    break
                end += len(token)
                end += len(self.joint) if text.startswith(self.joint, end) else 0
            raise InputError(
                name, f"{text!r:.80} cannot be cut: {text[end : end + 1]!r} at place {end + 1}"
            )
        return tokens

    def join(self, tokens: Sequence[str]) -> str:
        """Returns the text of tokens."""
        return self.joint.join(tokens)
