"""Recognition while somebody speaks: samples in, the text so far out."""

from typing import Protocol

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.speech.decoding import Reading, hypothesis_of
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers.chunks import ChunkStream


class Writer(Protocol):
    """What writes from the tokens of an encoder, and remembers where it was."""

    def add(self, encoded: Tensor) -> None:
        """Goes on with more tokens of the encoder, (1, N, C)."""
        ...

    def reading(self) -> Reading:
        """Returns what was written so far."""
        ...


class RecognitionStream:
    """One recording that still comes; made by ``Recogniser.stream``.

    What was written stays as it is: more samples add to the text. At the end it is what the recogniser writes
    of the whole recording.

    Args:
        front_end: Makes the input of the encoder.
        encoder: Makes tokens, chunk by chunk.
        writer: Writes.
        tokenizer: What the written tokens mean.
        seconds_per_token: Seconds between two tokens of the encoder.
        device: Where the model is.

    Attributes:
        samples: How many have come.
        sample_rate: Samples per second.
        latency: Seconds of sound that the first chunk waits for: how long after it was said a sound is
            written at the latest, where computing takes no time. It is a chunk and what is looked ahead.

    Raises:
        UserError: If the front end hears the whole recording.
    """

    def __init__(
        self,
        *,
        front_end: FrontEnd,
        encoder: ChunkStream,
        writer: Writer,
        tokenizer: Tokenizer,
        seconds_per_token: float,
        device: torch.device,
    ) -> None:
        self._features, self._encoder = front_end.stream(), encoder
        self._writer, self._tokenizer = writer, tokenizer
        self.seconds_per_token, self._device = seconds_per_token, device
        self.samples, self.sample_rate = 0, front_end.sample_rate
        ahead = self._features.behind + 1
        self.latency = ((encoder.needed - 1) * front_end.hop + ahead) / front_end.sample_rate
        self._text, self._ended = "", False

    @property
    def text(self) -> str:
        """The text so far."""
        return self._text

    @property
    def tokens(self) -> int:
        """Tokens of the encoder that were read."""
        return self._encoder.given

    @torch.no_grad()
    def push(self, samples: Tensor) -> str:
        """Hears more samples and returns the text so far.

        Args:
            samples: In -1..1, at the rate of the model; as many as there are, one or a minute.

        Shape:
            samples: (S,).

        Raises:
            UserError: If the recording has ended, or these are no samples.
        """
        self._check()
        samples = torch.as_tensor(samples)
        if samples.ndim != 1 or not samples.is_floating_point():
            raise UserError(
                f"got {samples.dtype} of shape {tuple(samples.shape)}; push samples (S,) as floats in -1..1 "
                f"at {self.sample_rate} Hz (16-bit numbers divided by 32768)"
            )
        if not bool(samples.isfinite().all()):
            raise UserError(f"a sample behind number {self.samples} is not finite; leave it out")
        self.samples += len(samples)
        if len(samples):
            features = self._features.push(samples[None].to(self._device, torch.float32))
            self._write(None if features is None else self._encoder.push(features))
        return self._text

    @torch.no_grad()
    def finish(self) -> Hypothesis:
        """Returns what was heard, now that nothing more comes.

        Raises:
            UserError: If the recording has ended before.
        """
        self._check()
        self._ended = True
        features = self._features.finish()
        if features is not None:
            self._write(self._encoder.push(features))
        self._write(self._encoder.finish())
        readings = [self._writer.reading()] if self._encoder.given else []
        return hypothesis_of(
            readings,
            self._tokenizer,
            begins=range(self._encoder.given + 1),
            seconds_per_token=self.seconds_per_token,
        )

    def _write(self, encoded: Tensor | None) -> None:
        if encoded is not None:
            self._writer.add(encoded)
            self._text = self._tokenizer.decode(self._writer.reading().tokens)

    def _check(self) -> None:
        if self._ended:
            raise UserError("this recording has ended; model.stream() begins another one")
