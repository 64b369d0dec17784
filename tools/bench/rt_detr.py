"""Times RT-DETR-R18 at 640 pixels on the CPU beside transformers' with the same weights.

    python tools/bench/rt_detr.py [--rounds 5] [--size 640]

One thread, process CPU time, the contestants in turn in one process; a ratio is headway's median divided by
transformers', so below one headway wins. Answers and losses are compared before.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from headway.core.weights import from_pretrained
from headway.vision.layers import fused
from headway.vision.models import RTDETR, SigmoidDetections
from headway.vision.tasks import VarifocalLoss

OBJECTS = 3


def contestants() -> tuple[RTDETR, nn.Module]:
    """Returns both models with the same weights, those of a model that has learned nothing."""
    torch.manual_seed(0)
    # What their base class takes is none of the arguments that type checkers see.
    stages: dict[str, Any] = {"out_features": ["stage2", "stage3", "stage4"]}
    heads: dict[str, Any] = {"num_labels": 80}
    backbone = transformers.RTDetrResNetConfig(
        layer_type="basic",
        depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512],
        embedding_size=64,
        **stages,
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[128, 256, 512],
        decoder_layers=3,
        hidden_expansion=0.5,
        **heads,
    )
    theirs = transformers.RTDetrForObjectDetection(config)
    for module in theirs.modules():
        # Small gains, with which theirs begins, make all tokens alike.
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = from_pretrained(folder)
    assert isinstance(ours, RTDETR)
    return ours, theirs


def seconds(run: Callable[[], object]) -> float:
    """Returns the CPU time of a call."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def report(what: str, runs: dict[str, Callable[[], object]], rounds: int) -> None:
    """Runs all in turn and prints medians and ratios."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            taken = seconds(run)
            if turn:  # the first round warms up
                times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    theirs = medians.pop("transformers")
    for name, mine in medians.items():
        print(
            f"{what}, {name}: {mine:.3f} s, transformers {theirs:.3f} s, ratio {mine / theirs:.2f}"
        )


def main() -> None:
    """Compares, then times inference and a training step with objects with noise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=640)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ours, theirs = contestants()
    images = torch.rand(1, 3, args.size, args.size)
    ours.eval()
    theirs.eval()
    quick = fused(ours)
    with torch.inference_mode():
        found, wanted = ours(images), theirs(images)
        apart = (found.logits - wanted.logits).abs().max().item()
        print(
            f"largest difference of logits: {apart:.2g}, fused {_apart(quick(images), found):.2g}"
        )
        runs: dict[str, Callable[[], object]] = {
            "fused": lambda: quick(images),
            "as trained": lambda: ours(images),
            "transformers": lambda: theirs(images),
        }
        report("inference, one picture", runs, args.rounds)
    ours.train()
    theirs.train()
    boxes, labels = [torch.rand(OBJECTS, 4) * 0.4 + 0.2], [torch.arange(OBJECTS)]
    published = [{"class_labels": labels[0], "boxes": boxes[0]}]
    loss = VarifocalLoss()

    def ours_step() -> Tensor:
        total = loss(ours.taught(images, None, boxes, labels), boxes, labels).total
        total.backward()
        return total

    def their_step() -> Tensor:
        total = theirs(images, labels=published).loss
        total.backward()
        return total

    report("training step", {"headway": ours_step, "transformers": their_step}, args.rounds)


def _apart(one: SigmoidDetections, other: SigmoidDetections) -> float:
    """Returns how far the sorted scores of two answers lie apart: queries may have changed places."""
    scores = [answer.logits.max(-1).values.sort().values for answer in (one, other)]
    return (scores[0] - scores[1]).abs().max().item()


if __name__ == "__main__":
    main()
