"""The log mel spectrogram of Whisper."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.speech.front_ends.front_end import Features, FrontEnd, whole_lengths
from headway.speech.front_ends.mel_filters import slaney_filters
from headway.speech.layers.padding import zero_beyond

# The samples of a window and between two of them; the least power that is told from none.
WINDOW, HOP, FLOOR = 400, 160, 1e-10


class WhisperMel(FrontEnd):
    """Spectrograms of a fixed length: decadic logarithms, at most 8 below the loudest, and then (x + 4) / 4.

    Args:
        mels: Filters.
        seconds: Length of a window; what is longer is cut, what is shorter filled up.
        filling: What stands behind a short recording: ``"silence"``, samples that are 0, as transformers has
            it; ``"zeros"``, features that are 0, as OpenAI and faster-whisper have it.

    Shape:
        waveforms: (B, S). lengths: (B,) samples, all S if None. Output: ``inputs``
        (B, 100 * seconds, mels), and ``lengths`` (B,), the frames that are no filling.

    Source:
        Radford et al. 2022, https://arxiv.org/abs/2212.04356, section 2.2.
    """

    hop = HOP
    window: Tensor
    filters: Tensor

    def __init__(
        self,
        *,
        mels: int = 80,
        seconds: float = 30.0,
        filling: Literal["silence", "zeros"] = "silence",
    ) -> None:
        super().__init__(sample_rate=16000)
        if filling not in ("silence", "zeros"):
            raise UserError(f"filling is {filling!r}; use 'silence' or 'zeros'")
        self.bands = self.mels = mels
        self.seconds, self.filling = seconds, filling
        self.frames = round(seconds * self.sample_rate / HOP)
        if self.frames < 2:
            raise UserError(f"seconds is {seconds:g}; a window has at least two frames")
        self.register_constants()

    @property
    def quietest(self) -> float:
        """The level of silence."""
        return math.log10(FLOOR)

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / HOP

    def constants(self) -> dict[str, Tensor]:
        """Returns window and filters."""
        filters = slaney_filters(
            self.mels, bins=WINDOW // 2 + 1, sample_rate=self.sample_rate, highest=8000.0
        )
        return {"window": torch.hann_window(WINDOW), "filters": filters.float()}

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many frames recordings of so many samples give in a window."""
        return (lengths // HOP).clamp_max(self.frames)

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Returns the features of one window of each recording."""
        lengths = whole_lengths(waveforms, lengths)
        size = self.frames * HOP
        short = F.pad(waveforms[:, :size], (0, max(0, size - waveforms.shape[1])))
        real = self.output_lengths(lengths)
        levels = self.levels(short, lengths.clamp_max(size))
        features = self.scaled(levels, levels.amax(dim=(1, 2), keepdim=True))
        if self.filling == "zeros":
            features = zero_beyond(features, real)
        return Features(features, real)

    def levels(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Returns logarithms of the power of each filter, (B, S // 160, mels), of recordings of any length.

        Args:
            waveforms: Samples; what lies beyond a length is not heard.
            lengths: Of each, in samples.
        """
        x = zero_beyond(waveforms, lengths).to(self.window)
        frames = torch.stft(
            x, WINDOW, HOP, window=self.window, pad_mode="reflect", return_complex=True
        )[..., :-1]
        power = frames.real.square() + frames.imag.square()
        return (power.transpose(1, 2) @ self.filters).clamp_min(FLOOR).log10()

    def scaled(self, levels: Tensor, loudest: Tensor) -> Tensor:
        """Returns features: logarithms near the loudest of the recording.

        Args:
            levels: Of ``levels``.
            loudest: The largest of each recording, broadcastable.
        """
        return (torch.maximum(levels, loudest - 8.0) + 4.0) / 4.0
