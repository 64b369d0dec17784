"""Where points gather."""

import torch
from torch import Tensor

from headway.core.errors import UserError


def k_means(points: Tensor, number: int, *, seed: int = 0, rounds: int = 50) -> Tensor:
    """Returns the middles of clusters, the same for the same points and seed.

    Args:
        points: (N, dim); computed in double precision on the CPU.
        number: Clusters. Where there are fewer different points, some middles are alike.
        seed: Of the first middles.
        rounds: Of Lloyd's algorithm, at most; it stops where nothing moves.

    Shape:
        Output: (number, dim), of the type of the points.

    Raises:
        UserError: If there are no points.

    Source:
        Arthur and Vassilvitskii 2007 (k-means++),
        https://theory.stanford.edu/~sergei/papers/kMeansPP-soda.pdf.
    """
    if not len(points) or number < 1:
        raise UserError(f"{number} clusters of {len(points)} points; at least 1 of each is needed")
    x = points.detach().double().cpu()
    middles = _first(x, number, torch.Generator().manual_seed(seed))
    for _ in range(rounds):
        nearest = torch.cdist(x, middles).argmin(dim=1)
        counts = torch.bincount(nearest, minlength=number)[:, None]
        sums = torch.zeros_like(middles).index_add_(0, nearest, x)
        moved = torch.where(counts > 0, sums / counts.clamp_min(1), middles)
        if torch.equal(moved, middles):
            break
        middles = moved
    return middles.to(points)


def _first(x: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Draws points far from each other: by the square of the distance to those drawn before."""
    chosen = [x[torch.randint(len(x), (), generator=generator)]]
    far = torch.full((len(x),), float("inf"), dtype=x.dtype)
    for _ in range(number - 1):
        far = torch.minimum(far, (x - chosen[-1]).square().sum(dim=1))
        # Where all points are taken, any of them.
        weights = far if bool(far.sum() > 0) else torch.ones_like(far)
        chosen.append(x[torch.multinomial(weights, 1, generator=generator)[0]])
    return torch.stack(chosen)
