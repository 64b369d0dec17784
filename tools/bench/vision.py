"""Times ViT-S/16 on the CPU against timm and transformers, and counts the memory of a training step.

One thread, process CPU time, the contestants in turn in one process; a ratio is headway's cost
divided by that of the cheaper peer, so below one headway wins. All three hold the same weights, and
before they are timed their logits are compared.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torch.nn.functional as F
import transformers
from timm.layers.config import set_fused_attn
from torch import Tensor, nn

from headway.core.weights import from_pretrained
from headway.vision.models.vit_variants import VIT

CLASSES = 1000


class Logits(nn.Module):
    """A model of transformers that returns its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Takes what headway takes."""
        return self.model(images).logits


def contestants() -> dict[str, nn.Module]:
    """The same ViT-S/16 three times; the peers at their best settings."""
    torch.manual_seed(0)
    options: dict[str, Any] = {"num_labels": CLASSES, "attn_implementation": "sdpa"}
    config = transformers.ViTConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        layer_norm_eps=1e-6,
        **options,
    )
    face = transformers.ViTForImageClassification(config)
    with tempfile.TemporaryDirectory() as folder:
        face.save_pretrained(folder)
        headway = from_pretrained(folder)
    set_fused_attn(True)
    peer = timm.create_model("vit_small_patch16_224")
    peer.load_state_dict({VIT.to_timm(name): x for name, x in headway.state_dict().items()})
    return {"headway": headway, "timm": peer, "transformers": Logits(face)}


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Yields a list that receives the most bytes that lived at once within it beyond those before."""
    peak: list[int] = []
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        yield peak
    events: list[Any] = profiler.profiler.kineto_results.events()  # pyright: ignore
    changes = [event for event in events if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    live = most = 0
    for change in changes:
        live += change.nbytes()
        most = max(most, live)
    peak.append(most)


def forward(model: nn.Module, images: Tensor) -> Callable[[], None]:
    def call() -> None:
        model.eval()
        with torch.no_grad():
            model(images)

    return call


def training_step(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def call() -> None:
        model.train()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


def cpu_seconds(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(calls: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each call in each round; every round starts with another contestant."""
    names = list(calls)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        calls[name]()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(cpu_seconds(calls[name]))
    return taken


def summary(work: str, taken: dict[str, list[float]]) -> dict[str, Any]:
    """Least and median times, and headway's ratio to the faster peer by either."""
    least = {name: min(times) for name, times in taken.items()}
    median = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "work": work,
        "unit": "CPU s",
        "least": least,
        "median": median,
        "ratio": ratio(least),
        "ratio_of_medians": ratio(median),
        "rounds": len(taken["headway"]),
    }


def ratio(costs: dict[str, float]) -> float:
    return costs["headway"] / min(cost for name, cost in costs.items() if name != "headway")


def memory(calls: dict[str, Callable[[], None]]) -> dict[str, Any]:
    """The peak of a step beyond parameters, optimiser state and batch; the same in every run."""
    peaks: dict[str, float] = {}
    for name, call in calls.items():
        call()
        with peak_memory() as peak:
            call()
        peaks[name] = peak[0] / 2**20
    return {"work": "peak of a step", "unit": "MiB", "least": peaks, "ratio": ratio(peaks)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=30, help="forwards of each model")
    parser.add_argument("--steps", type=int, default=15, help="training steps of each model")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = contestants()
    images = torch.randn(arguments.batch, 3, 224, 224)
    labels = torch.randint(CLASSES, (arguments.batch,))
    with torch.no_grad():
        logits = [model.eval()(images) for model in models.values()]
    for other in logits[1:]:
        torch.testing.assert_close(logits[0], other, atol=1e-5, rtol=1e-5)

    forwards = {name: forward(model, images) for name, model in models.items()}
    rows = [summary("forward", measure(forwards, arguments.rounds))]
    steps = {name: training_step(model, images, labels) for name, model in models.items()}
    rows.append(summary("training step", measure(steps, arguments.steps)))
    rows.append(memory(steps))
    if arguments.json:
        print(json.dumps({"batch": arguments.batch, "torch": torch.__version__, "rows": rows}))
        return
    print(f"{'ViT-S/16, 224':<16} {'':<7}" + "".join(f"{name:>14}" for name in models) + "   ratio")
    for row in rows:
        for kind in ("least", "median"):
            if kind in row:
                costs = row[kind]
                cells = "".join(f"{costs[name]:>14.3f}" for name in models)
                label = f"{row['work']:<16} {row['unit'] if kind == 'least' else kind:<7}"
                print(f"{label}{cells}{ratio(costs):>8.3f}")


if __name__ == "__main__":
    main()
