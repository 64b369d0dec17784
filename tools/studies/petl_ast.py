"""Ways to teach a spectrogram transformer other digits with few parameters, side by side.

    python tools/studies/petl_ast.py FOLDER [--seeds 0 1 2] [--epochs 6] [--shots 0]

FOLDER holds the recordings of the Free Spoken Digit Dataset. An AST learns digits 0 to 4; then each way
teaches a copy digits 5 to 9. Said are the numbers that learn, the accuracy on the official test part, and CPU
seconds of one thread, for each seed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from headway.core.blocks import (
    AdaptedBlock,
    BottleneckAdapter,
    ConvolutionAdapter,
    PromptedBlock,
)
from headway.core.changes import train_new_parameters
from headway.core.finetune import BitFit, Full, HeadOnly, LoRA, trainable_parameters
from headway.core.weights import save_pretrained
from headway.speech.audio_classifier import AudioClassifier
from headway.speech.data import SpokenDigits
from headway.speech.front_ends import FixedFbank
from headway.speech.models import AST, pretrained_classifier

OLD, NEW = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)


def adapted(**options: Any) -> Any:
    return partial(AdaptedBlock, **options)


NARROW = partial(BottleneckAdapter, width=8)
# Block, what is frozen, rate.
WAYS: dict[str, tuple[Any, Any, float]] = {
    "linear probe": (None, HeadOnly(), 5e-3),
    "BitFit": (None, BitFit(), 5e-3),
    "LoRA 4": (None, LoRA(rank=4), 5e-3),
    "prompts 8": (partial(PromptedBlock, prompts=8), HeadOnly(), 5e-3),
    "bottleneck, Pfeiffer": (adapted(adapter=NARROW, around=("feedforward",)), HeadOnly(), 5e-3),
    "bottleneck, Houlsby": (adapted(adapter=NARROW), HeadOnly(), 5e-3),
    "convolution, Houlsby": (
        adapted(adapter=partial(ConvolutionAdapter, width=4, window=9)),
        HeadOnly(),
        5e-3,
    ),
    "full": (None, Full(), 1e-3),
}
Part = tuple[torch.Tensor, torch.Tensor]


def parts(folder: Path, digits: tuple[int, ...], model: AudioClassifier) -> dict[str, Part]:
    """Returns features and labels of the splits."""
    data = SpokenDigits(path=str(folder), digits=digits)
    data.setup()
    data.use(model)
    model.set_classes(data.classes)
    if not model.front_end.complete:
        model.front_end.measure(data.recordings())
    found = {}
    for split in ("train", "test"):
        items = [item for item in getattr(data, f"{split}_set") if item is not None]
        heard = [model.front_end(item.waveform[None]).inputs[0] for item in items]
        found[split] = torch.stack(heard), torch.tensor([item.label for item in items])
    return found


def few(part: Part, shots: int, seed: int) -> Part:
    """Returns so many recordings of each class; all for 0."""
    if not shots:
        return part
    x, y = part
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    kept = torch.cat([order[y[order] == label][:shots] for label in y.unique()])
    return x[kept], y[kept]


def fit(model: AudioClassifier, part: Part, *, epochs: int, lr: float, seed: int) -> None:
    """Trains what is not frozen."""
    x, y = part
    generator = torch.Generator().manual_seed(seed)
    chosen = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=lr, weight_decay=0.01)
    steps = epochs * -(-len(y) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.15)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=generator).split(32):
            loss = F.cross_entropy(model(x[rows]), y[rows], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(chosen, 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: AudioClassifier, part: Part) -> float:
    """Returns which share is told right."""
    model.eval()
    x, y = part
    found = torch.cat([model(rows).argmax(1) for rows in x.split(64)])
    return (found == y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--before", type=int, default=12, help="epochs of the first digits")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--shots", type=int, default=0, help="recordings of a digit; 0 for all")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, list[tuple[int, float, float]]] = {way: [] for way in args.ways}
    for seed in args.seeds:
        torch.manual_seed(seed)
        began = time.process_time()
        front_end = FixedFbank(sample_rate=8000, mels=40, steps=96, mean=None, std=None)
        first = AST(front_end=front_end, dim=96, depth=4, heads=4, stride=8, dropout=0.1)
        data = parts(args.folder, OLD, first)
        fit(first, data["train"], epochs=args.before, lr=1.5e-3, seed=seed)
        took = time.process_time() - began
        print(f"seed {seed}: 0 to 4 {accuracy(first, data['test']):.3f}, {took:.0f} s", flush=True)
        with tempfile.TemporaryDirectory() as place:
            source = str(save_pretrained(first, Path(place) / "first"))
            data = parts(args.folder, NEW, pretrained_classifier(source))
            some = few(data["train"], args.shots, seed)
            for way in args.ways:
                block, strategy, lr = WAYS[way]
                torch.manual_seed(seed)
                model = pretrained_classifier(source, block=block)
                model.set_classes([str(digit) for digit in NEW])
                strategy.apply(model)
                train_new_parameters(model)
                began = time.process_time()
                fit(model, some, epochs=args.epochs, lr=lr, seed=seed)
                took = time.process_time() - began
                learns, _ = trainable_parameters(model)
                row = (learns, accuracy(model, data["test"]), took)
                table[way].append(row)
                print(f"  {way:22s} {learns:7d} {row[1]:.3f} {took:5.1f} s", flush=True)
    print(f"{'':22s} {'learns':>7s} {'mean':>6s} {'least':>6s} {'CPU s':>6s}")
    for way, rows in table.items():
        scores = [score for _, score, _ in rows]
        seconds = statistics.mean(took for _, _, took in rows)
        mean, least = statistics.mean(scores), min(scores)
        print(f"{way:22s} {rows[0][0]:7d} {mean:6.3f} {least:6.3f} {seconds:6.1f}")


if __name__ == "__main__":
    sys.exit(main())
