"""Can a small recurrent network tell generated windows from real ones?"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError


class Discriminator(nn.Module):
    """A gated recurrent unit of half as many channels as there are series, and a logit of its last state.

    Shape:
        x: (B, N, features). Output: (B,), above 0 for real.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        width = max(1, features // 2)
        self.recurrent = nn.GRU(features, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return self.head(self.recurrent(x)[1][0])[:, 0]


def discriminative_score(
    real: Tensor, generated: Tensor, *, steps: int = 2000, batch: int = 128, seed: int = 0
) -> float:
    """Returns how far the accuracy of a trained discriminator is from guessing, 0 (good) to 0.5.

    Four fifths of both kinds train it, the rest tests it. It is published for windows scaled to 0 to 1.

    Args:
        real: Windows.
        generated: Windows, of the same shape but for their number.
        steps: Of the training, with Adam.
        batch: Windows of each kind in a step.
        seed: Of the division, the network and the batches.

    Shape:
        real, generated: (M, N, features).

    Raises:
        UserError: If the shapes differ, or there are fewer than 5 windows.

    Source:
        Yoon et al. 2019 (TimeGAN), https://papers.nips.cc/paper/8789-time-series-generative-adversarial-networks,
        and its code.
    """
    if real.shape[1:] != generated.shape[1:] or min(len(real), len(generated)) < 5:
        raise UserError(
            f"real windows {tuple(real.shape)} and generated ones {tuple(generated.shape)} cannot be "
            "compared; give at least 5 of each, of the same length and number of series"
        )
    random = torch.Generator().manual_seed(seed)
    # A trainer may test in inference mode, in which nothing can be trained.
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = Discriminator(real.shape[2])
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        kinds = [
            _divided(kind.detach().cpu().float().clone(), random) for kind in (real, generated)
        ]
        labels = torch.cat([torch.ones(batch), torch.zeros(batch)])
        for _ in range(steps):
            drawn = [train[_drawn(len(train), batch, random)] for train, _ in kinds]
            logits = network(torch.cat(drawn))
            # The sum of the two means, as published.
            loss = 2 * F.binary_cross_entropy_with_logits(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = [network(kinds[0][1]) > 0, network(kinds[1][1]) <= 0]
    return abs(float(torch.cat(right).float().mean()) - 0.5)


def _divided(windows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(windows), generator=random)
    border = int(0.8 * len(windows))
    return windows[order[:border]], windows[order[border:]]


def _drawn(number: int, batch: int, random: torch.Generator) -> Tensor:
    """Returns the places of a batch; with repeats only where there are too few."""
    order = torch.randperm(number, generator=random)
    return order.repeat(-(-batch // number))[:batch]
