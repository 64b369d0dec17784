"""Decoders that write what an encoder heard: how they learn, and the steps of a search."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.cache import Cache
from headway.core.language import DecoderLanguageModel
from headway.speech.batch import SpeechBatch
from headway.speech.decoding.attention import Step
from headway.speech.encoder import Encoded


def told_loss(
    decoder: DecoderLanguageModel,
    encoded: Encoded,
    batch: SpeechBatch,
    *,
    start: int,
    end: int,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Returns the cross-entropy of a token of the texts, each told what stands before it.

    Args:
        decoder: Writes.
        encoded: What was heard.
        batch: The texts.
        start: Token in front of every text.
        end: Token behind it.
        label_smoothing: Share of a target that is spread evenly over all tokens.
    """
    targets, real = batch.targets, batch.target_lengths[:, None]
    places = torch.arange(targets.shape[1] + 1, device=targets.device)
    written = F.pad(targets, (1, 0), value=start)
    follows = F.pad(targets, (0, 1), value=end)
    # Padding may be any number; what no text has is neither read nor learned.
    written = written.masked_fill(places > real, start)
    follows = follows.masked_fill(places == real, end).masked_fill(places > real, -100)
    logits = decoder(written, context=encoded.encoded, context_lengths=encoded.lengths)
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        follows.flatten(),
        ignore_index=-100,
        label_smoothing=label_smoothing,
    )


def step_of(decoder: DecoderLanguageModel, encoded: Encoded) -> Step:
    """Returns what a search asks: logits of what follows the last tokens of rows.

    Args:
        decoder: Writes.
        encoded: What was heard in each recording.
    """
    x, lengths, *_ = encoded

    def step(last: Tensor, cache: Cache, rows: Tensor) -> Tensor:
        rows = rows.to(x.device)
        return decoder(
            last[:, None].to(x.device),
            cache=cache,
            context=x[rows],
            context_lengths=lengths[rows],
        )[:, -1]

    return step
