"""Memory and CPU time of a transducer's loss with its joint network, beside torchaudio's, each in a process.

    python tools/bench/transducer.py [--batch 8] [--frames 200] [--tokens 50] [--vocabulary 1000]

Peak: resident memory of one forward and backward, more than before it. Torchaudio is given what the joint
network makes of all frames and tokens, as its users do. glibc maps every buffer of a MiB by itself here, so
that the peak is what is in use and not holes between small buffers (with them, ours was .31 of torchaudio's).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings

import torch
from torch import Tensor, nn

DIM = 64


class Joint(nn.Module):
    """A hyperbolic tangent and a layer."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.out = nn.Linear(DIM, entries)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Returns the scores."""
        return self.out((encoded + predicted).tanh())


def peak() -> float:
    """Returns the most resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(kind: str, sizes: tuple[int, int, int, int]) -> Tensor:
    """Computes the loss and its gradients once."""
    batch, frames, tokens, entries = sizes
    torch.manual_seed(0)
    joint = Joint(entries)
    encoded = torch.randn(batch, frames, DIM, requires_grad=True)
    predicted = torch.randn(batch, tokens + 1, DIM, requires_grad=True)
    targets = torch.randint(1, entries, (batch, tokens))
    lengths, target_lengths = torch.full((batch,), frames), torch.full((batch,), tokens)
    if kind == "torchaudio":
        from torchaudio.functional import rnnt_loss

        scores = joint(encoded[:, :, None], predicted[:, None])
        loss = rnnt_loss(
            scores,
            targets.int(),
            lengths.int(),
            target_lengths.int(),
            blank=0,
            reduction="sum",
        )
    else:
        from headway.speech.losses import transducer_loss

        durations = (0, 1, 2, 3, 4) if kind == "headway tdt" else ()
        joint = Joint(entries + len(durations))
        loss = transducer_loss(
            joint, encoded, predicted, targets, lengths, target_lengths, durations=durations
        ).sum()
    loss.backward()
    return loss.detach()


def measure(kind: str, sizes: tuple[int, int, int, int]) -> None:
    """Prints peak and time as JSON."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    step(kind, (1, 4, 2, 8))  # imports and first calls
    before, start = peak(), time.process_time()
    loss = step(kind, sizes)
    facts = {"mib": peak() - before, "cpu": time.process_time() - start, "loss": float(loss)}
    print(json.dumps(facts))


def main() -> None:
    """Measures each kind in a process of its own and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("batch", 8), ("frames", 200), ("tokens", 50), ("vocabulary", 1000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = (args.batch, args.frames, args.tokens, args.vocabulary)
    if args.only:
        measure(args.only, sizes)
        return
    found = {}
    for kind in ("torchaudio", "headway", "headway tdt"):
        shown = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--only", kind],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
        ).stdout
        found[kind] = json.loads(shown.splitlines()[-1])
    scores = 4 * args.batch * args.frames * (args.tokens + 1) * args.vocabulary / 2**20
    print(f"{sizes}: all scores {scores:.0f} MiB\n| | peak MiB | CPU s | loss |\n|---|---|---|---|")
    for kind, facts in found.items():
        print(f"| {kind} | {facts['mib']:.0f} | {facts['cpu']:.2f} | {facts['loss']:.3f} |")
    print(f"memory ratio {found['headway']['mib'] / found['torchaudio']['mib']:.3f}")


if __name__ == "__main__":
    main()
