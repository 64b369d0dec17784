"""How near a LLamol comes to what it is told: one, two and three properties, a fragment, guidance.

    headway fit -c molecules/llamol_moses
    python tools/studies/conditions.py -m RUN --plot conditions.png

The wishes are the properties of molecules of the test set of MOSES, so that together they are possible. All
subsets stand in the same batches. A fragment is the Murcko scaffold of a test molecule, one that the model
has room for, and the wishes beside it are those of the same molecule. Every row is held against all wishes,
those that the model was not told included (mean absolute deviations over the valid molecules); what it was
told is bold. Prints a table in Markdown, and draws the distributions of each property at fixed wishes.
"""

import argparse
import itertools
import random
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from rdkit.Chem.Scaffolds import MurckoScaffold

from headway.core.language import ConditionalLanguageModel
from headway.core.weights import from_pretrained
from headway.molecules.chemistry import molecule
from headway.molecules.data import moses_file, read_records
from headway.molecules.labels import labels
from headway.molecules.metrics import deviations, has_fragment, measure
from headway.molecules.properties import PROPERTIES

# Fixed wishes of the picture, inside of what MOSES has (weights are 250 to 350).
FIXED = {"logP": (0.5, 2.5, 4.5), "SA": (2.0, 3.0, 4.0), "weight": (265.0, 300.0, 335.0)}
FRAGMENT = "fragment"
Wish = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--checkpoint", required=True, help="run folder of a LLamol")
    parser.add_argument("-n", "--count", type=int, default=1000, help="molecules of each kind")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, required=True)
    args = parser.parse_args()
    start = time.process_time()
    model = from_pretrained(args.checkpoint).eval()
    assert isinstance(model, ConditionalLanguageModel)
    wishes = [wish for wish, _ in drawn(model, args.count, args.seed, fits=False)]
    pieces = drawn(model, args.count, args.seed, fits=True)
    everything = tuple(model.properties)
    subsets = [
        (*names, *part)
        for part in ((), (FRAGMENT,))
        for size in range(len(everything) + 1)
        for names in itertools.combinations(everything, size)
        if not part or size in (0, len(everything))
    ]
    print(
        "| told | guidance | validity | unique | "
        + " | ".join(everything)
        + " | has the fragment |"
    )
    print("| --- " * (5 + len(everything)) + "|")
    for guidance, kinds in ((1.0, subsets), (args.guidance, subsets[-3:])):
        rows = [
            (kind, wish, part)
            for kind in kinds
            for place, (wish_of_piece, part) in enumerate(pieces)
            for wish in [wish_of_piece if FRAGMENT in kind else wishes[place]]
        ]
        # Of all kinds in each batch.
        random.Random(args.seed).shuffle(rows)
        written = write(
            model,
            [{name: wish[name] for name in kind if name != FRAGMENT} for kind, wish, _ in rows],
            [part if FRAGMENT in kind else None for kind, _, part in rows],
            guidance,
            args.seed,
        )
        for kind in kinds:
            own = [
                (wish, part, text)
                for (told, wish, part), text in zip(rows, written, strict=True)
                if told == kind
            ]
            print(line(kind, guidance, own, everything))
    draw(model, args.count // 2, args.seed, args.plot)
    print(f"\n{time.process_time() - start:.0f} CPU-seconds")


def drawn(
    model: ConditionalLanguageModel, count: int, seed: int, *, fits: bool
) -> list[tuple[Wish, str | None]]:
    """Returns properties and scaffolds of test molecules, of any or of those whose scaffold fits in."""
    texts = [record.smiles for record in read_records(moses_file("test"))]
    random.Random(seed).shuffle(texts)
    chosen: list[tuple[str, str | None]] = []
    for text in texts:
        part = scaffold(text, model)
        if part is not None or not fits:
            chosen.append((text, part))
        if len(chosen) == count:
            break
    table = labels([text for text, _ in chosen], list(FIXED)).tolist()
    return [
        (dict(zip(FIXED, row, strict=True)), part)
        for row, (_, part) in zip(table, chosen, strict=True)
    ]


def scaffold(text: str, model: ConditionalLanguageModel) -> str | None:
    """Returns rings and what joins them; None if the model has no room for them."""
    part = MurckoScaffold.MurckoScaffoldSmiles(smiles=text)
    tokens = model.tokenizer.split(part)
    fits = 0 < len(tokens) <= model.max_fragment and not model.tokenizer.lacking(tokens)
    return part if fits else None


def write(
    model: ConditionalLanguageModel,
    wishes: list[Wish],
    parts: list[str | None],
    guidance: float,
    seed: int,
) -> list[str | None]:
    """Returns what the model writes, canonical; None for what is no molecule."""
    told: dict[str, Any] = model.conditions(wishes, parts)
    found = model.generate(
        [model.tokenizer.prompt("")] * len(wishes),
        generator=torch.Generator().manual_seed(seed),
        guidance=guidance,
        **told,
    )
    return measure([model.tokenizer.decode(row) for row in found.tokens.tolist()]).canonical


def line(
    kind: tuple[str, ...],
    guidance: float,
    rows: list[tuple[Wish, str | None, str | None]],
    names: tuple[str, ...],
) -> str:
    """Returns a row of the table; what was told is bold."""
    texts = [text for *_, text in rows]
    valid = [text for text in texts if text is not None]
    cells = [f"{len(valid) / len(texts):.3f}", f"{len(set(valid)) / max(1, len(valid)):.3f}"]
    hits = [has_fragment(text, part) for _, part, text in rows if part and text is not None]
    scores = {name: deviations(texts, name, [wish[name] for wish, *_ in rows]) for name in names}
    scores[FRAGMENT] = sum(hits) / len(hits) if hits else None
    for name, score in scores.items():
        said = "" if score is None else f"{score:.3g}"
        cells.append(f"**{said}**" if name in kind else said)
    return f"| {', '.join(kind) or 'nothing'} | {guidance:g} | " + " | ".join(cells) + " |"


def draw(model: ConditionalLanguageModel, count: int, seed: int, path: Path) -> None:
    """Draws the distributions of each property at fixed wishes and without any."""
    figure, axes = plt.subplots(1, len(FIXED), figsize=(12, 3.4))
    free = write(model, [{}] * count, [None] * count, 1.0, seed)
    for axis, (name, values) in zip(axes, FIXED.items(), strict=True):
        axis.hist(numbers(free, name), bins=40, density=True, color="0.8", label="told nothing")
        for place, value in enumerate(values):
            texts = write(model, [{name: value}] * count, [None] * count, 1.0, seed)
            colour = f"C{place}"
            axis.hist(numbers(texts, name), bins=40, density=True, histtype="step", color=colour)
            axis.axvline(value, color=colour, linestyle=":", label=f"told {value:g}")
        axis.set_xlabel(name)
        axis.set_yticks([])
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def numbers(texts: list[str | None], name: str) -> list[float]:
    found = [None if text is None else molecule(text) for text in texts]
    return [PROPERTIES[name](one) for one in found if one is not None]


if __name__ == "__main__":
    main()
