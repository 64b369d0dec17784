"""Ways to fine-tune that only freeze."""

from torch import nn

from headway.core.errors import UserError
from headway.core.finetune.base import FineTuning, freeze_all_but_heads
from headway.core.stacks import Stack


class Full(FineTuning):
    """Every parameter learns."""

    def apply(self, model: nn.Module) -> None:
        """Lets every parameter learn."""
        model.requires_grad_(True)


class HeadOnly(FineTuning):
    """Only the head learns (a linear probe)."""

    def apply(self, model: nn.Module) -> None:
        """Freezes all but the head."""
        freeze_all_but_heads(model)


class LastBlocks(FineTuning):
    """The last blocks, the final norm and the head learn.

    Args:
        blocks: How many blocks.
    """

    def __init__(self, blocks: int) -> None:
        if blocks < 1:
            raise UserError(
                f"LastBlocks needs at least one block, got {blocks}; HeadOnly trains none"
            )
        self.blocks = blocks

    def apply(self, model: nn.Module) -> None:
        """Freezes what comes before the last blocks of the last stack."""
        stacks = [module for module in model.modules() if isinstance(module, Stack)]
        if not stacks:
            raise UserError(f"{type(model).__name__} has no stack of blocks; use HeadOnly or Full")
        stack = stacks[-1]
        if self.blocks > len(stack.blocks):
            raise UserError(
                f"LastBlocks({self.blocks}) of a model with {len(stack.blocks)} blocks; use Full"
            )
        freeze_all_but_heads(model)
        for block in stack.blocks[-self.blocks :]:
            block.requires_grad_(True)
        if stack.norm is not None:
            stack.norm.requires_grad_(True)


class BitFit(FineTuning):
    """Only biases and the head learn.

    Source:
        Ben Zaken et al. 2021, https://arxiv.org/abs/2106.10199.
    """

    def apply(self, model: nn.Module) -> None:
        """Freezes all but biases and the head."""
        freeze_all_but_heads(model)
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] == "bias":
                parameter.requires_grad_(True)
