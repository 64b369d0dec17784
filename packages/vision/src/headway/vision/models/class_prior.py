"""How likely a class is before anything was learned."""

import math

from torch import nn

# Of each class, where nothing else is said.
LIKELY = 0.01


def unlikely_(head: nn.Module, likely: float) -> None:
    """Begins with every class as likely as this: among many queries few find an object.

    Args:
        head: The linear layer of the logits.
        likely: Probability of a class, in 0..1.

    Source:
        Lin et al. 2017 (focal loss), https://arxiv.org/abs/1708.02002, section 4.1.
    """
    assert isinstance(head, nn.Linear)
    nn.init.xavier_uniform_(head.weight)
    nn.init.constant_(head.bias, math.log(likely / (1 - likely)))
