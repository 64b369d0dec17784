"""How Whisper is asked, and when an answer is not believed."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation import Sampling, beam_search, generate
from headway.speech.models.whisper.rules import TranscriptDecoder
from headway.speech.search import Search

if TYPE_CHECKING:
    from headway.speech.models.whisper.model import Whisper


@dataclass(frozen=True, kw_only=True)
class WhisperSearch(Search):
    """How a recording is transcribed.

    Args:
        beam: Candidates side by side at temperature 0; 1 takes the likeliest token each time.
        alternatives: As of every ``Search``; 1 is all that there is.
        curves: As of every ``Search``: words have times then.
        language_model: As of every ``Search``; there is none.
        language_weight: As of every ``Search``.
        hot_words: As of every ``Search``; there are none.
        hot_bonus: As of every ``Search``.
        language: Code of the language; it is heard if None.
        task: ``transcribe``, or ``translate`` into English.
        timestamps: Whether the model writes when something was said; long recordings then move on by it.
        temperatures: Tried in turn, until an answer is believed; 0 is the likeliest.
        tries: Answers drawn at a temperature above 0, of which the likeliest is taken.
        compression: An answer that zlib makes smaller by more than this factor repeats itself.
        log_prob: An answer with a lower mean log-probability of a token is not believed.
        silence: If nobody speaks with more than this probability, and the answer is unlikely, there is none.
        carry: Whether what was written of a window is told to the next.
        words: Whether words have times, too.
        seed: Of what is drawn.

    Raises:
        UserError: If a value is out of range.

    Source:
        Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 4.5.
    """

    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    timestamps: bool = True
    temperatures: Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    tries: int = 5
    compression: float | None = 2.4
    log_prob: float | None = -1.0
    silence: float | None = 0.6
    carry: bool = True
    words: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alternatives > 1:
            raise UserError("Whisper gives one reading of a recording; leave alternatives at 1")
        if self.guided:
            raise UserError(
                "Whisper is guided by no language model and no hot words; leave both out"
            )
        if self.task not in ("transcribe", "translate"):
            raise UserError(f"task is {self.task!r}; use transcribe or translate")
        if self.tries < 1:
            raise UserError(f"tries is {self.tries}; it must be at least 1")
        if not self.temperatures or min(self.temperatures) < 0:
            raise UserError(f"temperatures {self.temperatures} must be 0 or more, at least one")

    @property
    def timed(self) -> bool:
        """Whether words have times."""
        return self.words or self.curves


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was written of a window.

    Args:
        tokens: Without prompt and end.
        log_prob: Mean log-probability of a token, the end counted.
        silence: Probability that nobody speaks; nan where the model cannot say it.
        compression: How much smaller zlib makes the text.
        temperature: At which it was written.
    """

    tokens: list[int]
    log_prob: float
    silence: float
    compression: float
    temperature: float

    def believed(self, search: WhisperSearch) -> bool:
        """Whether no higher temperature is tried."""
        unlikely = search.log_prob is not None and self.log_prob < search.log_prob
        if search.silence is not None and self.silence > search.silence and unlikely:
            return True  # there is nothing to hear
        return not (unlikely or self.repeats(search))

    def repeats(self, search: WhisperSearch) -> bool:
        """Whether the text says the same again and again."""
        return search.compression is not None and self.compression > search.compression

    def is_silence(self, search: WhisperSearch) -> bool:
        """Whether nobody speaks."""
        likely = search.log_prob is not None and self.log_prob > search.log_prob
        return search.silence is not None and self.silence > search.silence and not likely


def answers(
    model: "Whisper", encoded: Tensor, prompts: Sequence[Sequence[int]], search: WhisperSearch
) -> list[Answer]:
    """Returns what is written of windows, each at the first temperature at which it is believed.

    Args:
        model: The model.
        encoded: What it heard in each window.
        prompts: What the decoder is told of each.
        search: How.

    Shape:
        encoded: (B, T', C).
    """
    tried: list[list[Answer]] = [[] for _ in prompts]
    waiting = list(range(len(prompts)))
    for temperature in search.temperatures:
        found = _written(model, encoded, prompts, waiting, search, temperature)
        for place, answer in zip(waiting, found, strict=True):
            tried[place].append(answer)
        waiting = [place for place in waiting if not tried[place][-1].believed(search)]
        if not waiting:
            break
    left = set(waiting)
    return [
        _best(found, search) if place in left else found[-1] for place, found in enumerate(tried)
    ]


def _best(found: Sequence[Answer], search: WhisperSearch) -> Answer:
    plain = [answer for answer in found if not answer.repeats(search)]
    return max(plain or found, key=lambda answer: answer.log_prob)


def _written(
    model: "Whisper",
    encoded: Tensor,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[int],
    search: WhisperSearch,
    temperature: float,
) -> list[Answer]:
    marks, most = model.marks, model.max_length
    tries = search.tries if temperature > 0 else 1
    asked = [row for row in rows for _ in range(tries)]
    told = [list(prompts[row]) for row in asked]
    starts = [prompt.index(marks.start) for prompt in told]
    rooms = [min(most // 2, most - len(prompt)) for prompt in told]
    decoder = TranscriptDecoder(
        model.decoder,
        marks,
        suppressed=model.suppressed,
        begin_suppressed=model.begin_suppressed,
        timestamps=search.timestamps,
    )
    where = encoded.device
    conditions = {
        "context": encoded[torch.tensor(asked, device=where)],
        "begin": torch.tensor(starts),
        "place": torch.arange(len(asked)),
        "room": torch.tensor(rooms),
    }
    longest = max(map(len, told)) + most // 2 + 1
    options = {"end": marks.end, "max_length": longest, "device": where, "conditions": conditions}
    if temperature == 0 and search.beam > 1:
        beams = beam_search(
            decoder, told, beams=search.beam, length_penalty=1.0, padding=marks.end, **options
        )
        tokens, lengths = beams.tokens[:, 0], beams.lengths[:, 0]
        sums = beams.log_likelihoods[:, 0]
    else:
        generator = torch.Generator(where).manual_seed(search.seed)
        found = generate(
            decoder,
            told,
            sampling=Sampling(temperature=temperature),
            padding=marks.end,
            generator=generator,
            batch_size=len(told),
            **options,
        )
        tokens, lengths, sums = found.tokens, found.lengths, found.log_likelihoods
    made: list[Answer] = []
    for place, prompt in enumerate(told):
        row = tokens[place, len(prompt) : int(lengths[place])].tolist()
        row = row[:-1] if row and row[-1] == marks.end else row
        text = marks.text(row).strip().encode()
        made.append(
            Answer(
                tokens=row,
                log_prob=float(sums[place]) / (len(row) + 1),
                silence=decoder.silence.get(place, float("nan")),
                compression=len(text) / len(zlib.compress(text)) if text else 0.0,
                temperature=temperature,
            )
        )
    return [
        max(made[place : place + tries], key=lambda answer: answer.log_prob)
        for place in range(0, len(made), tries)
    ]
