"""Trains a small Conformer on spoken digit strings or phone prompts, and shows what it hears where.

The speech comes from Debian: strings of digits spoken by espeak-ng in many voices (the test has voices that
were never trained on), or the recorded prompts of Asterisk (the test has texts that were never trained on;
so little speech with an open vocabulary only shows that the way works, it is not enough to be understood).
What it runs is what a user types: ``headway fit -c speech/conformer``, ``headway test`` and
``headway transcribe``.
"""

import argparse
import csv
import gzip
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from steps import say, step

RECIPE = "speech/conformer"
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = {
    "train": ("m1", "m2", "m3", "m5", "m6", "m7", "f1", "f2", "f3", "f5", "max", "Alex"),
    "val": ("m4", "f4"),
    "test": ("m8", "belinda", "Andy"),
}
STRINGS = {"train": 300, "val": 30, "test": 60}
INSTALL = (
    "the demo needs speech: apt-get install espeak-ng, "
    "or apt-get install asterisk-core-sounds-en-wav asterisk-core-sounds-en"
)
# Telephone speech, and what four minutes allow.
SMALL = {
    "model.backbone.front_end.sample_rate": 8000,
    "model.backbone.front_end.mels": 40,
    "model.augment.band_width": 8,
    "model.backbone.encoder.stem.features": 40,
    "model.backbone.encoder.dim": 96,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    parser.add_argument("--speech", choices=("auto", "espeak", "asterisk"), default="auto")
    args, overrides = parser.parse_known_args()
    start = time.monotonic()
    # Tensors this small gain nothing from a second thread.
    torch.set_num_threads(1)
    source = find_speech(args.speech)
    if source is None:
        print(INSTALL, file=sys.stderr)
        return 2
    folder = args.runs / "speech" / f"demo_{source}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say(f"writes recordings and manifests to {folder}")
    write = speak_digits if source == "espeak" else read_prompts
    write(folder)
    before = set(args.runs.glob(f"{RECIPE}/*"))
    options = {
        **SMALL,
        "data.path": folder,
        "model.backbone.tokenizer.unit": "words" if source == "espeak" else "characters",
        "trainer.max_epochs": 26 if source == "espeak" else 12,
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    if code := step("fit", "-c", RECIPE, *words, "--runs", str(args.runs), *overrides):
        return code
    [run] = set(args.runs.glob(f"{RECIPE}/*")) - before
    if code := step("test", "-m", str(run)):
        return code
    out, pictures = run / "transcriptions.csv", run / "pictures" / "heard"
    command = ["transcribe", "-m", str(run), str(folder / "test.jsonl"), "-o", str(out)]
    if code := step(*command):
        return code
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    say("what it heard")
    for row in rows[:8]:
        print(f"said   {row['reference']}\nheard  {row['text']}  ({float(row['confidence']):.2f})")
    shown = folder / "shown.jsonl"
    shown.write_text((folder / "test.jsonl").read_text(encoding="utf-8").splitlines()[0] + "\n")
    one = ["transcribe", "-m", str(run), str(shown), "-o", str(run / "shown.csv")]
    if code := step(*one, "--plot", str(pictures)):
        return code
    [picture] = pictures.iterdir()
    say("done")
    right = sum(row["text"] == row["reference"] for row in rows)
    print(f"right from end to end  {right} of {len(rows)} recordings of the test")
    print(f"picture                {picture}")
    print(f"curves                 {run / 'pictures' / 'curves.png'}")
    print(f"transcriptions         {out}")
    print(f"time                   {time.monotonic() - start:.0f} s")
    return 0


def find_speech(wanted: str) -> str | None:
    """Returns where speech comes from, or None where there is none."""
    there = {
        "espeak": shutil.which("espeak-ng") is not None,
        "asterisk": SOUNDS.is_dir() and TEXTS.is_file(),
    }
    names = list(there) if wanted == "auto" else [wanted]
    return next((name for name in names if there[name]), None)


def speak_digits(folder: Path) -> None:
    """Lets espeak-ng speak strings of digits, each split in voices of its own."""
    draw = random.Random(0)
    for split, voices in VOICES.items():
        lines = []
        for number in range(STRINGS[split]):
            text = " ".join(draw.choices(DIGITS, k=draw.randint(2, 5)))
            voice, speed = draw.choice(voices), draw.randint(130, 190)
            name = f"{split}_{number:03}.wav"
            command = ["espeak-ng", "-v", f"en-us+{voice}", "-s", str(speed), "-w", name, text]
            subprocess.run(command, cwd=folder, check=True)
            lines.append(json.dumps({"audio": name, "text": text, "speaker": voice}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_prompts(folder: Path) -> None:
    """Sorts the prompts of Asterisk that are plain words into splits without common texts."""
    found: dict[str, list[Path]] = {}
    with gzip.open(TEXTS, "rt", encoding="utf-8") as file:
        for line in file:
            name, colon, text = line.partition(":")
            sound = SOUNDS / f"{name.strip()}.wav"
            # Digits are spoken as words, and brackets hold notes.
            if colon and sound.is_file() and not re.search(r"[\d\[\](){}<>]", text):
                plain = " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())
                if plain:
                    found.setdefault(plain, []).append(sound)
    texts = sorted(found)
    random.Random(0).shuffle(texts)
    borders = {"test": texts[:40], "val": texts[40:70], "train": texts[70:]}
    for split, chosen in borders.items():
        lines = [json.dumps({"audio": str(f), "text": t}) for t in chosen for f in found[t]]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
