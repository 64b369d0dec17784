"""Puts a piece of what each demo drew into one picture, the one of the README.

make demo DOMAIN=vision ...        # all five
python tools/docs/domains.py --runs runs -o docs/pictures/domains.png
"""

import argparse
from pathlib import Path

from PIL import Image

from headway.core.figures import new_figure

# What is cut out: left, top, right, bottom as shares of the picture.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
PANELS: dict[str, tuple[str, str, Box]] = {
    "vision": (
        "vision/vit_digits/*/pictures/demo.png",
        "what it is, and why",
        (0.25, 0.36, 0.75, 0.665),
    ),
    "time series": (
        "timeseries/itransformer_ett/*/pictures/demo.png",
        "how it goes on",
        (0.0, 0.015, 1.0, 0.38),
    ),
    "reinforcement learning": (
        "rl/decision_key_to_door/*/pictures/demo.png",
        "return asked for, return reached",
        WHOLE,
    ),
    "speech": ("speech/conformer/*/pictures/heard/*.png", "what is heard, and when", WHOLE),
    "molecules": (
        "molecules/llama_nci/*/pictures/demo.png",
        "what it makes up",
        (0.2, 0.0, 1.0, 0.75),
    ),
}
COLOURS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the demos ran")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/pictures/domains.png"))
    args = parser.parse_args()
    figure = new_figure(15, 3.1)
    for axes, (domain, (pattern, about, box)) in zip(
        figure.subplots(1, len(PANELS)), PANELS.items(), strict=True
    ):
        found = sorted(args.runs.glob(pattern))
        if not found:
            raise SystemExit(f"{args.runs / pattern} is not there; run the demo of {domain} first")
        axes.imshow(cut(found[-1], box))
        axes.set_title(f"{domain}\n{about}", size=10)
        axes.axis("off")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=110)
    few = Image.open(args.out).convert("RGB").quantize(COLOURS)
    few.save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


def cut(path: Path, box: Box) -> Image.Image:
    """Reads a part of a picture."""
    image = Image.open(path).convert("RGB")
    wide, high = image.size
    left, top, right, bottom = box
    return image.crop((int(left * wide), int(top * high), int(right * wide), int(bottom * high)))


if __name__ == "__main__":
    main()
