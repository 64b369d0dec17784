"""What a recording goes through before a model hears it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torchaudio.compliance import kaldi

from headway.core.errors import UserError

WINDOW_MS, HOP_MS = 25.0, 10.0


def _is_finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e30


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """Turns samples into the input of a model: log-mel features, or the normalised samples themselves.

    Log-mel features are Kaldi's: windows of 25 ms every 10 ms, whole ones only, on samples of the 16-bit
    scale, without dither.

    Args:
        kind: ``"fbank"`` for log-mel features, ``"waveform"`` for samples.
        sample_rate: Samples per second.
        mels: Mel bands.
        normalise: ``"global"`` by ``mean`` and ``std``, ``"utterance"`` by those of each recording (in
            every band, over its own frames), or ``"none"``.
        mean: Mean of each band over the training recordings; ``"global"`` without it waits for
            ``with_statistics``.
        std: Standard deviation of each band over the training recordings.

    Raises:
        UserError: If a value is outside its range.
    """

    kind: Literal["fbank", "waveform"] = "fbank"
    sample_rate: int = 16000
    mels: int = 80
    normalise: Literal["global", "utterance", "none"] = "global"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", ("fbank", "waveform")),
            ("normalise", ("global", "utterance", "none")),
        ):
            if getattr(self, name) not in known:
                raise UserError(f"{name} {getattr(self, name)!r} is not one of {', '.join(known)}")
        for name in ("sample_rate", "mels"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value > 10**6:
                raise UserError(f"{name} is a whole number up to 1,000,000, got {value!r:.80}")
        if self.kind == "waveform" and self.normalise == "global":
            raise UserError("a waveform has no bands; normalise it by 'utterance', or 'none'")
        if self.sample_rate < 1000 or self.mels < 1:
            raise UserError(
                f"sample_rate {self.sample_rate} must be 1000 Hz or more and mels {self.mels} 1 or more"
            )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value is not None:
                if not isinstance(value, list | tuple) or not all(_is_finite(one) for one in value):
                    raise UserError(f"{name} is a list of finite numbers, got {value!r:.80}")
                object.__setattr__(self, name, tuple(value))  # JSON and YAML bring lists
                if len(value) != self.mels:
                    raise UserError(f"{name} has {len(value)} values for {self.mels} mel bands")

    @property
    def rate(self) -> float:
        """Steps of the model's input per second."""
        return self.sample_rate if self.kind == "waveform" else 1000 / HOP_MS

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be measured on the training recordings."""
        return self.normalise != "global" or (self.mean is not None and self.std is not None)

    def steps(self, seconds: float) -> int:
        """Returns the length of the model's input for a recording."""
        if self.kind == "waveform":
            return int(seconds * self.sample_rate)
        return max(0, int((seconds * 1000 - WINDOW_MS + 1e-6) // HOP_MS) + 1)

    def features(self, waveform: Tensor) -> Tensor:
        """Returns the input before normalisation.

        Shape:
            waveform: (samples,). Output: (T, mels), or (samples,) for waveforms.

        Raises:
            UserError: If the recording is shorter than one window.
        """
        if self.kind == "waveform":
            return waveform
        if len(waveform) < self.sample_rate * WINDOW_MS / 1000:
            raise UserError(
                f"{len(waveform)} samples at {self.sample_rate} Hz are shorter than one window of "
                f"{WINDOW_MS:g} ms"
            )
        return kaldi.fbank(
            waveform[None] * 2**15,
            num_mel_bins=self.mels,
            sample_frequency=self.sample_rate,
            frame_length=WINDOW_MS,
            frame_shift=HOP_MS,
            dither=0.0,
        )

    def __call__(self, waveform: Tensor) -> Tensor:
        """Returns the model's input, (T, mels) or (samples,)."""
        features = self.features(waveform)
        if self.normalise == "none":
            return features
        if self.normalise == "utterance":
            spread = features.var(dim=0, correction=0)
            # The constant is that of Hugging Face's feature extractor.
            return (features - features.mean(dim=0)) / (spread + 1e-7).sqrt()
        if self.mean is None or self.std is None:
            raise UserError("global normalisation needs mean and std of the training recordings")
        return (features - torch.tensor(self.mean)) / torch.tensor(self.std)

    def with_statistics(self, waveforms: Iterable[Tensor]) -> Self:
        """Returns a front end with mean and deviation over all frames of the recordings."""
        count, total, squares = 0, torch.zeros(self.mels).double(), torch.zeros(self.mels).double()
        for waveform in waveforms:
            features = self.features(waveform).double()
            count += len(features)
            total += features.sum(dim=0)
            squares += features.square().sum(dim=0)
        if not count:
            raise UserError("there is no recording to measure mean and deviation on")
        mean = total / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(1e-3)
        return replace(self, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    @classmethod
    def from_dict(cls, cfg: Mapping[str, Any]) -> Self:
        """Reads what ``as_dict`` wrote and ignores other keys."""
        return cls(**{name: cfg[name] for name in cls.__dataclass_fields__ if name in cfg})

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
