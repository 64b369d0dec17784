"""Writes strings of spoken digits as recordings: OUT/train.jsonl, val.jsonl and test.jsonl.

    python tools/data/digit_strings.py RECORDINGS OUT [--held-out theo yweweler] [--strings 200] [--test 200]

RECORDINGS holds those of the Free Spoken Digit Dataset, {digit}_{speaker}_{index}.wav (CC-BY-SA-4.0). A
string has 3 to 7 digits of one speaker; speakers who are held out test, and nobody else does.
"""

import argparse
import json
from pathlib import Path

import soundfile

from headway.speech.data import DigitStrings
from headway.speech.data.digit_strings import DigitStringSet

RATE = 8000


def main() -> None:
    """Writes all three splits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", nargs="*", default=[])
    parser.add_argument("--strings", type=int, default=200, help="training strings")
    parser.add_argument("--val", type=int, default=40)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data = DigitStrings(
        path=str(args.recordings),
        held_out=args.held_out,
        strings=args.strings,
        val_strings=args.val,
        test_strings=args.test,
        string_seed=args.seed,
    )
    for split, strings in data.load().items():
        assert isinstance(strings, DigitStringSet)
        if strings.seed is None:  # those of training are drawn anew otherwise
            strings.seed = args.seed
        folder = args.out / split
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for index in range(len(strings)):
            found = strings.recording(index, RATE)
            file = folder / f"{index:05}.wav"
            soundfile.write(file, found.waveform.numpy(), RATE)
            row = {"audio": f"{split}/{file.name}", "text": found.text, "speaker": found.speaker}
            rows.append(row | {"duration": len(found.waveform) / RATE})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (args.out / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        minutes = sum(row["duration"] for row in rows) / 60
        print(f"{split}: {len(rows)} strings, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
