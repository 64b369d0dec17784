"""Tiny speech for tests that train: features in which each token is a band that sounds for a while."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.mixers import GatedConvolutionMixer
from headway.core.penalties import take_penalty
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import KaldiFbank
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import Conformer, Recogniser
from headway.speech.tokenizers import TextTokenizer

BANDS = 8
LETTERS = TextTokenizer(vocabulary=("<blank>", *"abcdef"))


def front_end() -> KaldiFbank:
    return KaldiFbank(mels=BANDS, normalise="none")


def encoder(*, depth: int = 1, dim: int = 32, window: int = 5) -> Conformer:
    """It hears its surroundings alone, half of both windows on each side."""
    return Conformer(
        mixer=partial(GatedConvolutionMixer, window=window),
        dim=dim,
        depth=depth,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=BANDS, channels=8),
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=window)),
    )


def spoken(
    items: int,
    generator: torch.Generator,
    *,
    most: int = 5,
    lasting: tuple[int, int] = (8, 16),
    silence: tuple[int, int] = (2, 24),
) -> SpeechBatch:
    """Texts of random letters: the band of a letter sounds, then there is silence, both of any length."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    rows, texts = [], []
    for _ in range(items):
        text = [draw(1, len(LETTERS) - 1) for _ in range(draw(1, most))]
        parts = [torch.zeros(draw(*silence), BANDS)]
        for letter in text:
            sound = torch.zeros(draw(*lasting), BANDS)
            sound[:, letter] = 2.0
            parts += [sound, torch.zeros(draw(*silence), BANDS)]
        row = torch.cat(parts)
        rows.append(row + 0.3 * torch.randn(row.shape, generator=generator))
        texts.append(torch.tensor(text))
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    lengths, sizes = (torch.tensor([len(x) for x in xs]) for xs in (rows, texts))
    return SpeechBatch(pad(rows), lengths, pad(texts), sizes)


def train(
    model: Recogniser,
    *,
    seed: int,
    steps: int = 150,
    lr: float = 4e-3,
    batch: Callable[[int, torch.Generator], SpeechBatch] = spoken,
    items: int = 16,
) -> list[dict[str, Tensor]]:
    """Trains on new recordings at every step and returns all losses."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.2)
    model.train()
    found = []
    for _ in range(steps):
        losses = model.loss(batch(items, generator))
        optimizer.zero_grad()
        penalty = take_penalty(model)
        (losses["loss"] if penalty is None else losses["loss"] + penalty).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        found.append({name: value.detach() for name, value in losses.items()})
    model.eval()
    return found


@torch.no_grad()
def token_errors(model: Recogniser, *, items: int = 60, batch=spoken, **options) -> float:
    """The share of tokens that are wrong in recordings that were never heard."""
    heard = batch(items, torch.Generator().manual_seed(12345))
    found = model.transcribe(model.encode(heard.inputs, heard.lengths), **options)
    wrong = 0
    for one, text, size in zip(found, heard.targets.tolist(), heard.target_lengths, strict=True):
        wrong += edits(list(one.tokens), text[:size])
    return wrong / int(heard.target_lengths.sum())


def edits(one: list[int], other: list[int]) -> int:
    """The least number of insertions, deletions and replacements."""
    row = list(range(len(other) + 1))
    for place, token in enumerate(one, 1):
        before, row[0] = row[0], place
        for at, wanted in enumerate(other, 1):
            best = min(row[at] + 1, row[at - 1] + 1, before + (token != wanted))
            before, row[at] = row[at], best
    return row[-1]
