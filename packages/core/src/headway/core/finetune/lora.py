"""Low-rank adaptation."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from headway.core.changes import new_parameters
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.finetune.base import FineTuning, find_heads, freeze_all_but
from headway.core.linear import FusedLinear
from headway.core.systems import system

_UNMERGED = "_unmerged_layer"


class LoRALinear(nn.Module):
    """A frozen linear layer plus a learned product of two thin matrices.

    The second matrix starts at zero, so the layer starts as it was.

    Args:
        base: The layer to adapt.
        rank: Inner width of the product.
        alpha: The product is scaled by ``alpha / rank``.
        sections: Which rows of the output are adapted, by name; all if None.
        dropout: Probability of dropping an input channel of the product in training.

    Source:
        Hu et al. 2021, https://arxiv.org/abs/2106.09685, eq. 3.
    """

    def __init__(
        self,
        base: nn.Linear,
        *,
        rank: int,
        alpha: float,
        sections: dict[str, slice] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        self.parts = sections if sections is not None else {"all": slice(0, base.out_features)}
        self.dropout = Dropout(dropout)
        options = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        for name, rows in self.parts.items():
            down = torch.empty(rank, base.in_features, **options)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.down[name] = nn.Parameter(down)
            self.up[name] = nn.Parameter(torch.zeros(rows.stop - rows.start, rank, **options))

    @property
    def weight(self) -> Tensor:
        """The weight that a merged layer would have."""
        weight = self.base.weight.clone()
        for name, rows in self.parts.items():
            weight[rows] += self.scale * (self.up[name] @ self.down[name])
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The bias of the adapted layer."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """Returns the adapted projection."""
        out = self.base(x)
        dropped = self.dropout(x)
        pieces, place = [], 0
        for name, rows in sorted(self.parts.items(), key=lambda part: part[1].start):
            product = (dropped @ self.down[name].T) @ self.up[name].T
            pieces += [out[..., place : rows.start], out[..., rows] + self.scale * product]
            place = rows.stop
        # Not written into ``out``, which autograd may have given to others.
        return torch.cat([*pieces, out[..., place:]], dim=-1)

    def merged(self) -> nn.Linear:
        """Returns the base layer with the product added to its weight."""
        with torch.no_grad():
            self.base.weight.copy_(self.weight)
        return self.base.requires_grad_(True)


@system(
    id=None,
    name="LoRA",
    paper="https://arxiv.org/abs/2106.09685",
    claim="a frozen model learns through low-rank products that merge into its weights exactly",
    test="packages/core/tests/finetune/test_finetune.py",
)
class LoRA(FineTuning):
    """Freezes the model, adds low-rank products to chosen projections, and trains those and the head.

    Args:
        rank: Inner width of each product.
        alpha: Scale of a product, divided by the rank; ``2 * rank`` if None.
        targets: Projections to adapt: sections of fused layers ("q", "k", "v", "gate", "value") or the
            last part of the name of a linear layer ("projection", "fc1", "fc2").
        dropout: Probability of dropping an input channel of a product in training.

    Raises:
        UserError: If the rank is not positive, or (in ``apply``) a target is nowhere in the model.

    Source:
        Hu et al. 2021, https://arxiv.org/abs/2106.09685.
    """

    def __init__(
        self,
        *,
        rank: int = 8,
        alpha: float | None = None,
        targets: Sequence[str] = ("q", "v"),
        dropout: float = 0.0,
    ) -> None:
        if rank < 1:
            raise UserError(f"rank must be at least 1, got {rank}")
        self.rank, self.targets, self.dropout = rank, tuple(targets), dropout
        self.alpha = alpha if alpha is not None else 2.0 * rank

    def apply(self, model: nn.Module) -> None:
        """Adapts the model in place."""
        if next(lora_layers(model), None) is not None:
            raise UserError(
                f"{type(model).__name__} has low-rank products already; merge(model) adds them to its "
                "weights, and Adapters(base) holds several adapters of one model"
            )
        chosen = self._chosen(model)
        # A model without a head is adapted too: it gives features.
        freeze_all_but(model, find_heads(model))
        for name, module, parts in chosen:
            adapted = LoRALinear(
                module, rank=self.rank, alpha=self.alpha, sections=parts, dropout=self.dropout
            )
            model.set_submodule(name, adapted.train(module.training))

    def _chosen(self, model: nn.Module) -> list[tuple[str, nn.Linear, dict[str, slice] | None]]:
        """Returns the layers to adapt, with the sections of fused ones."""
        new = new_parameters(model)
        known: set[str] = set()
        chosen: list[tuple[str, nn.Linear, dict[str, slice] | None]] = []
        for name, module in model.named_modules():
            if not isinstance(module, nn.Linear):
                continue
            last = name.rpartition(".")[2]
            sections = module.sections if isinstance(module, FusedLinear) else {}
            known |= {last, *sections}
            if f"{name}.weight" in new:
                continue  # it starts anew, and learns whole
            parts = {key: rows for key, rows in sections.items() if key in self.targets}
            if parts and last not in self.targets:
                chosen.append((name, module, parts))
            elif last in self.targets:
                chosen.append((name, module, None))
        missing = [target for target in self.targets if target not in known]
        if missing:
            raise UserError(
                f"LoRA found no projection named {', '.join(missing)} in {type(model).__name__}; "
                f"there are {', '.join(sorted(known)) or 'none'}"
            )
        return chosen


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Yields the names and the layers that carry low-rank products."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def merge(model: nn.Module, *, undoable: bool = False) -> nn.Module:
    """Adds every low-rank product to the weight that it adapts, in place; returns the model.

    Args:
        model: The model.
        undoable: Whether ``unmerge`` can take them out again, to the last bit; it costs a copy of the
            adapted weights.
    """
    for name, layer in list(lora_layers(model)):
        before = layer.base.weight.detach().clone() if undoable else None
        merged = layer.merged()
        if before is not None:
            merged.__dict__[_UNMERGED] = (layer, before)
        model.set_submodule(name, merged)
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Takes out what ``merge(model, undoable=True)`` added, in place; returns the model.

    Raises:
        UserError: If nothing was merged so that it can be undone.
    """
    found = [(name, m) for name, m in model.named_modules() if _UNMERGED in m.__dict__]
    if not found:
        raise UserError(
            f"{type(model).__name__} holds no merged products; call merge(model, undoable=True) first"
        )
    for name, merged in found:
        layer, before = merged.__dict__.pop(_UNMERGED)
        with torch.no_grad():
            layer.base.weight.copy_(before)
        layer.base.requires_grad_(False)
        model.set_submodule(name, layer.train(merged.training))
    return model


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the tensors that the model would have if it were merged, and leaves it as it is."""
    state = model.state_dict()
    for name, module in lora_layers(model):
        for key in [key for key in state if key.startswith(f"{name}.")]:
            del state[key]
        state[f"{name}.weight"] = module.weight.detach()
        if module.bias is not None:
            state[f"{name}.bias"] = module.bias.detach()
    return state
