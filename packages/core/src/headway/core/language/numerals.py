"""Numbers as tokens: each digit with its place, so that a language model may read and write them."""

import re
from collections.abc import Iterable, Sequence

from headway.core.errors import UserError

POINT, MINUS, PLUS = "_._", "_-_", "_+_"
_DIGIT = re.compile(r"_(\d)_(-?\d+)_")
_TEMPLATE = re.compile(r"([+]?)(0+)(?:\.(0+))?")


class NumberFormat:
    """How a number is written, always with as many tokens: ``"0.000"``, or ``"+00.0"`` with a sign.

    The number 0.394 is ``_0_0_ _._ _3_-1_ _9_-2_ _4_-3_``: digit and power of ten.

    Args:
        template: Zeros in the place of digits, a sign in front if numbers below 0 occur.

    Raises:
        UserError: If it is no template.

    Source:
        Born and Manica 2023, https://doi.org/10.1038/s42256-023-00639-z, the section on tokenization.
    """

    def __init__(self, template: str) -> None:
        found = _TEMPLATE.fullmatch(template)
        if found is None:
            raise UserError(f"{template!r} is no template of a number, such as 0.000 or +00.0")
        self.template, self.signed = template, bool(found[1])
        self.whole, self.decimals = len(found[2]), len(found[3] or "")

    def __len__(self) -> int:
        """Tokens of a number."""
        return self.signed + self.whole + bool(self.decimals) + self.decimals

    def tokens(self, value: float) -> list[str]:
        """Returns the tokens of a number.

        Raises:
            UserError: If the template has no room for it.
        """
        text = f"{abs(value):0{self.whole + bool(self.decimals) + self.decimals}.{self.decimals}f}"
        if len(text) + self.signed != len(self) or (value < 0 and not self.signed):
            raise UserError(
                f"{value:g} has no room in the template {self.template}; give a wider one"
            )
        sign = [MINUS if value < 0 else PLUS] * self.signed
        return [*sign, *numerals(text)]

    def vocabulary(self) -> list[str]:
        """Returns all tokens that a number may have."""
        orders = range(self.whole - 1, -self.decimals - 1, -1)
        signs, point = [MINUS, PLUS] * self.signed, [POINT] * bool(self.decimals)
        return [*signs, *point, *(f"_{digit}_{order}_" for order in orders for digit in range(10))]

    def allowed(self) -> list[list[str]]:
        """Returns which tokens may stand in each place."""
        orders = range(self.whole - 1, -self.decimals - 1, -1)
        digits = [[f"_{digit}_{order}_" for digit in range(10)] for order in orders]
        point = [[POINT]] * bool(self.decimals)
        return [
            *[[MINUS, PLUS]] * self.signed,
            *digits[: self.whole],
            *point,
            *digits[self.whole :],
        ]


def numerals(text: str) -> list[str]:
    """Returns the tokens of a number such as ``-1.25``."""
    whole = text.lstrip("+-").partition(".")[0]
    found, order = [], len(whole) - 1
    for letter in text:
        if letter.isdigit():
            found.append(f"_{letter}_{order}_")
            order -= 1
        else:
            found.append({".": POINT, "-": MINUS, "+": PLUS}[letter])
    return found


def number_text(tokens: Sequence[str]) -> str:
    """Returns the number that tokens write; what is no part of one says nothing."""
    signs = {POINT: ".", MINUS: "-", PLUS: "+"}
    digits = ((_DIGIT.fullmatch(token), token) for token in tokens)
    return "".join(found[1] if found else signs.get(token, "") for found, token in digits)


def worth(tokens: Iterable[str]) -> list[float]:
    """Returns what each token is worth in a number: ``_3_-1_`` is 0.3; 0 for what is no digit."""
    found = (_DIGIT.fullmatch(token) for token in tokens)
    return [float(f"{one[1]}e{one[2]}") if one else 0.0 for one in found]


def is_numeral(token: str) -> bool:
    """Whether a token is a part of a number."""
    return token in (POINT, MINUS, PLUS) or _DIGIT.fullmatch(token) is not None
