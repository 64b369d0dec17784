"""Attention against least squares on autoregressive series, in context.

A series follows AR(p). Its context is written as a Hankel matrix: a column for each moment holds the p values
before it and its own; the last column, the query, holds the last p values and a 0, in whose place the next
value is asked for. Contestants: the true coefficients, least squares over the training series, least squares
within the context of each series, linear self-attention at its optimum, and encoders of headway with softmax
and with linear attention, trained by Adam. Then each forecasts many steps by reading its own answers.

    python tools/studies/ar_in_context.py --out docs/studies

Source: Zhou et al. 2025, https://arxiv.org/abs/2510.09776.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from headway.core.blocks.block import MixerFactory
from headway.core.feedforward import MLP
from headway.core.mixers import LinearAttention, SelfAttention
from headway.core.stacks import Encoder

Forecast = Callable[[Tensor], Tensor]
"""Contexts (M, n) to next values (M,)."""

ORDER = 3
MOST = 1000.0  # of what is tabled; NaN is above it, too
FIXED = torch.tensor(
    [0.35, 0.25, 0.3], dtype=torch.float64
)  # of the last value first; a slow decay


def spectral_radius(coefficients: Tensor) -> float:
    """Returns the largest root of a process: below 1 it is stable, and forecasts fade with its powers."""
    return float(torch.linalg.eigvals(companion(coefficients)).abs().max())


def companion(coefficients: Tensor) -> Tensor:
    """Returns the matrix that moves (x_t, ..., x_{t-p+1}) one step, (p, p)."""
    order = len(coefficients)
    shift = torch.eye(order, dtype=coefficients.dtype)[: order - 1]
    return torch.cat([coefficients[None], shift])


def stable_coefficients(number: int, order: int, *, seed: int) -> Tensor:
    """Returns coefficients of stable processes, (number, order), by partial autocorrelations in (-0.9, 0.9).

    Source:
        Barndorff-Nielsen and Schou 1973, https://doi.org/10.1016/0047-259X(73)90030-4.
    """
    random = torch.Generator().manual_seed(seed)
    partial_ = 1.8 * torch.rand(number, order, generator=random, dtype=torch.float64) - 0.9
    found = partial_[:, :1]
    for place in range(1, order):
        own = partial_[:, place : place + 1]
        found = torch.cat([found - own * found.flip(1), own], dim=1)
    return found


def simulate(coefficients: Tensor, length: int, *, seed: int, burn: int = 300) -> Tensor:
    """Returns one series for each row of coefficients, driven by noise of deviation 1, (M, length)."""
    number, order = coefficients.shape
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(number, length + burn, generator=random, dtype=torch.float64)
    x = torch.zeros(number, order + length + burn, dtype=torch.float64)
    turned = coefficients.flip(1)
    for moment in range(length + burn):
        past = x[:, moment : moment + order]
        x[:, order + moment] = (past * turned).sum(dim=1) + noise[:, moment]
    return x[:, -length:]


def hankel(context: Tensor, order: int) -> Tensor:
    """Returns the columns as rows: windows of ``order + 1`` values, then the query with a 0 at its end.

    Shape:
        context: (M, n). Output: (M, n - order + 1, order + 1).
    """
    query = torch.cat([context[:, -order:], torch.zeros_like(context[:, :1])], dim=1)
    return torch.cat([context.unfold(1, order + 1, 1), query[:, None]], dim=1)


def cubic_features(context: Tensor, order: int) -> Tensor:
    """Returns what one layer of linear self-attention is a linear function of: ``G[a, b] q[c]``.

    G is the mean of products of the columns without the query, q the query.

    Shape:
        context: (M, n). Output: (M, order + 1, order + 1, order).
    """
    rows = hankel(context, order)
    known, query = rows[:, :-1], rows[:, -1, :-1]
    gram = known.transpose(1, 2) @ known / known.shape[1]
    return gram[..., None] * query[:, None, None]


def least_squares(features: Tensor, targets: Tensor) -> Tensor:
    """Returns the weights of the smallest squared error; of several the smallest."""
    scale = features.square().mean(dim=0).sqrt().clamp_min(1e-12)
    return (
        torch.linalg.lstsq(features / scale, targets[:, None], driver="gelsd").solution[:, 0]
        / scale
    )


def fit_linear(series: Tensor, order: int) -> Forecast:
    """Fits one set of coefficients to the next values of all series."""
    weights = least_squares(series[:, -order - 1 : -1], series[:, -1])
    return lambda context: context[:, -order:] @ weights


def in_context_least_squares(context: Tensor, order: int, ridge: float = 0.1) -> Tensor:
    """Returns next values by coefficients that are fitted to each context by itself."""
    rows = context.unfold(1, order + 1, 1)
    x, y = rows[..., :-1], rows[..., -1:]
    gram = x.transpose(1, 2) @ x + ridge * torch.eye(order, dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.transpose(1, 2) @ y)[..., 0]
    return (context[:, -order:] * weights).sum(dim=1)


def fit_linear_attention(series: Tensor, order: int, *, rounds: int = 30) -> Forecast:
    """Fits one layer of linear self-attention, ``v . G B q``, by alternating exact least squares.

    Args:
        series: The last value is what is asked for.
        order: p.
        rounds: Alternations.
    """
    features, targets = cubic_features(series[:, :-1], order), series[:, -1]
    value = torch.zeros(order + 1, dtype=series.dtype)
    value[-1] = 1.0  # it begins as the gradient step of a regression
    pairs = torch.zeros(order + 1, order, dtype=series.dtype)
    for _ in range(rounds):
        seen = torch.einsum("mabc,a->mbc", features, value).flatten(1)
        pairs = least_squares(seen, targets).view_as(pairs)
        value = least_squares(torch.einsum("mabc,bc->ma", features, pairs), targets)
    return lambda context: torch.einsum(
        "mabc,a,bc->m", cubic_features(context, order), value, pairs
    )


def fit_cubic(series: Tensor, order: int) -> Forecast:
    """Fits any linear function of the cubic features: no layer of linear self-attention does better."""
    weights = least_squares(cubic_features(series[:, :-1], order).flatten(1), series[:, -1])
    return lambda context: cubic_features(context, order).flatten(1) @ weights


class Probe(nn.Module):
    """An encoder over the columns of the Hankel matrix; the query's token answers.

    Args:
        order: p.
        mixer: Builds the mixers.
        dim: Channels of a token.
        depth: Blocks.
        heads: Heads of the mixers.
    """

    def __init__(
        self,
        order: int,
        mixer: MixerFactory,
        *,
        dim: int = 32,
        depth: int = 2,
        heads: int = 2,
    ) -> None:
        super().__init__()
        self.order = order
        self.embedding = nn.Linear(order + 2, dim)  # the last number says which column is the query
        self.encoder = Encoder(
            dim, depth, heads, mixer=mixer, feedforward=partial(MLP, hidden_dim=2 * dim)
        )
        self.head = nn.Linear(dim, 1)

    def forward(self, context: Tensor) -> Tensor:
        """Returns next values."""
        rows = hankel(context.float(), self.order)
        asked = torch.zeros_like(rows[..., :1])
        asked[:, -1] = 1.0
        tokens, _ = self.encoder(self.embedding(torch.cat([rows, asked], dim=2)))
        return self.head(tokens[:, -1])[:, 0].to(context.dtype)


def train_probe(series: Tensor, order: int, mixer: MixerFactory, *, steps: int) -> Forecast:
    """Trains a probe on the last value of the series."""
    torch.manual_seed(0)
    model = Probe(order, mixer)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        batch = series[torch.randint(0, len(series), (128,))]
        loss = (model(batch[:, :-1]) - batch[:, -1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return torch.no_grad()(model)


def rollout(forecast: Forecast, context: Tensor, steps: int) -> Tensor:
    """Returns forecasts that read those before them, the context moving along, (M, steps)."""
    length, found = context.shape[1], []
    for _ in range(steps):
        following = forecast(context)
        found.append(following)
        context = torch.cat([context, following[:, None]], dim=1)[:, -length:]
    return torch.stack(found, dim=1)


def excess(forecast: Forecast, series: Tensor, truth: Forecast) -> float:
    """Returns the mean squared distance to the best forecast: the error above that of the noise."""
    return float((forecast(series[:, :-1]) - truth(series[:, :-1])).square().mean())


def contestants(series: Tensor, order: int, steps: int) -> dict[str, Forecast]:
    """Fits everything that is fitted to training series."""
    return {
        "least squares, all series": fit_linear(series, order),
        "least squares, own context": partial(in_context_least_squares, order=order),
        "linear self-attention, optimum": fit_linear_attention(series, order),
        "any function of its features": fit_cubic(series, order),
        "softmax attention, 2 blocks": train_probe(series, order, SelfAttention, steps=steps),
        "linear attention, 2 blocks": train_probe(series, order, LinearAttention, steps=steps),
    }


def table(rows: Mapping[str, Sequence[float]], head: Sequence[object]) -> str:
    """Returns a table in Markdown, four digits; what has exploded is said, not numbered."""
    lines = ["| | " + " | ".join(map(str, head)) + " |", "|---" * (len(head) + 1) + "|"]
    for name, values in rows.items():
        cells = [f"{value:.4f}" if abs(value) < MOST else "> 1000" for value in values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    moments: Sequence[int],
    path: Path,
) -> None:
    """Draws error and size of the forecasts at some steps; what explodes leaves the picture.

    Args:
        curves: Contestant -> errors and sizes, one for each moment.
        moments: Steps ahead.
        path: Of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (errors, sizes) in curves.items():
        left.plot(moments, [max(error, 1e-5) for error in errors], marker=".", label=name)
        right.plot(moments, sizes, marker=".", label=name)
    left.set(
        xlabel="steps ahead",
        ylabel="excess squared error / variance",
        yscale="log",
        ylim=(1e-4, 10),
    )
    right.set(
        xlabel="steps ahead", ylabel="deviation / that of the series", yscale="log", ylim=(0.05, 3)
    )
    right.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Runs the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for table and picture")
    parser.add_argument(
        "--series", type=int, default=20_000, help="for training, and as many for the test"
    )
    parser.add_argument("--steps", type=int, default=600, help="of training an encoder")
    parser.add_argument("--contexts", type=int, nargs="+", default=[12, 24, 48, 96])
    parser.add_argument("--ahead", type=int, default=40, help="steps of the rollout")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, pieces = time.process_time(), []

    def truth(context: Tensor) -> Tensor:
        return context[:, -ORDER:] @ FIXED.flip(0)

    fixed = FIXED.expand(options.series, -1)
    rows: dict[str, list[float]] = {}
    found: dict[str, Forecast] = {}
    for length in options.contexts:
        train, test = (simulate(fixed, length + 1, seed=seed) for seed in (0, 1))
        found = contestants(train, ORDER, options.steps)
        for name, forecast in found.items():
            rows.setdefault(name, []).append(excess(forecast, test, truth))
    pieces.append("## One process\n\n" + table(rows, [f"n = {n}" for n in options.contexts]))

    length, ahead = options.contexts[-1], options.ahead
    series = simulate(fixed, length + ahead, seed=2)[:2000]
    variance = float(series.var())
    best = rollout(truth, series[:, :length], ahead)
    curves = {}
    for name, forecast in {"true coefficients": truth, **found}.items():
        made = rollout(forecast, series[:, :length], ahead)
        errors = (made - best).square().mean(dim=0) / variance
        curves[name] = (errors.tolist(), (made.std(dim=0) / variance**0.5).tolist())
    moments = [m for m in (1, 5, 10, 20, 40) if m <= ahead]
    sizes = {name: [size[m - 1] for m in moments] for name, (_, size) in curves.items()}
    errors = {name: [error[m - 1] for m in moments] for name, (error, _) in curves.items()}
    chosen = {name: (errors[name], sizes[name]) for name in curves}
    picture(chosen, moments, options.out / "ar_in_context.png")
    pieces.append("## Deviation of the forecasts\n\n" + table(sizes, moments))
    pieces.append("## Excess error of the forecasts\n\n" + table(errors, moments))

    length = options.contexts[-1]
    coefficients = [stable_coefficients(options.series, ORDER, seed=seed) for seed in (3, 4)]
    train, test = (simulate(c, length + 1, seed=5 + k) for k, c in enumerate(coefficients))
    # Each series in units of its own context, as a forecaster would see it.
    train, test = (part / part[:, :-1].std(dim=1, keepdim=True) for part in (train, test))
    own = coefficients[1].flip(1)
    expected = partial(lambda context, own: (context[:, -ORDER:] * own).sum(dim=1), own=own)
    rows = {
        name: [
            excess(forecast, test, expected),
            float((forecast(test[:, :-1]) - test[:, -1]).square().mean()),
        ]
        for name, forecast in {
            "true coefficients": expected,
            **contestants(train, ORDER, options.steps),
        }.items()
    }
    pieces.append(
        f"## A process for each series, n = {length}\n\n" + table(rows, ["excess", "error"])
    )
    pieces.append(
        f"Spectral radius of the one process: {spectral_radius(FIXED):.4f}; variance {variance:.3f}. "
        f"{(time.process_time() - began) / 60:.1f} CPU minutes."
    )
    print("\n\n".join(pieces))
    (options.out / "ar_in_context.table.md").write_text("\n\n".join(pieces) + "\n")


if __name__ == "__main__":
    main()
