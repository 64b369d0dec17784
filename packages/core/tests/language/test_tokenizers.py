"""What every tokenizer does, on one that cuts texts into characters."""

import pytest

from headway.core.errors import InputError, UserError
from headway.core.language import SPECIALS, NumberedTokens, Tokenizer
from headway.core.weights.config import build, describe


class Characters(Tokenizer):
    """Cuts a text into characters."""

    def split(self, text: str, name: str = "text") -> list[str]:
        return list(text)


def test_a_text_comes_back_and_special_tokens_frame_it() -> None:
    tokenizer = Characters(vocabulary=(*SPECIALS, *"abc"))
    assert len(tokenizer) == 6
    assert tokenizer.encode("abca") == [1, 3, 4, 5, 3, 2]
    assert tokenizer.prompt("ab") == [1, 3, 4]
    assert tokenizer.decode([1, 3, 4, 2, 0, 0]) == "ab"
    assert tokenizer.decode([1, 3, 4, 0, 0]) == "ab"  # cut off by a length: padding is no text
    assert tokenizer.filling == 0
    tokens, lengths = tokenizer.padded([[1, 3, 2], [1, 2]])
    assert tokens.tolist() == [[1, 3, 2], [1, 2, 0]]
    assert lengths.tolist() == [3, 2]


def test_special_tokens_may_coincide_or_be_missing() -> None:
    one = Characters(vocabulary=["|", *"ab"], padding=None, start=0, end=0)
    assert one.encode("ab") == [0, 1, 2, 0]
    assert one.decode([0, 1, 2, 0, 1]) == one.decode([1, 2]) == "ab"
    assert one.decode([0, 0]) == ""
    assert one.filling == 0
    assert one.specials() == {0}
    none = Characters(vocabulary=[*"ab"], padding=None, start=None, end=None)
    assert none.encode("ab") == none.prompt("ab") == [0, 1]
    assert none.decode([0, 1]) == "ab"
    assert none.specials() == set()


def test_all_unknown_tokens_are_named_with_the_row() -> None:
    tokenizer = Characters(vocabulary=(*SPECIALS, "?", *"ab"), unknown=3)
    with pytest.raises(InputError, match=r"m\.csv, row 17: 'azby' has tokens .* know: y z"):
        tokenizer.encode("azby", "m.csv, row 17")
    assert tokenizer.encode("azb", lenient=True) == [1, 4, 3, 5, 2]
    assert tokenizer.extended("yz").encode("azby") == [1, 4, 7, 5, 6, 2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vocabulary": ("a", "b", "a", "c")}, "names 'a' twice"),
        ({"vocabulary": ("a", "b")}, "begin it with <pad>, <bos>, <eos>"),
        ({"mask": 3}, "the vocabulary has 3"),
    ],
)
def test_bad_vocabularies(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        NumberedTokens(**options)


def test_it_is_data() -> None:
    tokenizer = NumberedTokens(vocabulary=("|", "a"), padding=None, start=0, end=0)
    again = build(describe(tokenizer))
    assert isinstance(again, NumberedTokens)
    assert again.vocabulary == tokenizer.vocabulary
    assert (again.padding, again.start, again.end) == (None, 0, 0)
