"""Time and memory of each further token: linear attention (GP-MoLFormer) beside softmax attention (Llama).

Random weights, one thread, process CPU time; what a cache holds is counted in bytes. A state of fixed size
should cost the same at every length.

    python tools/bench/linear_decoding.py [--batch-size 8] [--length 4096] [--dim 256] [--depth 3]
"""

import argparse
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from headway.core.cache import Cache
from headway.core.language import DecoderLanguageModel
from headway.molecules.models import GPMoLFormer, Llama

CHUNK = 256


def tensors(cache: Cache) -> Iterator[Tensor]:
    """Yields what a cache keeps."""
    for value in vars(cache).values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, Cache):
            yield from tensors(value)
        elif isinstance(value, dict):
            for member in value.values():
                yield from tensors(member)


def held(cache: Cache, length: int, most: int) -> int:
    """Returns the bytes filled after ``length`` tokens: buffers of all of them count by their share."""
    total = 0
    for one in tensors(cache):
        share = length / most if one.ndim == 4 and one.shape[2] == most else 1.0
        total += int(one.numel() * one.element_size() * share)
    return total


@torch.no_grad()
def measure(model: DecoderLanguageModel, batch: int, length: int) -> None:
    """Prints microseconds per token and bytes of each stretch of a text."""
    cache = model.init_cache(batch, length)
    token = torch.randint(len(model.tokenizer), (batch, 1))
    for first in range(0, length, CHUNK):
        start = time.process_time()
        for _ in range(CHUNK):
            model(token, cache=cache)
        seconds = (time.process_time() - start) / CHUNK / batch
        size = held(cache, first + CHUNK, length) / batch / 1024
        print(
            f"  {first + CHUNK:5d} tokens: {seconds * 1e6:7.1f} us a token, {size:8.1f} KiB a row"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--length", type=int, default=4096, help=f"a multiple of {CHUNK}")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--depth", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for kind in (GPMoLFormer, Llama):
        torch.manual_seed(0)
        model = kind(dim=args.dim, depth=args.depth, heads=8, max_length=args.length).eval()
        print(f"{kind.__name__}, {sum(p.numel() for p in model.parameters()):,} parameters")
        measure(model, args.batch_size, args.length)


if __name__ == "__main__":
    main()
