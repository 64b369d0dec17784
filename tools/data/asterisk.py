"""Prepares the prompts of Asterisk, recorded in five languages: OUT/LANGUAGE.jsonl and the recordings.

    python tools/data/asterisk.py OUT [--languages en es fr it ru] [--packages FOLDER]

The recordings and what is said in them are two Debian packages for each language, which ``apt-get download``
fetches (version 1.6.1-1; CC-BY-SA-3.0, Italian and Russian CC-BY-3.0; nothing is installed). A row has audio,
text, duration, id, speaker and language. Prompts that are tones, and those without a text, are left out.
"""

import argparse
import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import soundfile

VERSION = "1.6.1-1"
# The folder of the recordings, which names the speaker.
SPEAKERS = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
# A text that begins so says what is heard and not what is spoken.
SOUNDS = ("[", "(", "<")


def fetch(language: str, packages: Path, out: Path) -> None:
    """Downloads the packages of a language, where they are not there, and unpacks them."""
    for name in (f"asterisk-core-sounds-{language}-wav", f"asterisk-core-sounds-{language}"):
        file = packages / f"{name}_{VERSION}_all.deb"
        if not file.exists():
            subprocess.run(["apt-get", "download", f"{name}={VERSION}"], cwd=packages, check=True)
        subprocess.run(["dpkg-deb", "-x", file, out], check=True)


def texts(file: Path) -> Iterator[tuple[str, str]]:
    """Yields name and text of each prompt."""
    with gzip.open(file, "rt", encoding="utf-8-sig") as lines:
        for line in lines:
            name, colon, text = line.partition(":")
            text = " ".join(text.split())
            if colon and not line.startswith(";") and text and not text.startswith(SOUNDS):
                yield name.strip(), text


def rows(language: str, out: Path) -> Iterator[dict[str, object]]:
    """Yields the rows of a language."""
    share, name = out / "usr/share", f"asterisk-core-sounds-{language}"
    folder = share / "asterisk/sounds" / SPEAKERS[language]
    for prompt, text in texts(share / f"doc/{name}/core-sounds-{language}.txt.gz"):
        audio = folder / f"{prompt}.wav"
        if audio.is_file():
            yield {
                "audio": str(audio.relative_to(out)),
                "text": text,
                "duration": round(soundfile.info(audio).duration, 3),
                "id": f"{language}/{prompt}",
                "speaker": SPEAKERS[language],
                "language": language,
            }


def main() -> None:
    """Writes the manifests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--languages", nargs="+", default=list(SPEAKERS), choices=list(SPEAKERS))
    parser.add_argument("--packages", type=Path, help="where the packages are, or go to (OUT)")
    args = parser.parse_args()
    packages = args.packages or args.out
    for folder in (args.out, packages):
        folder.mkdir(parents=True, exist_ok=True)
    for language in args.languages:
        fetch(language, packages, args.out)
        found = list(rows(language, args.out))
        file = args.out / f"{language}.jsonl"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        minutes = sum(float(str(row["duration"])) for row in found) / 60
        print(f"{file}: {len(found)} prompts, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
