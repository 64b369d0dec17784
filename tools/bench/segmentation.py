"""Trains torchvision's LR-ASPP on CamVid in the CPU time that a run of headway took, and scores it the same.

Same pictures, crops, batches, optimiser and schedule as ``vision/segformer_camvid``; both from scratch. One
pass is timed first, and then as many are made as fit into the time. One thread.
"""

import argparse
import time
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from headway.core.training import AdamW, WarmupCosine
from headway.vision.data import SegmentationFolder
from headway.vision.tasks import Segmentation

NAMES = ("Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car")
CLASSES = (*NAMES, "Pedestrian", "Bicyclist")


class LRASPP(nn.Module):
    """torchvision's model with the answer of a segmenter, (B, classes, H, W)."""

    num_classes = len(CLASSES)

    def __init__(self) -> None:
        super().__init__()
        self.model = lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=self.num_classes
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits of each pixel."""
        return self.model(images)["out"]


def trained(path: str, passes: int, seed: int, rate: float, score: bool) -> dict[str, Any]:
    """Trains for a number of passes and returns the scores of the test."""
    torch.manual_seed(seed)
    data = SegmentationFolder(
        path=path, class_names=CLASSES, ignore=11, crop=(128, 160), batch_size=8
    )
    task = Segmentation(
        backbone=LRASPP(),
        optimizer=AdamW(lr=rate, weight_decay=0.01),
        schedule=WarmupCosine(warmup=1.0),
    )
    trainer = Trainer(
        max_epochs=passes,
        gradient_clip_val=1.0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=1.0 if score else 0,
    )
    trainer.fit(task, data)
    return dict(trainer.test(task, data, verbose=False)[0]) if score else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="folder with train, trainannot, val and so on")
    parser.add_argument("--minutes", type=float, default=25.0, help="of CPU, validation included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    trained(arguments.path, 1, arguments.seed, arguments.rate, score=False)
    a_pass = time.process_time() - start
    passes = max(1, int(60 * arguments.minutes / a_pass))
    print(f"a pass takes {a_pass:.1f} CPU s: {passes} of them", flush=True)
    start = time.process_time()
    scores = trained(arguments.path, passes, arguments.seed, arguments.rate, score=True)
    print(f"{(time.process_time() - start) / 60:.1f} CPU minutes, test included")
    for name, value in scores.items():
        print(f"{name:<24} {value:.3f}")


if __name__ == "__main__":
    main()
