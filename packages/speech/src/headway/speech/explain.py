"""What a decoder looks at while it writes, beside what its words rest on."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core import taps
from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel
from headway.core.module import evaluating
from headway.core.systems import system
from headway.speech.encoder import Encoded
from headway.speech.models.whisper import Whisper
from headway.speech.recogniser import Recogniser

# Masked copies of a recording that are heard side by side.
TOGETHER = 8


class WrittenFrom(NamedTuple):
    """Where in a recording each token of a text comes from, told in two ways.

    Args:
        tokens: The text, (U,).
        attention: Share of the attention of each token at each stretch, mean of all heads and blocks, (U, S).
        saliency: How much less is known of each token without a stretch, in nats, (U, S).
        seconds: Length of a stretch.
    """

    tokens: Tensor
    attention: Tensor
    saliency: Tensor
    seconds: float

    def agreements(self) -> Tensor:
        """Returns the correlation of both ways for each token, (U,); 0 where one is the same everywhere."""
        return _correlation(self.attention, self.saliency)

    def agreement(self) -> float:
        """Returns the correlation over all tokens and stretches, each token's saliency scaled to sum to 1."""
        shares = self.saliency / self.saliency.sum(1, keepdim=True).clamp_min(1e-12)
        return float(_correlation(self.attention.flatten(), shares.flatten()))


@system(
    id=262,
    name="Cross-attention beside saliency",
    paper="https://arxiv.org/abs/2509.18010",
    claim="saliency finds where a word was said; how far attention agrees is a number, not a belief",
    test="packages/speech/tests/test_explain.py",
)
@torch.no_grad()
def written_from(
    model: Recogniser,
    waveform: Tensor,
    *,
    stretch: float = 0.2,
    masks: int = 64,
    seed: int = 0,
) -> WrittenFrom:
    """Compares what a decoder attends to with what its answer rests on.

    Stretches of the features are replaced by the mean of the recording, half of them at random each time. The
    saliency of a stretch for a token is by how much further away the distribution of the token is (its
    Kullback-Leibler divergence from that of the whole recording) where the stretch is hidden.

    Args:
        model: A recogniser whose decoder attends to an encoder: Whisper, CTCAttention, Moonshine.
        waveform: Samples at the rate of the model, as many as it hears at once.
        stretch: Seconds that are hidden together; rounded to tokens of the encoder.
        masks: Masked copies that are heard.
        seed: Of the masks.

    Shape:
        waveform: (samples,).

    Raises:
        UserError: If the model has no such decoder, the recording is too long or a number is out of range.

    Source:
        Papi et al. 2025, https://arxiv.org/abs/2509.18010. Its saliency (SPES) hides regions of the
        spectrogram; these are whole stretches of time, and attention is not smoothed.
    """
    check_explainable(model, stretch=stretch, masks=masks)
    limit = min(model.longest, 30.0) if isinstance(model, Whisper) else model.longest
    seconds = len(waveform) / model.front_end.sample_rate
    if seconds > limit:
        raise UserError(
            f"{seconds:.1f} s are more than the {limit:g} s that are heard at once; cut it"
        )
    features, steps = model.front_end(waveform[None].to(model.device))
    return compared(model, features, steps, stretch=stretch, masks=masks, seed=seed)


@torch.no_grad()
def compared(
    model: Recogniser,
    features: Tensor,
    steps: Tensor,
    *,
    stretch: float = 0.2,
    masks: int = 64,
    seed: int = 0,
) -> WrittenFrom:
    """Compares as ``written_from``, of what the front end gave.

    Args:
        model: The recogniser.
        features: Of one recording.
        steps: How many of them.
        stretch: As of ``written_from``.
        masks: As of ``written_from``.
        seed: As of ``written_from``.

    Shape:
        features: (1, T, bands) or (1, samples). steps: (1,).
    """
    with evaluating(model):
        encoded = model.encode(features, steps)
        prompt = _prompt(model, encoded)
        [heard] = model.transcribe(encoded, search=_search(model))
        text = [token for token in heard.tokens if _written(model, token)]
        row = torch.tensor([[*prompt, *text]], device=features.device)
        tokens, each = int(encoded.lengths[0]), max(1, round(stretch / model.seconds_per_token))
        count = -(-tokens // each)
        seconds_each = each * model.seconds_per_token
        if not text:
            nothing = torch.zeros(0, count)
            return WrittenFrom(torch.zeros(0, dtype=torch.long), nothing, nothing, seconds_each)
        with taps.record(_decoder(model), "weights") as taken:
            whole = _told(model, encoded, row, len(prompt))
        attention = _stretches(_attended(taken["weights"], len(prompt), len(text)), tokens, each)
        generator = torch.Generator().manual_seed(seed)
        hidden = torch.rand(masks, count, generator=generator) < 0.5
        lost = []
        for some in hidden.split(TOGETHER):
            masked = _masked(features, int(steps[0]), some, each * model.encoder.stride)
            again = model.encode(masked, steps.expand(len(some)))
            told = _told(model, again, row.expand(len(some), -1), len(prompt))
            lost.append((whole.exp() * (whole - told)).sum(-1).cpu())
    divergence, share = torch.cat(lost).double(), hidden.double()
    without = share.T @ divergence / share.sum(0)[:, None].clamp_min(1)
    with_it = (1 - share).T @ divergence / (1 - share).sum(0)[:, None].clamp_min(1)
    saliency = (without - with_it).clamp_min(0).T.float()
    return WrittenFrom(torch.tensor(text), attention, saliency, seconds_each)


def check_explainable(model: Recogniser, *, stretch: float, masks: int) -> None:
    """Raises if no recording could be explained.

    Raises:
        UserError: If the model has no decoder that attends, or a number is out of range.
    """
    _decoder(model)
    if masks < 2 or stretch <= 0:
        raise UserError(
            f"masks are at least 2 and a stretch is above 0 s; got {masks} and {stretch}"
        )


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Returns the correlation along the last axis; 0 where one is the same everywhere."""
    both = (part - part.mean(-1, keepdim=True) for part in (one, other))
    a, b = (F.normalize(part, dim=-1) for part in both)
    return (a * b).sum(-1)


def _decoder(model: Recogniser) -> DecoderLanguageModel:
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, DecoderLanguageModel):
        raise UserError(
            f"{type(model).__name__} has no decoder that attends to what was heard; explain Whisper, "
            "CTCAttention or Moonshine"
        )
    return decoder


def _prompt(model: Recogniser, encoded: Encoded) -> list[int]:
    """Returns what stands in front of a text."""
    if isinstance(model, Whisper):
        language = next(iter(model.languages(encoded)[0])) if model.marks.multilingual else None
        return list(model.marks.prompt(language=language, task="transcribe", timestamps=False))
    framed: Any = model
    return [framed.start]


def _search(model: Recogniser):
    wishes = {"timestamps": False, "temperatures": (0.0,)} if isinstance(model, Whisper) else {}
    return model.search(**wishes)


def _written(model: Recogniser, token: int) -> bool:
    return not isinstance(model, Whisper) or token < model.marks.end


def _told(model: Recogniser, encoded: Encoded, row: Tensor, first: int) -> Tensor:
    """Returns the log-probabilities at each token of the text, (B, U, V)."""
    # Whisper attends to the filling of its windows, too.
    limits = {} if isinstance(model, Whisper) else {"context_lengths": encoded.lengths}
    logits = _decoder(model)(row, context=encoded.encoded, **limits)
    return logits[:, first - 1 : -1].float().log_softmax(-1)


def _attended(weights: dict[str, list[Tensor]], first: int, count: int) -> Tensor:
    """Returns the mean attention of all heads and blocks to what was heard, (U, T')."""
    maps = [
        value[0].float().mean(0)
        for name, values in weights.items()
        if ".cross." in f".{name}."
        for value in values
    ]
    return torch.stack(maps).mean(0)[first - 1 : first - 1 + count].cpu()


def _stretches(attention: Tensor, tokens: int, each: int) -> Tensor:
    """Returns the attention at each stretch, as shares of what is at real tokens."""
    real = attention[:, :tokens]
    parts = F.pad(real, (0, -tokens % each)).unflatten(1, (-1, each)).sum(-1)
    return parts / parts.sum(1, keepdim=True).clamp_min(1e-12)


def _masked(features: Tensor, steps: int, hidden: Tensor, each: int) -> Tensor:
    """Returns copies of a recording with the mean in the place of hidden stretches."""
    places = hidden.repeat_interleave(each, dim=1)[:, :steps].to(features.device)
    mean = features[0, :steps].mean(0)
    copies = features.repeat(len(hidden), *[1] * (features.ndim - 1))
    chosen = places if features.ndim == 2 else places[..., None]
    copies[:, :steps] = torch.where(chosen, mean, copies[:, :steps])
    return copies


def names_of(model: Recogniser, tokens: Sequence[int]) -> list[str]:
    """Returns what each token of a text says, for people."""
    return [model.tokenizer.decode([token]).strip() or "·" for token in tokens]
