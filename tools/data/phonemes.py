"""Writes the texts of a manifest as phonemes, which a voice learns from less speech than letters.

    python tools/data/phonemes.py train.jsonl phonemes.jsonl [--voice en-us] [--stress]

espeak-ng says how words sound (apt-get install espeak-ng). Phonemes stand between spaces, ``|`` between words
and ``,`` where a sentence ends or pauses; the other columns stay as they are. ``speech/fast_speech_phonemes``
trains a voice on them, and ``headway speak`` is given phonemes, too: ``--text`` prints those of a text.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

STRESS = re.compile("[ˈˌ]")


def phonemes(text: str, voice: str, *, stress: bool = False) -> str:
    """Returns the phonemes of a text."""
    command = ["espeak-ng", "-q", "-v", voice, "--ipa", "--sep=_", " ".join(text.split())]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    clauses = []
    for line in said.strip().splitlines():
        words = (word.split("_") for word in line.split())
        spoken = (
            " ".join(
                one for one in (part if stress else STRESS.sub("", part) for part in word) if one
            )
            for word in words
        )
        clauses.append(" | ".join(word for word in spoken if word))
    return " , ".join(clause for clause in clauses if clause)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("source", nargs="?", type=Path, help="a manifest of JSON lines with text")
    parser.add_argument("out", nargs="?", type=Path, help="where the phonemes go")
    parser.add_argument("--voice", default="en-us", help="of espeak-ng (en-us)")
    parser.add_argument("--stress", action="store_true", help="keep the marks of stress")
    parser.add_argument("--text", help="print the phonemes of this text instead")
    args = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        print("phonemes need espeak-ng: apt-get install espeak-ng", file=sys.stderr)
        return 2
    if args.text is not None:
        print(phonemes(args.text, args.voice, stress=args.stress))
        return 0
    if args.source is None or args.out is None:
        parser.error("give a manifest and where the phonemes go, or --text")
    if args.out.exists():
        print(f"{args.out} exists; choose another place", file=sys.stderr)
        return 2
    rows = [
        json.loads(line) for line in args.source.read_text(encoding="utf-8").split("\n") if line
    ]
    for row in rows:
        row["text"] = phonemes(row["text"], args.voice, stress=args.stress)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    args.out.write_text(text, encoding="utf-8")
    print(f"{len(rows)} texts as phonemes of {args.voice}: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
