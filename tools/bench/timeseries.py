"""Times forecasters on the CPU against neuralforecast's, with its weights, at equal work.

One thread, process CPU time, the contestants in turn, the least time of each; a ratio above one means that
headway is faster. A training step is forward, squared error, backward and Adam (PyTorch's fused one for both,
clipping and logging left out), with the peer's dropout in both; a prediction is one forward pass without
gradients. Outputs without dropout are compared before anything is timed. neuralforecast
trains Informer, Autoformer and PatchTST on one series at a time, so all windows have one series there.

    python tools/bench/timeseries.py [--only itransformer-7 informer] [--rounds 5]
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.weights import from_pretrained

HORIZON, LOOKBACK = 96, 96


@dataclass(frozen=True)
class Pair:
    """A model of the peer and how much work it gets.

    Args:
        name: Class in neuralforecast.models.
        windows: Of a batch.
        series: Of a window.
        train: Least ratio of a training step that is asked for.
        options: Of the peer.
        exact: Options under which it draws nothing, for the comparison of outputs.
    """

    name: str
    windows: int
    series: int
    train: float
    options: dict[str, Any] = field(default_factory=dict)
    exact: dict[str, Any] = field(default_factory=dict)


PAIRS = {
    "itransformer-7": Pair("iTransformer", 32, 7, 1.3, {"hidden_size": 128, "d_ff": 128}),
    "itransformer-7-wide": Pair("iTransformer", 32, 7, 1.3, {"hidden_size": 512, "d_ff": 512}),
    "itransformer-321": Pair("iTransformer", 16, 321, 1.5, {"hidden_size": 128, "d_ff": 128}),
    "informer": Pair("Informer", 32, 1, 3.0, {"hidden_size": 128}, {"factor": 100}),
    "autoformer": Pair("Autoformer", 32, 1, 3.0, {"hidden_size": 128}),
    "patchtst": Pair("PatchTST", 32, 1, 1.0, {"hidden_size": 128, "n_heads": 16}),
    "dlinear": Pair("DLinear", 32, 1, 1.0),
    "nlinear": Pair("NLinear", 32, 1, 1.0),
}


def models(pair: Pair, **options: Any) -> tuple[nn.Module, nn.Module]:
    """The model of headway and the peer's, with the same weights and dropout."""
    import neuralforecast.models

    sizes: dict[str, Any] = {"h": HORIZON, "input_size": LOOKBACK, "max_steps": 1}
    if pair.series > 1 or pair.name == "iTransformer":
        sizes["n_series"] = pair.series
    torch.manual_seed(0)
    peer = getattr(neuralforecast.models, pair.name)(**sizes, **pair.options, **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{pair.name}_0.ckpt"
        peer.save(str(path))
        return from_pretrained(path), peer


def least(functions: Sequence[Callable[[], object]], rounds: int, repeats: int) -> list[float]:
    """The least CPU time of one call of each function in seconds."""
    best = [float("inf")] * len(functions)
    for number in range(rounds + 1):
        for place, function in enumerate(functions):
            start = time.process_time()
            for _ in range(repeats):
                function()
            if number:
                best[place] = min(best[place], (time.process_time() - start) / repeats)
    return best


def steps(
    model: nn.Module, forecast: Callable[[Tensor], Tensor], x: Tensor, y: Tensor
) -> tuple[Callable[[], float], Callable[[], Tensor]]:
    """A training step and a prediction."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def train() -> float:
        model.train()
        loss = (forecast(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    def predict() -> Tensor:
        model.eval()
        with torch.no_grad():
            return forecast(x)

    return train, predict


def difference(pair: Pair, x: Tensor) -> float:
    """The largest difference of the two models' outputs beside the largest output."""
    ours, theirs = (model.eval() for model in models(pair, **pair.exact))
    with torch.no_grad():
        first, second = ours(x), theirs(batch(x))
    return float((first - second).abs().max() / second.abs().max())


def batch(x: Tensor) -> dict[str, Tensor | None]:
    """What the peer's models are called with."""
    return {"insample_y": x, "futr_exog": None}


def measure(name: str, pair: Pair, rounds: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(pair.windows, LOOKBACK, pair.series).cumsum(dim=1)
    y = torch.randn(pair.windows, HORIZON, pair.series)
    apart = difference(pair, x)
    ours, theirs = models(pair)
    train, predict = steps(ours, ours, x, y)
    train_peer, predict_peer = steps(theirs, lambda x: theirs(batch(x)), x, y)
    repeats = max(1, int(0.2 / max(least([train_peer], 1, 1)[0], 1e-4)))
    found = least([train, train_peer], rounds, repeats)
    told = f">= {pair.train}"
    print(
        f"{name:<22} train   {found[0] * 1e3:>9.2f}ms {found[1] * 1e3:>9.2f}ms "
        f"{found[1] / found[0]:>6.2f} {told:<7} outputs differ by {apart:.1e}",
        flush=True,
    )
    found = least([predict, predict_peer], rounds, 2 * repeats)
    print(
        f"{name:<22} predict {found[0] * 1e3:>9.2f}ms {found[1] * 1e3:>9.2f}ms "
        f"{found[1] / found[0]:>6.2f} >= 1.0",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    print(f"{'model':<22} {'':<7} {'headway':>11} {'peer':>11} {'ratio':>6} target")
    for name in arguments.only:
        measure(name, PAIRS[name], arguments.rounds)


if __name__ == "__main__":
    main()
