"""Speaks texts."""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile
import torch

from headway.core.cli.counts import Counts
from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_batch_size, check_positive, refuse_to_overwrite
from headway.core.cli.progress import progress_bar
from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write
from headway.core.reading import read_lines
from headway.speech.batch import padded
from headway.speech.sound_model import Vocoder
from headway.speech.synthesiser import Manner, Synthesiser
from headway.speech.tokenizers import text_tokens
from headway.speech.vocoders import griffin_lim

TXT = ".txt"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway speak``."""
    parser.add_argument(
        "texts",
        nargs="+",
        metavar="TEXT",
        help="what is said; of a file that ends in .txt, each line",
    )
    parser.add_argument("--speed", type=float, default=1.0, help="above 1 is faster (1)")
    parser.add_argument(
        "--pitch", type=float, default=0.0, metavar="SEMITONES", help="raises the voice (0)"
    )
    parser.add_argument(
        "--energy", type=float, default=0.0, metavar="DEVIATIONS", help="makes it louder (0)"
    )
    parser.add_argument(
        "--vocoder",
        metavar="SOURCE",
        help="a run or folder of a vocoder with the same mel bands (that of the voice, or Griffin-Lim)",
    )
    parser.add_argument(
        "--steps", type=int, default=60, help="of Griffin-Lim, which looks for phases (60)"
    )
    add_batch_size(parser, 16, "texts")


def run(args: argparse.Namespace) -> int:
    """Writes 0001.wav, 0002.wav ... into the folder, or one text into the file that ends in .wav."""
    check_positive(args, "batch_size", "steps")
    manner = Manner(speed=args.speed, pitch=args.pitch, energy=args.energy)
    alone = args.out is not None and Path(args.out).suffix == ".wav"
    job = Job(args, "speak with", items="texts", out="file" if alone else "folder")
    assert job.path is not None
    given = list(read_texts(args.texts))
    if alone and len(given) > 1:
        raise UserError(
            f"{len(given)} texts do not go into one file; give -o a folder instead of {job.path}"
        )
    path = job.path
    files = [path if alone else path / f"{n:04d}.wav" for n in range(1, len(given) + 1)]
    for file in files:
        refuse_to_overwrite(file, overwrite=args.overwrite)
    model = load_synthesiser(args.checkpoint, args.device)
    # Some published voices bring one along.
    vocoder = model.vocoder
    if args.vocoder is not None:
        vocoder = load_vocoder(args.vocoder, model, args.device)
    rows = encoded(model, given, job.counts, args.on_invalid)
    sounds = speak(
        model, rows, manner=manner, batch_size=args.batch_size, steps=args.steps, vocoder=vocoder
    )
    start, seconds = time.perf_counter(), 0.0
    with progress_bar("speaking", total=len(rows)) as advance:
        for place, sound in sounds:
            rate, buffer = model.mel.sample_rate, io.BytesIO()
            soundfile.write(buffer, sound.clamp(-1, 1).numpy(), rate, format="WAV")
            with atomic_write(files[place]) as file:
                file.write(buffer.getvalue())
            seconds += len(sound) / rate
            job.counts.done += 1
            advance(1)
    taken = time.perf_counter() - start
    factor = taken / seconds if seconds else 0.0
    said = f"texts spoken, written{job.place}: {seconds:.1f} s, {factor:.3f} s for each second"
    return job.end(said, seconds=round(seconds, 3), real_time_factor=round(factor, 4))


def read_texts(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields name and text of what a user gave."""
    for number, word in enumerate(words, start=1):
        path = Path(word)
        if path.suffix != TXT:
            yield f"text {number}", word
            continue
        if not path.is_file():
            raise UserError(f"{word} does not exist; a word that ends in {TXT} is a file of texts")
        for line, text in read_lines(path):
            if text.strip():
                yield f"{path}:{line}", text.strip()


def load_synthesiser(source: str, device: str | None = None) -> Synthesiser:
    """Loads a run folder, a checkpoint or a directory, in evaluation mode.

    Raises:
        UserError: If the source is no synthesiser, or was never trained.
    """
    hint = "which does not speak; train one with headway fit -c speech/fast_speech"
    model, _ = load_model(source, device, Synthesiser, hint)
    if not model.complete:
        raise UserError(f"{source} was never trained: it has measured no recording")
    return model


def load_vocoder(source: str, model: Synthesiser, device: str | None = None) -> Vocoder:
    """Loads a vocoder for a voice, in evaluation mode.

    Raises:
        UserError: If the source is no vocoder, was never trained, or reads other bands than the voice writes.
    """
    hint = "which is no vocoder; train one with headway fit -c speech/hifi_gan"
    vocoder, _ = load_model(source, device, Vocoder, hint)
    if not vocoder.front_end.complete:
        raise UserError(f"{source} was never trained: its front end has measured no recording")
    vocoder.mel.check_same_bands(model.mel)
    vocoder.fold()
    return vocoder


def encoded(
    model: Synthesiser, given: Sequence[tuple[str, str]], counts: Counts, on_invalid: str
) -> list[tuple[int, list[int]]]:
    """Returns place and tokens of the texts that the model can say."""
    rows = []
    for place, (name, text) in enumerate(given):
        try:
            tokens = text_tokens(model.tokenizer, text, name)
            if not tokens:
                raise InputError(name, "is empty; there is nothing to say")
            rows.append((place, tokens))
        except InputError as error:
            counts.refuse(error, on_invalid)  # pyright: ignore[reportArgumentType]
    return rows


@torch.inference_mode()
def speak(
    model: Synthesiser,
    rows: Sequence[tuple[int, list[int]]],
    *,
    manner: Manner,
    batch_size: int = 16,
    steps: int = 60,
    vocoder: Vocoder | None = None,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yields place and sound (samples,) of texts.

    Args:
        model: The synthesiser.
        rows: Place and tokens of each text.
        manner: How they are spoken.
        batch_size: Texts at a time.
        steps: Of the search for phases.
        vocoder: Makes the sound; Griffin-Lim if None.
    """
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        tokens, lengths = padded([torch.tensor(row) for _, row in chosen])
        spoken = model.speak(tokens.to(model.device), lengths.to(model.device), manner=manner)
        sounds = None
        if vocoder is not None:
            sounds = vocoder.sound(spoken.features, spoken.lengths, model.mel).cpu()
        for row, (place, _) in enumerate(chosen):
            length = int(spoken.lengths[row])
            if sounds is not None:
                yield place, sounds[row, : length * model.mel.hop]
            else:
                yield (
                    place,
                    griffin_lim(spoken.features[row, :length], model.mel, steps=steps).cpu(),
                )
