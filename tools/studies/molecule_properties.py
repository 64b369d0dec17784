"""Properties of molecules: a language model fine-tuned and from scratch beside Morgan fingerprints.

    python tools/studies/molecule_properties.py --source RUN --out runs/properties --set esol=esol.csv

Each set is split by scaffold (80, 10, 10 in a hundred), by a new draw for each seed, and all three see the
same parts: `molecules/finetune_properties` from a run on MOSES, `molecules/llama_properties` with a model of
the same size, and Morgan fingerprints (radius 2, 2,048 bits) with ridge or logistic regression, whose
strength is chosen on the validation part. `--kinds` names others: models of graphs from scratch
(`molecules/graphormer_properties`, the same without what its attention is told of the graph, and
`molecules/gsm_properties`). Models are those of the lowest validation loss. What has been trained is not
trained again. Sets: esol, clintox, sider, tox21 (files of MoleculeNet), and b3db-logbb, b3db
(files of `qc-b3db`, whose classes are written as numbers first).
"""

import argparse
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rdkit.Chem import rdFingerprintGenerator
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from headway.core.reading import read_table
from headway.molecules.chemistry import checked
from headway.molecules.data import PropertyFile, Record, ScaffoldSplit
from headway.molecules.data.labelled import Labelled
from headway.molecules.metrics import property_scores

MOLFORMER = "MoLFormer {}, from scratch {}"


class Set(NamedTuple):
    """What is predicted of a set.

    Args:
        properties: Its columns; all but ``others`` if None.
        metric: Of the table.
        published: A score of others, with a word on their split.
        others: Columns that are no property.
    """

    properties: tuple[str, ...] | None
    metric: str
    published: str
    others: tuple[str, ...] = ("smiles",)


SETS = {
    "esol": Set(
        ("measured log solubility in mols per litre",),
        "rmse",
        "GCN 0.885 (MoleculeNet, random split)",
    ),
    "clintox": Set(None, "auc", MOLFORMER.format(0.945, 0.732)),
    "sider": Set(None, "auc", MOLFORMER.format(0.583, 0.567)),
    "tox21": Set(None, "auc", MOLFORMER.format(0.773, 0.746), ("smiles", "mol_id")),
    "b3db-logbb": Set(("logBB",), "rmse", ""),
    "b3db": Set(("permeable",), "auc", ""),
}
RECIPES = {
    "from scratch": "llama_properties",
    "fine-tuned": "finetune_properties",
    "Graphormer": "graphormer_properties",
    "without biases": "graphormer_properties",
    "GSM++": "gsm_properties",
}
# Of a contestant alone; its attention is told nothing of the graph.
OPTIONS = {"without biases": ("--model.backbone.backbone.distances", "null")}
TEXTS = ("from scratch", "fine-tuned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", help="run of a language model of molecules, to fine-tune")
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--set", nargs="+", required=True, metavar="NAME=FILE", dest="sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--kinds", nargs="+", choices=list(RECIPES), default=list(TEXTS))
    parser.add_argument(
        "--as-written", action="store_true", help="do not rewrite molecules as RDKit does"
    )
    args = parser.parse_args()
    if "fine-tuned" in args.kinds and args.source is None:
        parser.error("--source names the run that is fine-tuned")
    args.out.mkdir(parents=True, exist_ok=True)
    lines = []
    for given in args.sets:
        name, _, file = given.partition("=")
        path = numbered_classes(Path(file), args.out) if name == "b3db" else Path(file)
        found = {"Morgan": [baseline(name, path, seed) for seed in args.seeds]}
        for kind in args.kinds:
            found[kind] = [trained(name, path, kind, seed, args) for seed in args.seeds]
        lines.append(line(name, path, found))
        print(lines[-1], flush=True)
    (args.out / "table.md").write_text("\n".join([*head(args.kinds), *lines]) + "\n")


def head(kinds: Sequence[str]) -> tuple[str, str]:
    """Returns the first rows of the table."""
    columns = ("set", "molecules, properties", "score", "Morgan + linear")
    titles = (*columns, *kinds, "CPU-minutes", "others")
    return f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"


def line(name: str, path: Path, found: dict[str, list[dict[str, float]]]) -> str:
    """Returns the row of a set: mean and deviation over seeds."""
    one, metric = SETS[name], SETS[name].metric

    def score(kind: str) -> str:
        values = [scores[metric] for scores in found[kind]]
        return f"{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}"

    size = f"{int(found['Morgan'][0]['molecules']):,}, {len(columns(name, path))}"
    kinds = [kind for kind in found if kind != "Morgan"]
    minutes = [scores["minutes"] for kind in kinds for scores in found[kind]]
    shown = " | ".join(score(kind) for kind in found)
    title = {"rmse": "RMSE", "auc": "ROC-AUC"}[metric]
    mean = statistics.mean(minutes)
    return f"| {name} | {size} | {title} | {shown} | {mean:.1f} | {one.published} |"


def columns(name: str, path: Path) -> list[str]:
    """Returns the properties of a set."""
    known = SETS[name].properties
    if known is not None:
        return list(known)
    _, first = next(iter(read_table(path)))
    return [column for column in first if column not in SETS[name].others]


def options(seed: int) -> dict[str, Any]:
    """Returns how all contestants read a set."""
    return {
        "split_seed": seed,
        "val": 0.1,
        "test": 0.1,
        "max_length": 256,
        "on_invalid": "skip",
    }


def numbered_classes(path: Path, out: Path) -> Path:
    """Returns a table of B3DB whose classes are numbers."""
    target = out / "b3db.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["smiles", "permeable"])
        for _, row in read_table(path):
            writer.writerow([row["SMILES"], int(row["BBB+/BBB-"] == "BBB+")])
    return target


def trained(
    name: str, path: Path, kind: str, seed: int, args: argparse.Namespace
) -> dict[str, float]:
    """Trains one seed unless that was done, and returns what its test says."""
    folder = args.out / name / kind.replace(" ", "_") / str(seed)
    note = folder / "scores.json"
    if not note.is_file():
        before = cpu_seconds()
        words = [f"--data.{key}={value}" for key, value in options(seed).items()]
        words += [f"--data.path={path}", f"--data.properties={json.dumps(columns(name, path))}"]
        if kind == "fine-tuned":
            words += [f"--model.backbone.source={args.source}"]
        words += OPTIONS.get(kind, ())
        recipe = f"molecules/{RECIPES[kind]}"
        headway(
            *("fit", "-c", recipe, "--runs", str(folder), "--seed_everything", str(seed)),
            *("--trainer.max_epochs", str(args.epochs)),
            *(("--model.schedule.warmup", str(args.epochs / 5)) if kind in TEXTS else ()),
            *("--data.canonical", str(not args.as_written).lower(), *words),
        )
        minutes = (cpu_seconds() - before) / 60
        run = next(file.parent for file in sorted(folder.rglob("config.yaml")))
        said = json.loads(headway("test", "-m", str(run), "--json"))
        scores = {key.removeprefix("test_"): value for key, value in said.items()}
        note.write_text(json.dumps({**scores, "minutes": minutes}))
    return json.loads(note.read_text())


def headway(*words: str) -> str:
    """Runs a verb, and returns what it printed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("headway")), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def cpu_seconds() -> float:
    """Returns those of all processes that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def baseline(name: str, path: Path, seed: int) -> dict[str, float]:
    """Returns the scores of fingerprints and a linear model for each property."""
    data = PropertyFile(
        path=str(path), properties=columns(name, path), split=ScaffoldSplit(), **options(seed)
    )
    data.setup()
    parts = {part: fingerprints(rows) for part, rows in data.splits.items()}
    labels = {part: known_labels(data, rows) for part, rows in data.splits.items()}
    answers = torch.zeros_like(labels["test"])
    for place, kind in enumerate(data.kinds().values()):
        y = {part: values[:, place].numpy() for part, values in labels.items()}
        answers[:, place] = torch.from_numpy(linear(parts, y, kind)).float()
    scores = property_scores(answers, labels["test"], data.kinds())
    return {**scores, "molecules": sum(map(len, data.splits.values()))}


def fingerprints(records: Sequence[Record]) -> np.ndarray:
    """Returns Morgan fingerprints, (N, 2048)."""
    made = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    rows = [made.GetFingerprintAsNumPy(checked(one.smiles, "a row")) for one in records]
    return np.stack(rows).astype(np.float32)


def known_labels(data: PropertyFile, records: Sequence[Record]) -> Tensor:
    """Returns the labels of records, nan where nothing is known."""
    items = data.dataset(records, randomize=False)
    assert isinstance(items, Labelled)
    return items.values


def linear(parts: dict[str, np.ndarray], y: dict[str, np.ndarray], kind: str) -> np.ndarray:
    """Returns answers for the test part of the strength that is best on the validation part."""
    known = {part: ~np.isnan(values) for part, values in y.items()}
    x = {part: parts[part][known[part]] for part in ("train", "val")}
    seen = {part: y[part][known[part]] for part in ("train", "val")}
    best, answer = -np.inf, np.full(len(parts["test"]), float(seen["train"].mean()))
    if kind == "classification" and len(set(seen["train"])) < 2:
        return answer
    for strength in (0.1, 1.0, 10.0, 100.0):
        if kind == "regression":
            model: Any = Ridge(alpha=strength).fit(x["train"], seen["train"])
            said = {part: model.predict(parts[part]) for part in ("val", "test")}
        else:
            model = LogisticRegression(C=1 / strength, max_iter=1000).fit(x["train"], seen["train"])
            said = {part: model.predict_proba(parts[part])[:, 1] for part in ("val", "test")}
        score = fit_of(said["val"][known["val"]], seen["val"], kind)
        if score > best:
            best, answer = score, said["test"]
    return answer


def fit_of(answers: np.ndarray, labels: np.ndarray, kind: str) -> float:
    """Returns how well answers agree with labels: the likelihood of classes, the error of numbers."""
    if kind == "regression":
        return -float(np.square(answers - labels).mean())
    sure = np.clip(answers, 1e-6, 1 - 1e-6)
    return float((labels * np.log(sure) + (1 - labels) * np.log(1 - sure)).mean())


if __name__ == "__main__":
    main()
