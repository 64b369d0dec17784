"""Writes a table of made-up crystals in a line notation, with two properties of each.

    python tools/data/lines.py crystals.csv

A line is two to four atoms, then edges: the numbers of two atoms and a label (o, + or -) for each of three
faces, as in SLICES. ``energy`` is minus the mean difference of electronegativity over the edges, ``gap`` the
smallest of them: both follow from the line alone, so what a model writes can be judged (``judged``).
"""

import argparse
import csv
import random
from pathlib import Path

# Electronegativities (Pauling).
ATOMS = {
    "Li": 0.98,
    "Na": 0.93,
    "Mg": 1.31,
    "Al": 1.61,
    "Si": 1.9,
    "S": 2.58,
    "O": 3.44,
    "Cl": 3.16,
    "F": 3.98,
}
FACES = ("o", "+", "-")


def line(draws: random.Random) -> str:
    """Returns a crystal."""
    atoms = draws.choices(list(ATOMS), k=draws.randint(2, 4))
    words = list(atoms)
    for _ in range(draws.randint(2, 4)):
        first, second = sorted(draws.sample(range(len(atoms)), 2))
        words += [str(first), str(second), *draws.choices(FACES, k=3)]
    return " ".join(words)


def judged(text: str) -> dict[str, float] | None:
    """Returns energy and gap of a line; None if it is no crystal."""
    words = text.split(" ")
    count = next((at for at, word in enumerate(words) if word not in ATOMS), len(words))
    edges = [words[at : at + 5] for at in range(count, len(words), 5)]
    if not 2 <= count <= 4 or not edges:
        return None
    apart = []
    for edge in edges:
        if (
            len(edge) < 5
            or not all(end.isdigit() for end in edge[:2])
            or set(edge[2:]) - set(FACES)
        ):
            return None
        first, second = int(edge[0]), int(edge[1])
        if not first < second < count:
            return None
        apart.append(abs(ATOMS[words[first]] - ATOMS[words[second]]))
    return {"energy": -sum(apart) / len(apart), "gap": min(apart)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("-n", "--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draws = random.Random(args.seed)
    with args.out.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["line", "energy", "gap"])
        for _ in range(args.count):
            text = line(draws)
            found = judged(text)
            assert found is not None
            table.writerow([text, f"{found['energy']:.4f}", f"{found['gap']:.4f}"])


if __name__ == "__main__":
    main()
