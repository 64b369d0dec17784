"""Whisper beside faster-whisper: errors, equal tokens, CPU time, and when words are said.

    python tools/bench/whisper.py MANIFEST -m FOLDER --peer PYTHON [--words 5] [--most 1000] [--batch 1]
    python tools/bench/whisper.py MANIFEST -m FOLDER --peer PYTHON --join 600

``FOLDER`` is a model of CTranslate2 that both read, ``PYTHON`` an interpreter that has faster-whisper (1.2.1
was measured). Both hear the same samples at 16 kHz, take the likeliest token at temperature 0, with marks of
time, in float32 and one thread, each in a process of its own, one after the other; times are CPU times of the
processes without loading. With ``--join`` the recordings are one, that many seconds long, with half a second
of silence between two of them, and the errors are those of the times of words: what a recording begins and
ends with is known.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headway.core.weights import from_pretrained
from headway.speech.data.audio import read_audio
from headway.speech.data.cutting import quiet_cuts
from headway.speech.data.manifest import read_manifest
from headway.speech.hypothesis import joined as together
from headway.speech.metrics import normalise, word_errors
from headway.speech.models.whisper import WhisperSearch
from headway.speech.models.whisper.recordings import transcribe_recordings

RATE, GAP = 16000, 0.5
PEER = """
import json, sys, time, numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
folder, samples, counts, words, batch, fallback = sys.argv[1:]
flat, counts = np.load(samples), json.loads(counts)
model = WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1)
told = dict(beam_size=1, language="en", word_timestamps=words == "1")
if fallback == "0":
    told["temperature"] = 0.0
hear = model
if int(batch) > 1:
    hear = BatchedInferencePipeline(model=model)
    told["batch_size"] = int(batch)
    told["without_timestamps"] = False
def one(audio):
    found, info = hear.transcribe(audio, **told)
    found = list(found)
    return {
        "text": "".join(part.text for part in found),
        "tokens": [token for part in found for token in part.tokens],
        "words": [[w.start, w.end, w.word] for part in found for w in part.words or ()],
        "seconds": info.duration,
    }
one(flat[: counts[0]])
begin, place, said = time.process_time(), 0, []
for count in counts:
    said.append(one(flat[place : place + count]))
    place += count
print(json.dumps({"cpu": time.process_time() - begin, "said": said}))
"""


def peer(python: str, folder: Path, recordings: Sequence[torch.Tensor], **told: Any) -> Any:
    """Returns what faster-whisper says, and its CPU time."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "samples.npy"
        np.save(file, torch.cat(list(recordings)).numpy())
        counts = json.dumps([len(one) for one in recordings])
        words, fallback = (str(int(told[name])) for name in ("words", "fallback"))
        command = [
            python,
            "-c",
            PEER,
            str(folder),
            str(file),
            counts,
            words,
            str(told["batch"]),
            fallback,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def ours(folder: Path, recordings: Sequence[torch.Tensor], **told: Any) -> Any:
    """Returns what headway says, and its CPU time."""
    torch.set_num_threads(1)
    model: Any = from_pretrained(folder).eval()
    search = WhisperSearch(words=told["words"])
    if not told["fallback"]:
        search = replace(search, temperatures=(0.0,))

    def hear(given: Sequence[torch.Tensor]) -> list[Any]:
        batch = told["batch"]
        if batch == 1 or len(given) > 1:
            found = dict(transcribe_recordings(model, given, search=search, batch_size=batch))
            return [found[place] for place in range(len(given))]
        # One recording side by side: its parts, as ``headway transcribe --cut 30`` hears them.
        spans = quiet_cuts(given[0], RATE, model.front_end.seconds)
        parts = [given[0][start:end] for start, end in spans]
        found = dict(transcribe_recordings(model, parts, search=search, batch_size=batch))
        return [together([found[n].later(start / RATE) for n, (start, _) in enumerate(spans)])]

    hear(recordings[:1])
    begin = time.process_time()
    found = hear(recordings)
    cpu = time.process_time() - begin
    said = [
        {
            "text": one.text,
            "tokens": list(one.tokens),
            "words": [[w.start, w.end, w.text] for part in one.segments for w in part.words],
        }
        for one in found
    ]
    return {"cpu": cpu, "said": said}


def joined(recordings: Sequence[torch.Tensor], seconds: float) -> tuple[torch.Tensor, list[Any]]:
    """Returns one recording of others, and where each begins and ends in it, in seconds."""
    parts: list[torch.Tensor] = []
    spans: list[Any] = []
    silence, place = torch.zeros(round(GAP * RATE)), 0
    for one in recordings:
        if place + len(one) > seconds * RATE:
            break
        # What is heard: the first and the last sample that are no background.
        loud = (one.abs() > 0.05 * one.abs().max()).nonzero()[:, 0]
        spans.append([(place + int(loud[0])) / RATE, (place + int(loud[-1])) / RATE])
        parts += [one, silence]
        place += len(one) + len(silence)
    return torch.cat(parts), spans


def drift(words: Sequence[Any], texts: Sequence[str], spans: Sequence[Any]) -> dict[str, float]:
    """Returns how far times of words are from where recordings begin and end, in seconds.

    Words are matched to those of the references in order; a recording counts where its first word and its
    last one are matched.
    """
    said = [
        (word, place)
        for place, text in enumerate(texts)
        for word in normalise(text, "english").split()
    ]
    heard = [(part, word) for word in words for part in normalise(word[2], "english").split()]
    pairs = matched([word for word, _ in said], [part for part, _ in heard])
    errors = []
    for place, (begin, end) in enumerate(spans):
        inside = [row for row, (_, one) in enumerate(said) if one == place]
        if not inside:
            continue
        if (row := pairs.get(inside[0])) is not None:
            errors.append(abs(heard[row][1][0] - begin))
        if (row := pairs.get(inside[-1])) is not None:
            errors.append(abs(heard[row][1][1] - end))
    found = np.array(errors)
    return {
        "matched ends": len(found) / (2 * len(spans)),
        "median": float(np.median(found)),
        "mean": float(found.mean()),
        "90 %": float(np.quantile(found, 0.9)),
        "last minute, median": float(np.median(found[-len(found) // 10 :])),
    }


def matched(said: Sequence[str], heard: Sequence[str]) -> dict[int, int]:
    """Returns which word was heard for which."""
    from difflib import SequenceMatcher

    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    return {block.a + step: block.b + step for block in blocks for step in range(block.size)}


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-m", "--model", type=Path, required=True)
    parser.add_argument("--peer", default=sys.executable)
    parser.add_argument(
        "--words", nargs="+", type=int, default=[5], help="least (and most) words of a text"
    )
    parser.add_argument("--most", type=int, default=10000, help="recordings")
    parser.add_argument("--batch", type=int, default=1, help="rows, of both")
    parser.add_argument("--join", type=float, help="seconds of one recording made of all")
    parser.add_argument("--fallback", action="store_true", help="higher temperatures, too")
    parser.add_argument("--show", type=int, default=0, help="texts that differ, or have errors")
    args = parser.parse_args()
    rows = [row for row in read_manifest(args.manifest) if row.text]
    least, most = (*args.words, 10**6)[:2]
    rows = [
        row for row in rows if least <= len(normalise(row.text or "", "english").split()) <= most
    ]
    rows = rows[: args.most]
    recordings = [read_audio(row.audio, sample_rate=RATE) for row in rows]
    texts = [row.text or "" for row in rows]
    spans: list[Any] = []
    if args.join:
        whole, spans = joined(recordings, args.join)
        recordings, texts = [whole], texts[: len(spans)]
    seconds = sum(map(len, recordings)) / RATE
    told = {"words": bool(args.join), "batch": args.batch, "fallback": args.fallback}
    print(f"{len(recordings)} recordings, {seconds:.1f} s")
    both: dict[str, Callable[[], Any]] = {
        "headway": lambda: ours(args.model, recordings, **told),
        "faster-whisper": lambda: peer(args.peer, args.model, recordings, **told),
    }
    found = {name: hear() for name, hear in both.items()}
    for name, result in found.items():
        heard = [normalise(one["text"], "english") for one in result["said"]]
        said = [normalise(text, "english") for text in texts]
        if args.join:
            said = [" ".join(said)]
        pairs = list(zip(said, heard, strict=True))
        print(f"{name}: {result['cpu'] / seconds:.4f} CPU-s a second ({result['cpu']:.1f} s); "
              f"{word_errors(pairs).line('WER')}")  # fmt: skip
        if args.join:
            shown = drift(result["said"][0]["words"], texts, spans).items()
            print("  ends of recordings:", ", ".join(f"{key} {value:.3f}" for key, value in shown))
    mine, other = (result["said"] for result in found.values())
    same = [one["tokens"] == two["tokens"] for one, two in zip(mine, other, strict=True)]
    print(
        f"equal token for token: {sum(same)} of {len(same)} ({100 * sum(same) / len(same):.1f} %)"
    )
    print(
        f"CPU time: {found['headway']['cpu'] / found['faster-whisper']['cpu']:.2f} of faster-whisper's"
    )
    for place in [place for place, one in enumerate(same) if not one][: args.show]:
        print(f"  said {texts[place]}\n  ours {mine[place]['text']}\n  them {other[place]['text']}")


if __name__ == "__main__":
    main()
