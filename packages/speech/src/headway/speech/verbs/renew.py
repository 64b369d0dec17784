"""Makes recordings again: copies through a vocoder, or with the frequencies that they lack."""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import check_positive, refuse_to_overwrite
from headway.core.cli.progress import with_progress
from headway.core.errors import InputError, UserError
from headway.core.files import atomic_write
from headway.speech.batch import padded
from headway.speech.data.cutting import quiet_cuts
from headway.speech.sound_model import SoundModel
from headway.speech.verbs.inputs import Item, add_recordings, find_items, read_item


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway renew``."""
    add_recordings(parser)
    parser.add_argument(
        "--cut",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="longer recordings are made in parts, cut where it is quiet (20)",
    )


def run(args: argparse.Namespace) -> int:
    """Writes NAME.wav for each recording into the folder; returns 1 if none could be read."""
    check_positive(args, "cut")
    job = Job(args, "renew with", items="recordings", out="folder")
    assert job.path is not None
    items = find_items(args.inputs, job.counts, args.on_invalid)
    files = result_files(items, job.path)
    for file in files:
        refuse_to_overwrite(file, overwrite=args.overwrite)
    model = load_sound_model(args.checkpoint, args.device)
    rate, start, seconds = model.mel.sample_rate, time.perf_counter(), 0.0
    for item, file in zip(with_progress(items, "renewing"), files, strict=True):
        waveform = read_item(item, model, channel=args.channel)
        if isinstance(waveform, InputError):
            job.counts.refuse(waveform, args.on_invalid)
            continue
        sound, buffer = renewed(model, waveform, longest=args.cut), io.BytesIO()
        soundfile.write(buffer, sound.clamp(-1, 1).numpy(), rate, format="WAV")
        with atomic_write(file) as out:
            out.write(buffer.getvalue())
        seconds += len(sound) / rate
        job.counts.done += 1
    factor = (time.perf_counter() - start) / seconds if seconds else 0.0
    made = f"{seconds:.1f} s at {rate} Hz, {factor:.3f} s for each second"
    said = f"recordings renewed, written{job.place}: {made}"
    return job.end(said, seconds=round(seconds, 3), real_time_factor=round(factor, 4))


def result_files(items: Sequence[Item], folder: Path) -> list[Path]:
    """Returns a file of its own for each recording, named like it."""
    taken: dict[str, int] = {}
    files = []
    for item in items:
        stem = Path(item.row.audio).stem
        taken[stem] = number = taken.get(stem, 0) + 1
        files.append(folder / (f"{stem}.wav" if number == 1 else f"{stem}_{number}.wav"))
    twice = {file for file in files if files.count(file) > 1}
    if twice:
        raise UserError(f"two recordings would both become {min(twice)}; renew them apart")
    return files


def load_sound_model(source: str, device: str | None = None) -> SoundModel:
    """Loads a run folder, a checkpoint, a directory or a hub id, in evaluation mode.

    Raises:
        UserError: If the source makes no sound of recordings, or was never trained.
    """
    hint = "which makes no sound of recordings; train one with headway fit -c speech/hifi_gan"
    model, _ = load_model(source, device, SoundModel, hint)
    if not model.front_end.complete:
        raise UserError(f"{source} was never trained: its front end has measured no recording")
    model.fold()
    return model


@torch.inference_mode()
def renewed(model: SoundModel, waveform: Tensor, *, longest: float = 20.0) -> Tensor:
    """Returns a recording made again, as long as it was.

    Args:
        model: What makes it.
        waveform: Samples, (S,).
        longest: Seconds that are made at once.
    """
    hop = model.mel.hop
    spans = quiet_cuts(waveform, model.mel.sample_rate, longest)
    # Parts are whole steps, so that each begins where the one before ends.
    borders = [hop * round(start / hop) for start, _ in spans] + [hop * (-(-len(waveform) // hop))]
    parts = []
    for part in _parts(waveform, borders):
        inputs, lengths = padded([part])
        sound, samples = model.renew(inputs.to(model.device), lengths.to(model.device))
        parts.append(sound[0, : int(samples[0])].float().cpu())
    return torch.cat(parts)[: len(waveform)]


def _parts(waveform: Tensor, borders: Sequence[int]) -> Iterator[Tensor]:
    for start, end in pairwise(borders):
        part = waveform[start:end]
        yield torch.nn.functional.pad(part, (0, end - start - len(part)))
