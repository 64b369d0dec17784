"""What every model that writes down speech is."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.speech.batch import SpeechBatch
from headway.speech.decoding.reading import Reading, hypothesis_of
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd, KaldiFbank
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers.chunks import Context
from headway.speech.recognition_stream import RecognitionStream, Writer
from headway.speech.search import GREEDY, Search
from headway.speech.speech_model import SpokenTextModel, check_hears
from headway.speech.tokenizers import TextTokenizer, Unit


class Recogniser(SpokenTextModel):
    """Hears recordings and writes texts: tasks and verbs ask for this and not for how it is done.

    Args:
        encoder: What turns features into tokens.
        tokenizer: What the tokens of the texts mean; characters if None.
        front_end: What turns samples into features; Kaldi's log-mel features, as many as the encoder hears,
            if None.

    Raises:
        UserError: If the front end gives what the encoder does not hear.
    """

    longest: float = 60.0
    """Seconds that ``hear`` takes at once; ``headway transcribe`` cuts longer ones where it is quiet."""

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
    ) -> None:
        tokenizer = TextTokenizer() if tokenizer is None else tokenizer
        front_end = KaldiFbank(mels=encoder.bands or 80) if front_end is None else front_end
        super().__init__(tokenizer=tokenizer, front_end=front_end)
        self.encoder = encoder
        encoder.take_tokenizer(tokenizer)
        self.set_front_end(front_end)

    @property
    def seconds_per_token(self) -> float:
        """Seconds between two tokens of the encoder."""
        return self.encoder.stride / self.front_end.rate

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens of the encoder items of so many steps give, (B,)."""
        return self.encoder.output_lengths(lengths)

    def encode(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns the tokens of the encoder of what the front end gave."""
        return self.encoder(inputs, lengths)

    @abstractmethod
    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns what training minimises, as ``loss``, and its parts by name.

        Args:
            batch: Features, and the tokens of their texts.
            encoded: What ``encode`` returned of them, where somebody asked for it already.
        """

    def encoded(self, batch: SpeechBatch, encoded: Encoded | None = None) -> Encoded:
        """Returns what ``encode`` returns of a batch, where it is not given.

        In training the encoder is told what was said.
        """
        if encoded is not None:
            return encoded
        found = self.encode(batch.inputs, batch.lengths)
        if self.training:
            self.encoder.learn(found, batch)
        return found

    def take_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Cuts texts by another tokenizer from now on, and tells the encoder."""
        super().take_tokenizer(tokenizer)
        if hasattr(self, "encoder"):
            self.encoder.take_tokenizer(tokenizer)

    @abstractmethod
    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns what was heard in each item.

        Args:
            encoded: What ``encode`` returned.
            search: How the text is looked for.

        Raises:
            UserError: If the search asks for what this recogniser cannot do.
        """

    def hypotheses(
        self, readings: Sequence[Sequence[Reading]], encoded: Encoded
    ) -> list[Hypothesis]:
        """Returns what was heard in each item.

        Args:
            readings: What was found in each, the best one in front.
            encoded: What it was found in.
        """
        return [
            hypothesis_of(
                one,
                self.tokenizer,
                begins=encoded.begins(row),
                seconds_per_token=self.seconds_per_token,
            )
            for row, one in enumerate(readings)
        ]

    def hear(
        self, waveforms: Tensor, lengths: Tensor | None = None, *, search: Search = GREEDY
    ) -> list[Hypothesis]:
        """Returns what was heard in recordings.

        Args:
            waveforms: Samples at the rate of the front end.
            lengths: Samples of each; all of them if None.
            search: How the text is looked for.

        Shape:
            waveforms: (B, S). lengths: (B,).
        """
        features = self.front_end(waveforms, lengths)
        return self.transcribe(self.encode(*features), search=search)

    def writer(self) -> Writer:
        """Returns what writes from the tokens of the encoder while they come.

        Raises:
            UserError: If this recogniser reads the whole recording before it writes.
        """
        raise UserError(
            f"{type(self).__name__} reads the whole recording before it writes; for speech that still comes "
            "train CTC or Transducer (speech/streaming_digits, --model.backbone.encoder.contexts)"
        )

    def stream(self, *, context: Context | None = None) -> RecognitionStream:
        """Returns what writes a recording that still comes.

        ``push(samples)`` returns the text so far, ``finish()`` the ``Hypothesis``.

        Args:
            context: Tokens of a chunk and chunks of the past, where the encoder can be told; a smaller chunk
                is written sooner.

        Raises:
            UserError: If a part of the model looks at the whole recording; it names the part and what to do.
        """
        return RecognitionStream(
            writer=self.writer(),
            encoder=self.encoder.stream(context=context),
            front_end=self.front_end,
            tokenizer=self.tokenizer,
            seconds_per_token=self.seconds_per_token,
            device=self.device,
        )

    def search(self, **wishes: Any) -> Search:
        """Returns how the text is looked for as a user wishes.

        Args:
            **wishes: What was asked for by name; what a ``Search`` has is known to every recogniser.

        Raises:
            UserError: If this recogniser cannot be asked for it.
        """
        known = {field.name for field in fields(Search)}
        wishes.pop("words", None)  # where words are said, is known without being asked for
        if unknown := [name for name in wishes if name not in known]:
            raise UserError(f"{type(self).__name__} cannot be told {unknown[0]}; leave it out")
        return Search(**wishes)

    def set_front_end(self, front_end: FrontEnd) -> None:
        """Takes another front end.

        Raises:
            UserError: If it gives what the encoder does not hear.
        """
        check_hears(self.encoder.bands, front_end)
        self.front_end = self.init_args["front_end"] = front_end

    @abstractmethod
    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary that grows by what training texts hold.

        Args:
            unit: ``"characters"`` or ``"words"``.
        """
