"""How sure Whisper is of its own language, of others, of noise and of silence.

    python tools/studies/whisper_doubt.py -m FOLDER --manifests en.jsonl es.jsonl ... [--each 20]

Of each manifest the first recordings of at least two seconds are heard, and as many of noise and of silence.
A row has the medians of the mean log-probability of a token and of the probability that nobody speaks, and
how many transcripts are not believed: below the threshold of the log-probability, or repeating themselves.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from headway.core.weights import from_pretrained
from headway.speech.data.audio import read_audio
from headway.speech.data.manifest import read_manifest
from headway.speech.models.whisper import WhisperSearch
from headway.speech.models.whisper.recordings import transcribe_recordings

RATE, LEAST = 16000, 2.0


def line(name: str, model: Any, recordings: Sequence[Tensor]) -> None:
    """Prints what the model says of some recordings."""
    search = WhisperSearch(temperatures=(0.0,))
    heard = [one for _, one in transcribe_recordings(model, recordings, search=search)]
    scores = [one.scores for one in heard]
    doubted = sum(
        one["log_prob"] < (search.log_prob or 0) or one["compression"] > (search.compression or 0)
        for one in scores
    )
    empty = sum(not one.text for one in heard)
    print(
        f"{name}: {len(heard)} recordings; log_prob {median(s['log_prob'] for s in scores):.2f}, "
        f"silence {median(s['silence'] for s in scores):.2f}, not believed {doubted}, empty {empty}"
    )


def main() -> None:
    """Prints a row for each manifest, for noise and for silence."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-m", "--model", type=Path, required=True)
    parser.add_argument("--manifests", nargs="+", type=Path, required=True)
    parser.add_argument("--each", type=int, default=20, help="recordings of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model: Any = from_pretrained(args.model).eval()
    for manifest in args.manifests:
        found: list[Tensor] = []
        for row in read_manifest(manifest):
            samples = read_audio(row.audio, sample_rate=RATE)
            if len(samples) >= LEAST * RATE and len(found) < args.each:
                found.append(samples)
        line(manifest.stem, model, found)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(2, 10, args.each).tolist()
    noise = [0.05 * torch.randn(round(one * RATE), generator=generator) for one in lengths]
    line("noise", model, noise)
    line("silence", model, [torch.zeros(round(one * RATE)) for one in lengths])


if __name__ == "__main__":
    main()
