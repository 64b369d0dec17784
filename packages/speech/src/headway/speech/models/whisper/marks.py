"""The tokens by which Whisper is told what to do, and by which it says when."""

import re
from collections.abc import Sequence

from headway.core.errors import UserError
from headway.core.language import Tokenizer

# Between two marks of time, and the last of them, in seconds.
TICK, LAST = 0.02, 30.0
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


class Marks:
    """Finds the special tokens of a vocabulary by their names.

    Args:
        tokenizer: That of the model.
        multilingual: Whether the model is told language and task; one for English alone is not.

    Attributes:
        start: In front of what is written.
        end: Behind it.
        previous: In front of what was written about the window before.
        silence: Its probability behind ``start`` is that nobody speaks; None in a vocabulary without it.
        untimed: Says that no times are wanted.
        tasks: What is written, by name.
        languages: By their codes.
        times: The marks of time; the first one is 0 s.

    Raises:
        UserError: If the vocabulary lacks them.
    """

    def __init__(self, tokenizer: Tokenizer, *, multilingual: bool) -> None:
        self.tokenizer, self.multilingual = tokenizer, multilingual
        self.start, self.end = self._find("startoftranscript"), self._find("endoftext")
        self.previous, self.untimed = self._find("startofprev"), self._find("notimestamps")
        names = [name for name in ("nospeech", "nocaptions") if f"<|{name}|>" in tokenizer.numbers]
        self.silence = self._find(names[0]) if names else None
        self.tasks = {name: self._find(name) for name in ("transcribe", "translate")}
        self.languages = {
            found[1]: number
            for token, number in tokenizer.numbers.items()
            if (found := _LANGUAGE.fullmatch(token))
        }
        first, most = self.untimed + 1, round(LAST / TICK) + 1
        names = tokenizer.vocabulary[first : first + most]
        # Most published files do not name the marks; a vocabulary that has grown has other tokens behind.
        count = sum(name == f"<|{TICK * place:.2f}|>" for place, name in enumerate(names))
        self.times = range(first, first + (count or len(names)))
        if not self.times:
            raise UserError(
                "the vocabulary ends at <|notimestamps|>; Whisper has marks of time there"
            )

    def _find(self, name: str) -> int:
        number = self.tokenizer.numbers.get(f"<|{name}|>")
        if number is None:
            raise UserError(
                f"the tokenizer has no <|{name}|>, so Whisper cannot be asked; it needs the tokenizer.json "
                "of its checkpoint"
            )
        return number

    def controls(self) -> list[int]:
        """Returns the tokens that are never written: those that tell it what to do."""
        found = [self.start, self.previous, *self.tasks.values(), *self.languages.values()]
        extra = [self.tokenizer.numbers.get("<|startoflm|>"), self.silence]
        return sorted({*found, *(number for number in extra if number is not None)})

    def prompt(
        self, *, language: str | None, task: str, timestamps: bool, before: Sequence[int] = ()
    ) -> list[int]:
        """Returns what the decoder is told.

        Args:
            language: Its code; a model for English alone takes None.
            task: ``transcribe`` or ``translate``.
            timestamps: Whether times are wanted.
            before: What was written about the window before.

        Raises:
            UserError: If the model does not know language or task.
        """
        told = [self.previous, *before] if before else []
        told.append(self.start)
        if self.multilingual:
            if language not in self.languages:
                known = ", ".join(sorted(self.languages))
                raise UserError(f"the model knows no language {language!r}; it has {known}")
            if task not in self.tasks:
                raise UserError(f"task is {task!r}; use transcribe or translate")
            told += [self.languages[language], self.tasks[task]]
        elif language not in (None, "en") or task != "transcribe":
            raise UserError(
                f"the model writes English alone; it cannot {task} {language or 'a recording'}"
            )
        return told if timestamps else [*told, self.untimed]

    def is_time(self, token: int) -> bool:
        """Whether a token is a mark of time."""
        return token in self.times

    def seconds(self, token: int) -> float:
        """Returns what a mark of time says."""
        return (token - self.times.start) * TICK

    def words(self, tokens: Sequence[int]) -> list[int]:
        """Returns the tokens that are text."""
        return [token for token in tokens if token < self.end]

    def text(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens, those that are none left out."""
        vocabulary = self.tokenizer.vocabulary
        return self.tokenizer.join([vocabulary[token] for token in self.words(tokens)])
