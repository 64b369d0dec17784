"""Blocks of the published PDE-Transformer with separate channels: cosine attention, gates that start at 1."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.linear import FusedLinear
from headway.core.mixers.base import check_heads
from headway.core.module import Module
from headway.timeseries.layers.torch_norm import TorchLayerNorm

HIGHEST = math.log(100)  # of the logarithm of the scale, as in Swin v2


class CosineAttention(Module):
    """Attention by the angle between queries and keys, with a learned scale and no projection behind it.

    Args:
        dim: Channels of a token.
        heads: Heads.

    Shape:
        x: (B, N, dim). bias: (heads, N, N). Output: (B, N, dim).

    Source:
        Liu et al. 2022 (Swin v2), https://arxiv.org/abs/2111.09883, section 3.3.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, None)
        self.qkv = FusedLinear(dim, {"q": dim, "k": dim, "v": dim}, bias=False)
        self.scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attends."""
        query, key, value = (
            part.unflatten(2, (-1, self.head_dim)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        query = F.normalize(query, dim=-1) * self.scale.clamp(max=HIGHEST).exp()
        out = F.scaled_dot_product_attention(
            query, F.normalize(key, dim=-1), value, attn_mask=bias, scale=1.0
        )
        return out.transpose(1, 2).flatten(2)


class PlaceBias(Module):
    """A bias for each pair of positions of a window, from a small network of their logarithmic distance.

    Args:
        heads: Heads.
        window: Side of a window.
        hidden: Channels of the network.

    Shape:
        Output: (heads, window ** 2, window ** 2).

    Source:
        Liu et al. 2022 (Swin v2), https://arxiv.org/abs/2111.09883, eq. 4.
    """

    def __init__(self, heads: int, window: int, *, hidden: int = 512) -> None:
        super().__init__()
        self.window = window
        self.network = nn.Sequential(
            nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, heads, bias=False)
        )

    def forward(self) -> Tensor:
        """Returns the biases."""
        weight = next(self.network.parameters())
        side = torch.arange(self.window, device=weight.device)
        position = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1).flatten(0, 1)
        steps = (position[:, None] - position[None]).to(weight.dtype)
        shares = 8 * steps / max(1, self.window - 1)
        logarithms = shares.sign() * (shares.abs() + 1).log2() / math.log2(8)
        return 16 * self.network(logarithms).sigmoid().permute(2, 0, 1)


class ModulatedBranch(Module):
    """``x + (1 + gate) * f(norm(x) * (1 + gain) + shift)``; the condition chooses gain, shift and gate.

    All three start at 0, so the branch starts open.

    Args:
        dim: Channels of a token.
        function: What stands on the branch.

    Shape:
        x: (B, N, dim). chosen: (B, 3 * dim), shift, gain and gate. Output: the same as x.
    """

    def __init__(self, dim: int, function: nn.Module) -> None:
        super().__init__()
        self.norm = TorchLayerNorm(dim)
        self.function = function

    def forward(self, x: Tensor, chosen: Tensor, *others: Tensor) -> Tensor:
        """Adds the branch."""
        shift, gain, gate = chosen[:, None].chunk(3, dim=2)
        return x + (1 + gate) * self.function(self.norm(x) * (1 + gain) + shift, *others)


class CosineFieldBlock(Module):
    """Windows within each field, attention among the fields at each position, a feed-forward.

    The grid goes round: what leaves it on one side comes in on the other.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of a window.
        shift: By how many positions the windows are moved.
        mlp_ratio: Hidden width of the feed-forward as a multiple of ``dim``.

    Shape:
        x: (B, C, H, W, dim). condition: (B, C, dim). Output: the same as x.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717, and its code, without carrier tokens, as all
        of its configurations have it.
    """

    def __init__(
        self, dim: int, heads: int, *, window: int, shift: int, mlp_ratio: float = 4.0
    ) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 9 * dim))
        for parameter in self.modulation.parameters():
            nn.init.zeros_(parameter)
        self.bias = PlaceBias(heads, window)
        self.places = ModulatedBranch(dim, CosineAttention(dim, heads))
        self.fields = ModulatedBranch(dim, CosineAttention(dim, heads))
        hidden = int(mlp_ratio * dim)
        network = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.feedforward = ModulatedBranch(dim, network)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Mixes positions, then fields, and transforms."""
        items, fields, height, width, _ = x.shape
        chosen = self.modulation(condition).chunk(3, dim=2)
        moved = x.roll((-self.shift, -self.shift), dims=(2, 3))
        rows, columns = height // self.window, width // self.window
        # (B, C, rows, window, columns, window, dim) to windows of each field.
        cut = moved.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).transpose(3, 4)
        tokens = cut.flatten(4, 5).flatten(0, 3)
        own = chosen[0].flatten(0, 1).repeat_interleave(rows * columns, dim=0)
        tokens = self.places(tokens, own, self.bias())
        joined = tokens.unflatten(0, (items, fields, rows, columns)).unflatten(4, (self.window, -1))
        x = (
            joined.transpose(3, 4)
            .flatten(4, 5)
            .flatten(2, 3)
            .roll((self.shift, self.shift), (2, 3))
        )
        across = x.flatten(2, 3).transpose(1, 2)  # (B, positions, C, dim)
        positions = across.shape[1]
        across = self._across(across.flatten(0, 1), chosen[1].repeat_interleave(positions, dim=0))
        x = across.unflatten(0, (items, positions)).transpose(1, 2)
        flat = self.feedforward(x.flatten(0, 1), chosen[2].flatten(0, 1))
        return flat.unflatten(0, (items, fields)).unflatten(2, (height, width))

    def _across(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Attention among the fields, each modulated by what is known of it."""
        branch = self.fields
        shift, gain, gate = chosen.chunk(3, dim=2)
        return x + (1 + gate) * branch.function(branch.norm(x) * (1 + gain) + shift)
