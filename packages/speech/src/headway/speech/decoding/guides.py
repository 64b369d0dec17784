"""What else knows which texts are likely: a language model, words that are expected."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import LanguageModel, Tokenizer
from headway.core.module import evaluating
from headway.speech.search import Search
from headway.speech.tokenizers import text_tokens

Text = tuple[int, ...]


class Guide(ABC):
    """Adds to the score of a text while it is written.

    What is added to a text is a function of the text alone, so that its alignments can be joined.
    """

    @abstractmethod
    def following(self, texts: Sequence[Text], entries: int) -> Tensor:
        """Returns what each next entry adds to each text, (N, entries)."""

    @abstractmethod
    def ending(self, text: Text) -> float:
        """Returns what the end adds to a text."""


class Guides:
    """Several guides as one that remembers what it has said in a search.

    Args:
        guides: The guides.
    """

    def __init__(self, guides: Sequence[Guide] = ()) -> None:
        self.guides = list(guides)
        self.totals: dict[Text, float] = {(): 0.0}
        self.added: dict[Text, Tensor] = {}

    def of(self, texts: Sequence[Text], entries: int) -> Tensor:
        """Returns what each next entry adds to each text, (N, entries), on the CPU."""
        if not self.guides:
            return torch.zeros(len(texts), entries)
        new = [text for text in texts if text not in self.added]
        if new:
            parts = torch.stack([guide.following(new, entries).cpu() for guide in self.guides])
            self.added.update(zip(new, parts.sum(0), strict=True))
        return torch.stack([self.added[text] for text in texts])

    def total(self, text: Text, *, ended: bool = False) -> float:
        """Returns what was added to a text, and by its end."""
        if not self.guides:
            return 0.0
        if text not in self.totals:
            before, last = text[:-1], text[-1]
            if before not in self.added:
                raise KeyError(before)
            self.totals[text] = self.total(before) + float(self.added[before][last])
        end = sum(guide.ending(text) for guide in self.guides) if ended else 0.0
        return self.totals[text] + end


class LanguageGuide(Guide):
    """Adds the log-probability of a language model (shallow fusion).

    Args:
        model: The language model; it knows the tokens of the recogniser by their names.
        tokenizer: Of the recogniser.
        weight: Of the log-probability.
        per_token: Added to each token, so that long texts are not worse than short ones.

    Raises:
        UserError: If the language model lacks a token of the recogniser.

    Source:
        Gulcehre et al. 2015, https://arxiv.org/abs/1503.03535, section 4.1.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        weight: float = 0.3,
        per_token: float = 0.0,
    ) -> None:
        self.model, self.weight, self.per_token = model, weight, per_token
        theirs = model.tokenizer
        skipped = tokenizer.specials()
        texts = [token for place, token in enumerate(tokenizer.vocabulary) if place not in skipped]
        lacking = theirs.lacking(texts) if theirs.unknown is None else []
        if lacking:
            raise UserError(
                f"the language model lacks {len(lacking)} tokens of the recogniser, such as "
                f"{lacking[0]!r}; train it on texts of the recogniser's tokenizer"
            )
        spare = 0 if theirs.unknown is None else theirs.unknown
        self.numbers = torch.tensor([theirs.numbers.get(t, spare) for t in tokenizer.vocabulary])
        self.start = theirs.start if theirs.start is not None else theirs.filling
        self.end = theirs.end
        self.ends: dict[Text, float] = {}

    @torch.no_grad()
    def following(self, texts: Sequence[Text], entries: int) -> Tensor:
        """Asks the model."""
        scores = self._scores(texts)
        if self.end is not None:
            self.ends.update(zip(texts, (self.weight * scores[:, self.end]).tolist(), strict=True))
        return self.weight * scores[:, self.numbers[:entries]] + self.per_token

    def ending(self, text: Text) -> float:
        """Returns the log-probability of the end."""
        if self.end is None:
            return 0.0
        if text not in self.ends:
            self.following([text], len(self.numbers))
        return self.ends[text]

    @torch.no_grad()
    def _scores(self, texts: Sequence[Text]) -> Tensor:
        """Returns the log-probabilities of what follows texts, (N, V), on the CPU."""
        rows = [[self.start, *self.numbers[list(text)].tolist()] for text in texts]
        tokens, lengths = self.model.tokenizer.padded(rows)
        with evaluating(self.model):
            logits = self.model(tokens.to(self.model.device), lengths=lengths.to(self.model.device))
        last = logits[torch.arange(len(rows)), lengths - 1]
        return last.float().log_softmax(-1).cpu()


class HotWords(Guide):
    """Adds to texts that have words which are expected, such as names.

    A word counts while it is written, token by token, and what it got is taken back where the text goes on
    otherwise, so only whole words count in the end. Longer words win over those that they begin with.

    Args:
        words: Entries of the vocabulary, one sequence for each word.
        bonus: Added for each token of a word.

    Raises:
        UserError: If there are no words, or one is empty.
    """

    def __init__(self, words: Sequence[Sequence[int]], *, bonus: float = 1.5) -> None:
        self.words = {tuple(word) for word in words}
        if not self.words or () in self.words:
            raise UserError(
                "hot words are sequences of at least one token, and there is one at least"
            )
        self.bonus = bonus
        self.begun = {word[:place] for word in self.words for place in range(len(word) + 1)}
        self.first = {word[0] for word in self.words}

    def following(self, texts: Sequence[Text], entries: int) -> Tensor:
        """Returns the change of what the words count."""
        added = torch.zeros(len(texts), entries)
        for row, text in enumerate(texts):
            now, (_, begun) = self._worth(text), self._read(text)
            size = len(begun)
            going = {one[size] for one in self.begun if len(one) > size and one[:size] == begun}
            # Every other entry just gives up what was begun.
            added[row] = self._settled(text) - now
            for entry in going | self.first:
                added[row, entry] = self._worth((*text, entry)) - now
        return added

    def ending(self, text: Text) -> float:
        """Takes back what was begun and not finished."""
        return self._settled(text) - self._worth(text)

    def _read(self, text: Text) -> tuple[int, Text]:
        """Returns how many tokens of whole words there are, and what is begun at the end."""
        done, place, begun = 0, 0, ()
        while place < len(text):
            longest, end = 0, place
            while end < len(text) and text[place : end + 1] in self.begun:
                end += 1
                if text[place:end] in self.words:
                    longest = end - place
            if end == len(text) and end > place:
                begun = text[place:end]
                return done, begun
            done += longest
            place += max(1, longest)
        return done, begun

    def _worth(self, text: Text) -> float:
        done, begun = self._read(text)
        return self.bonus * (done + len(begun))

    def _settled(self, text: Text) -> float:
        """Returns what a text counts if what is begun goes no further."""
        done, begun = self._read(text)
        while begun:
            longest = max(
                (n for n in range(1, len(begun) + 1) if begun[:n] in self.words), default=0
            )
            done += longest
            rest = begun[max(1, longest) :]
            more, begun = self._read(rest)
            done += more
        return self.bonus * done


def guides_of(search: Search, tokenizer: Tokenizer) -> list[Guide]:
    """Returns what a search asks besides the recogniser.

    Args:
        search: What a user asks.
        tokenizer: Of the recogniser.

    Raises:
        UserError: If the language model lacks a token of the recogniser.
        InputError: If a hot word has a token that the recogniser does not know.
    """
    guides: list[Guide] = []
    if search.language_model is not None:
        guides.append(
            LanguageGuide(search.language_model, tokenizer, weight=search.language_weight)
        )
    if search.hot_words:
        words = [text_tokens(tokenizer, word, f"hot word {word!r}") for word in search.hot_words]
        guides.append(HotWords(words, bonus=search.hot_bonus))
    return guides
