"""PDE-Transformer with separate channels, as its authors wrote it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.systems import system
from headway.timeseries.fields.layers.cosine_fields import CosineFieldBlock
from headway.timeseries.fields.models.simulator import Simulator


class FieldStage(Module):
    """Blocks whose windows are shifted in turns.

    Args:
        dim: Channels of a token.
        depth: Blocks.
        heads: Heads.
        window: Side of a window.

    Shape:
        x: (B, C, dim, H, W). condition: (B, C, dim). Output: the same as x.
    """

    def __init__(self, dim: int, depth: int, heads: int, window: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            CosineFieldBlock(dim, heads, window=window, shift=place % 2 * (window // 2))
            for place in range(depth)
        )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Runs the blocks."""
        x = x.permute(0, 1, 3, 4, 2)
        for block in self.blocks:
            x = block(x, condition)
        return x.permute(0, 1, 4, 2, 3)


@system(
    id=414,
    name="PDE-Transformer",
    paper="https://arxiv.org/abs/2505.24717",
    claim="the published network with separate channels: fields in any number and order, told apart by their "
    "kind, joined by attention at each position of a U of shifted windows",
    test="packages/timeseries/tests/fields/models/test_pde_transformer_sc.py",
)
class PDETransformerSC(Simulator):
    """The authors' network for separate channels, on a grid that goes round.

    It equals their code with the settings of its supervised configurations. That code multiplies what is
    known of the parameters, the time and the time step by 0, so there is none of it here, and what it adds
    for a diffusion or a task is one constant without them. ``PDETransformer`` is told such numbers.

    Args:
        kinds: Kinds of fields that are known (velocity along an axis, density ...).
        equations: Equations that are known.
        patch: Side of a patch.
        dim: Channels of a token on the finest grid; they double at each level.
        depth: Blocks of each stage: down, the coarsest, up again.
        heads: Heads of all stages.
        window: Side of a window.

    Shape:
        x: (B, C, H, W). kinds: (C,), whole numbers; without, one field of each kind. equation: (B,), whole
        numbers; without, the first. Output: the same as x.

    Raises:
        UserError: If a size is below 1 or the depths are no way down and up.

    Source:
        Holzschuh et al. 2025, https://arxiv.org/abs/2505.24717.
    """

    def __init__(
        self,
        *,
        kinds: int = 1,
        equations: int = 1,
        patch: int = 4,
        dim: int = 96,
        depth: Sequence[int] = (2, 5, 8, 5, 2),
        heads: int = 4,
        window: int = 8,
    ) -> None:
        super().__init__()
        sizes = {"kinds": kinds, "equations": equations, "patch": patch, "window": window}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if len(depth) % 2 == 0 or len(depth) < 3 or min(depth) < 1:
            raise UserError(
                f"depth {list(depth)} must be a way down and up: 3, 5, ... stages of blocks"
            )
        self.kinds, self.equations, self.patch, self.window = kinds, equations, patch, window
        self.levels = len(depth) // 2
        widths = [dim * 2**level for level in range(self.levels + 1)]
        self.embedding = nn.Conv2d(1, dim, patch, stride=patch)
        self.kind = nn.ModuleList(nn.Embedding(kinds, width) for width in widths)
        self.equation = nn.ModuleList(nn.Embedding(equations, width) for width in widths)
        for name, parameter in self.named_parameters():
            if name.startswith(("kind.", "equation.")):
                nn.init.normal_(parameter, std=0.02)
        self.down = nn.ModuleList(
            FieldStage(width, number, heads, window)
            for width, number in zip(widths, depth, strict=False)
        )
        self.coarser = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width // 2, 3, padding=1, bias=False), SquaresToChannels()
            )
            for width in widths[:-1]
        )
        self.finer = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.PixelShuffle(2))
            for width in widths[1:]
        )
        # The finest stage on the way up keeps both halves, and has the width of the next level.
        ups = [widths[1], *widths[1:-1]]
        self.join = nn.ModuleList(
            nn.Conv2d(2 * fine, wide, 1) for fine, wide in zip(widths, ups, strict=False)
        )
        # Their decoder stages are numbered from the finest: its depth comes first.
        self.up = nn.ModuleList(
            FieldStage(width, depth[self.levels + 1 + level], heads, window)
            for level, width in enumerate(ups)
        )
        last = ups[0]
        self.smooth = nn.Conv2d(last, last, 3, padding=1)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(last, 2 * last))
        self.head = nn.Conv2d(last, patch**2, 3, padding=1)
        for part in (self.modulation, self.head):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, x: Tensor, kinds: Tensor | None = None, equation: Tensor | None = None
    ) -> Tensor:
        """Returns the next fields."""
        self.check(x)
        if kinds is None and x.shape[1] == self.kinds:
            kinds = torch.arange(self.kinds, device=x.device)
        if kinds is None or kinds.shape != (x.shape[1],):
            found = None if kinds is None else tuple(kinds.shape)
            raise UserError(f"{x.shape[1]} fields need as many kinds, got {found}")
        if equation is None:
            equation = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        known = [
            kind(kinds)[None] + of(equation)[:, None]
            for kind, of in zip(self.kind, self.equation, strict=True)
        ]
        fields = _each(self.embedding, x[:, :, None])
        kept = []
        for level in range(self.levels):
            kept.append(self.down[level](fields, known[level]))
            fields = _each(self.coarser[level], kept[-1])
        fields = self.down[self.levels](fields, known[self.levels])
        for level in reversed(range(self.levels)):
            both = torch.cat([_each(self.finer[level], fields), kept[level]], dim=2)
            fields = _each(self.join[level], both)
            fields = self.up[level](fields, known[max(level, 1)])
        flat = self.smooth(fields.flatten(0, 1))
        shift, gain = self.modulation(known[1].flatten(0, 1))[..., None, None].chunk(2, dim=1)
        normal = F.layer_norm(flat.movedim(1, -1), (flat.shape[1],), eps=1e-6).movedim(-1, 1)
        patches = self.head(normal * (1 + gain) + shift)
        return F.pixel_shuffle(patches, self.patch)[:, 0].unflatten(0, x.shape[:2])

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the fields after the last frame, one of each kind."""
        return self(frames[:, -1])

    def check(self, x: Tensor) -> None:
        """Raises if fields do not suit the model."""
        side = self.patch * self.window * 2**self.levels
        if x.ndim != 4 or x.shape[2] % side or x.shape[3] % side:
            raise UserError(
                f"PDETransformerSC with patch {self.patch}, windows of {self.window} and {self.levels + 1} "
                f"levels reads fields (B, C, H, W) whose sides are multiples of {side}, got {tuple(x.shape)}"
            )


class SquaresToChannels(nn.Module):
    """``nn.PixelUnshuffle(2)``, which leaves an empty batch as it was.

    Shape:
        x: (B, C, H, W). Output: (B, 4 * C, H / 2, W / 2).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Puts the four positions of each square behind each other."""
        rows, columns = x.shape[2] // 2, x.shape[3] // 2
        squares = x.unflatten(3, (columns, 2)).unflatten(2, (rows, 2))
        return squares.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def _each(layer: nn.Module, fields: Tensor) -> Tensor:
    """Applies a layer of pictures to each field, (B, C, dim, H, W)."""
    return layer(fields.flatten(0, 1)).unflatten(0, fields.shape[:2])
