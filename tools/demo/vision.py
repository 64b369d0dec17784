"""Trains a small ViT on real digits, evaluates it, and draws what its answers rest on.

What it runs is what a user types: ``headway fit -c vision/vit_digits`` and ``headway validate -m RUN``.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from steps import say
from torch import Tensor

from headway.core.cli import main as headway
from headway.core.files import save_figure
from headway.vision.data import Digits
from headway.vision.figures import prediction_grid
from headway.vision.relevance import patch_relevance
from headway.vision.verbs.explain import as_seen
from headway.vision.verbs.loading import Classifier, load_classifier

RECIPE = "vision/vit_digits"
SHOWN = 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (runs)")
    args, overrides = parser.parse_known_args()
    start = time.monotonic()
    # Tensors this small gain nothing from a second thread.
    torch.set_num_threads(1)
    say(f"headway fit -c {RECIPE}")
    before = set(args.runs.glob(f"{RECIPE}/*"))
    if code := headway(["fit", "-c", RECIPE, "--runs", str(args.runs), *overrides]):
        return code
    [run] = set(args.runs.glob(f"{RECIPE}/*")) - before
    say(f"headway validate -m {run}")
    if code := headway(["validate", "-m", str(run)]):
        return code
    picture = run / "pictures" / "demo.png"
    accuracy, right, total = draw(run, picture)
    say("done")
    print(f"validation accuracy  {accuracy:.4f} ({right} of {total} digits never trained on)")
    print(f"picture              {picture}")
    print(f"curves, confusion    {run / 'pictures'}")
    print(f"model                {run / 'model'}")
    print(f"time                 {time.monotonic() - start:.0f} s")
    return 0


def draw(run: Path, picture: Path) -> tuple[float, int, int]:
    """Draws validation digits, mistakes first, and returns the accuracy, hits and number."""
    classifier = load_classifier(str(run), "cpu")
    images, labels = validation()
    answers = torch.cat([classifier.probabilities(batch) for batch in images.split(256)])
    right = answers.argmax(dim=1) == labels
    shown = chosen(right, labels)
    save_figure(figure(classifier, images[shown], labels[shown], right), picture)
    return right.float().mean().item(), int(right.sum()), len(labels)


def validation() -> tuple[Tensor, Tensor]:
    """Returns the split that the recipe validates on."""
    data = Digits(validate_on_test=True)
    data.setup()
    batches = list(data.val_dataloader())
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def chosen(right: Tensor, labels: Tensor) -> Tensor:
    """Returns which digits to draw: the mistakes, then right ones of every class in turn."""
    wrong = torch.nonzero(~right)[:, 0]
    # The n-th of each class before any (n+1)-th.
    rank = torch.stack([(labels[:i] == labels[i]).sum() for i in range(len(labels))])
    order = torch.argsort(rank * 10 + labels)
    return torch.cat([wrong, order[right[order]]])[:SHOWN]


def figure(classifier: Classifier, images: Tensor, labels: Tensor, right: Tensor):
    """Draws pictures with prediction, true label and the relevance of each patch."""
    probabilities, said = classifier.probabilities(images).max(dim=1)
    return prediction_grid(
        list(as_seen(images, classifier.preprocessing)),
        [classifier.name(k) for k in said.tolist()],
        [classifier.name(k) for k in labels.tolist()],
        patch_relevance(classifier.model, images, target=said),
        probabilities=probabilities.tolist(),
        title=f"{int(right.sum())} of {len(right)} validation digits right; mistakes first; "
        "below: what each answer rests on",
    )


if __name__ == "__main__":
    sys.exit(main())
