"""Recognisers beside each other on one set of recordings: CTC, CTC with attention, RNN-T, TDT, Paraformer.

    python tools/studies/speech_recognisers.py FOLDER [--recipes ctc rnnt] [--epochs 150] [--seed 0]

FOLDER has train.jsonl, val.jsonl and test.jsonl, such as the text-disjoint prompts of Asterisk that
``tools/demo/speech.py --speech asterisk`` writes to runs/speech/demo_asterisk. All recipes have the same
encoder, front end and epochs. What is finished is read from results.json in --out, what was broken off goes
on. Prints a table in Markdown: errors of greedy search and with a beam, CPU minutes of training, CPU seconds
for a second heard.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from torchmetrics.functional.text import char_error_rate, word_error_rate

RECIPES = {
    "ctc": "conformer",
    "ctc_attention": "ctc_attention",
    "rnnt": "rnnt",
    "tdt": "tdt",
    "paraformer": "paraformer",
}
# Paraformer writes all tokens at once.
WITHOUT_BEAM = ("paraformer",)
START = "import sys; from headway.core.cli import main; sys.exit(main())"
# Telephone speech.
SMALL = {
    "model.backbone.front_end.sample_rate": 8000,
    "model.backbone.front_end.mels": 40,
    "model.augment.band_width": 8,
    "model.backbone.encoder.stem.features": 40,
}


def main() -> None:
    """Trains what is not trained yet, measures it and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beam", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("study"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.recipes:
        key = f"{name} {args.epochs} {args.seed}"
        results = read(args.out)
        facts = results.setdefault(key, {"cpu": 0.0})
        if "wer" not in facts:
            facts |= study(name, args, facts, lambda results=results: write(args.out, results))
            write(args.out, results)
        print(f"{key}: {facts}", flush=True)
    print(table(read(args.out)))


def study(name: str, args: argparse.Namespace, facts: dict[str, Any], keep) -> dict[str, Any]:
    """Trains one recipe to its end, or on from where it was, and measures it."""
    runs = args.out / f"{name}_{args.epochs}_{args.seed}"
    place = runs / "speech" / RECIPES[name]
    there = sorted(place.glob("*/checkpoints/last.ckpt"))
    if there:
        command = ["fit", "--resume", str(there[-1].parents[1])]
    else:
        options = {
            **SMALL,
            "data.path": args.folder,
            "seed_everything": args.seed,
            "trainer.max_epochs": args.epochs,
        }
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        command = ["fit", "-c", f"speech/{RECIPES[name]}", *words, "--runs", str(runs)]
    if not facts.get("trained"):
        # A run that was broken off says less than it took: what went on in it is not counted.
        facts["cpu"] += headway(*command)
        facts["trained"] = True
        keep()
    [run] = sorted(place.glob("*/model"))[-1:]
    found = measure(run.parent, args.folder / "test.jsonl", 1)
    if name not in WITHOUT_BEAM:
        beam = measure(run.parent, args.folder / "test.jsonl", args.beam)
        found |= {f"beam_{key}": value for key, value in beam.items()}
    return found


def measure(run: Path, manifest: Path, beam: int) -> dict[str, float]:
    """Transcribes the test and returns its error rates and the time for a second heard."""
    out = run / f"test_{beam}.csv"
    words = ["-o", str(out), "--overwrite", "--beam", str(beam)]
    cpu = headway("transcribe", "-m", str(run), str(manifest), *words)
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    heard, said = [row["text"] for row in rows], [row["reference"] for row in rows]
    return {
        "wer": float(word_error_rate(heard, said)),
        "cer": float(char_error_rate(heard, said)),
        "rtf": cpu / sum(float(row["duration"]) for row in rows),
    }


def headway(*words: str) -> float:
    """Runs one command and returns its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", START, *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what is known so far."""
    file = folder / "results.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def write(folder: Path, results: dict[str, dict[str, Any]]) -> None:
    """Writes it down, whole or not at all."""
    file = folder / "results.json"
    new = file.with_suffix(".new")
    new.write_text(json.dumps(results, indent=1))
    new.replace(file)


def table(results: dict[str, dict[str, Any]]) -> str:
    """Returns the table."""
    lines = [
        "| recogniser, epochs, seed | WER | CER | WER, beam | CER, beam | CPU min | CPU s / s | with beam |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("wer", "cer", "beam_wer", "beam_cer")
    for name, facts in results.items():
        if "wer" not in facts:
            continue
        errors = [f"{facts[key]:.3f}" if key in facts else "-" for key in keys]
        times = [f"{facts['rtf']:.3f}", f"{facts['beam_rtf']:.3f}" if "beam_rtf" in facts else "-"]
        lines.append(
            f"| {name} | {' | '.join(errors)} | {facts['cpu'] / 60:.1f} | {' | '.join(times)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
