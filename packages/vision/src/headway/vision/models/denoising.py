"""Objects with noise among the queries of training, for which no matching is needed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module
from headway.vision.models.boxes import centred, corners

# How far from 0 and 1 the argument of a logit is kept.
EPS = 1e-5


class NoisyQueries(NamedTuple):
    """Queries made of objects.

    Args:
        tokens: What they say of the class, (B, N, C).
        boxes: Their boxes before the sigmoid, (B, N, 4).
        mask: True where a query, noisy ones first, may see another, (N + Q, N + Q).
        objects: Of each picture the numbers of its queries that shall find an object, group by group.
        groups: How many times each object is there.
    """

    tokens: Tensor
    boxes: Tensor
    mask: Tensor
    objects: list[Tensor]
    groups: int


class ContrastiveDenoising(Module):
    """Queries that begin near an object and shall find it, and others somewhat farther that shall find none.

    Args:
        classes: Classes of objects.
        dim: Channels of a query.
        queries: About how many there are near objects: as many groups as make this number, at least one.
        label_noise: Share of the labels that are drawn anew, times two.
        box_noise: How far edges move, as a share of half the box: up to once near, up to twice far ones.

    Raises:
        UserError: If a number is outside its range.

    Source:
        Zhang et al. 2022 (DINO), https://arxiv.org/abs/2203.03605, section 3.3.
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        queries: int = 100,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
    ) -> None:
        super().__init__()
        if queries < 1 or not 0 <= label_noise <= 2 or box_noise < 0:
            raise UserError(
                f"queries {queries} must be at least 1, label_noise {label_noise} in 0..2 and box_noise "
                f"{box_noise} not negative"
            )
        self.queries, self.label_noise, self.box_noise = queries, label_noise, box_noise
        # One row more stands for no object, in pictures with fewer objects than others.
        self.embedding = nn.Embedding(classes + 1, dim, padding_idx=classes)
        nn.init.xavier_uniform_(self.embedding.weight)
        with torch.no_grad():
            self.embedding.weight[classes] = 0

    def forward(
        self, boxes: Sequence[Tensor], labels: Sequence[Tensor], queries: int
    ) -> NoisyQueries | None:
        """Makes the queries; draws from torch's generator.

        Args:
            boxes: Of each picture, (N, 4), centre and size in 0..1.
            labels: Of each picture, (N,).
            queries: How many other queries there are, Q.

        Returns:
            The queries, or None where no picture has an object.
        """
        counts = [len(one) for one in labels]
        most = max(counts)
        if not most:
            return None
        groups = max(1, self.queries // most)
        device, classes = self.embedding.weight.device, self.embedding.num_embeddings - 1
        label = torch.full((len(counts), most), classes, device=device)
        box = torch.zeros(len(counts), most, 4, device=device)
        real = torch.zeros(len(counts), most, dtype=torch.bool, device=device)
        for place, count in enumerate(counts):
            label[place, :count], box[place, :count] = labels[place], boxes[place].to(box)
            real[place, :count] = True
        # Each group has every object near itself, and then every object far from itself.
        label, real = (one.tile(1, 2 * groups) for one in (label, real))
        box = box.tile(1, 2 * groups, 1)
        far = torch.zeros(2 * most, dtype=torch.bool, device=device)
        far[most:] = True
        far = far.tile(groups)
        if self.label_noise:
            anew = torch.rand(label.shape, device=device) < self.label_noise * 0.5
            drawn = torch.randint(classes, label.shape, device=device)
            label = torch.where(anew & real, drawn, label)
        if self.box_noise:
            box = self._moved(box, far)
        near = [(~far & row).nonzero()[:, 0] for row in real]
        return NoisyQueries(
            self.embedding(label),
            logit(box),
            _sight(2 * most, groups, queries, device),
            near,
            groups,
        )

    def _moved(self, box: Tensor, far: Tensor) -> Tensor:
        """Moves each edge of each box by its own share of half the box."""
        reach = box[..., 2:].tile(2) * 0.5 * self.box_noise
        sign = torch.randint(0, 2, box.shape, device=box.device) * 2.0 - 1.0
        share = torch.rand(box.shape, device=box.device) + far[:, None]
        return centred((corners(box) + sign * share * reach).clamp(0, 1))


def logit(shares: Tensor) -> Tensor:
    """Returns what the sigmoid makes shares of; not infinite at 0 and 1."""
    shares = shares.clamp(0, 1)
    return (shares.clamp_min(EPS) / (1 - shares).clamp_min(EPS)).log()


def _sight(width: int, groups: int, queries: int, device: torch.device) -> Tensor:
    """Who may see whom: a group itself and the queries that know no object, these each other alone."""
    noisy = width * groups
    group = torch.arange(noisy + queries, device=device) // width
    group[noisy:] = groups
    return (group[:, None] == group) | (group == groups)
