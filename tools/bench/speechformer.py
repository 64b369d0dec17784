"""Memory and CPU time of a training step over every frame: the parts of a Speechformer beside plain ones.

    python tools/bench/speechformer.py [--batch 4] [--frames 2000] [--run 10]

Each case runs in a process of its own. Peak: resident memory of a forward and a backward pass, more than
before.
Runs of frames with one answer are as long as ``--run`` says: weights that learned nothing make none.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from functools import partial

import torch
from torch import Tensor

from headway.core.layout import Layout
from headway.core.mixers import ConvAttention, SelfAttention
from headway.core.resample.matching import Groups
from headway.speech.layers import CTCCompression, GatedStem
from headway.speech.models import Speechformer
from headway.speech.tokenizers import TextTokenizer

CASES = ("ConvAttention, compression", "attention, compression", "attention, no compression")


class Runs(CTCCompression):
    """Hears the same for as long as it is told."""

    run = 10

    def groups(self, scores: Tensor, layout: Layout) -> Groups:
        """Returns runs of one length."""
        index = (torch.arange(scores.shape[1]) // self.run).expand(len(scores), -1)
        tokens = int(index[0, -1]) + 1
        lengths = torch.full((len(scores),), tokens)
        return Groups(index=index, reads=index, tokens=tokens, lengths=lengths)


def peak() -> float:
    """Returns the most resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(case: str, batch: int, frames: int) -> None:
    """Prints what one training step takes."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Speechformer(
        dim=256,
        lower_depth=8,
        depth=4,
        heads=4,
        stem=partial(GatedStem, features=80),
        lower_mixer=ConvAttention if case.startswith("Conv") else SelfAttention,
        compression=partial(Runs, warmup=10**9 if case.endswith("no compression") else 0),
        tokenizer=TextTokenizer(vocabulary=("<blank>", *"abc")),
    )
    before = peak()
    inputs = torch.randn(batch, frames, 80)
    begin = time.process_time()
    encoded = model(inputs)
    (encoded.encoded.square().mean() + encoded.guesses.square().mean()).backward()
    seconds = time.process_time() - begin
    print(f"{case:28} {peak() - before:6.0f} MiB {seconds:6.1f} CPU s")


def main() -> None:
    """Runs each case by itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--run", type=int, default=10)
    parser.add_argument("--case", choices=CASES)
    given = parser.parse_args()
    Runs.run = given.run
    if given.case:
        measure(given.case, given.batch, given.frames)
        return
    # Every buffer of a MiB by itself, as in tools/bench/transducer.py.
    quiet = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20), "OMP_NUM_THREADS": "1"}
    for case in CASES:
        subprocess.run([sys.executable, *sys.argv, "--case", case], env=quiet, check=True)


if __name__ == "__main__":
    main()
