"""
What positions do to scores
===========================

Three ways to tell attention where tokens are, seen in the weights of one mixer on 32 equal tokens: none, a
bias that falls with the distance (ALiBi), and a rotation of queries and keys (Rotary).
"""

import matplotlib.pyplot as plt
import torch

from headway.core.mixers import SelfAttention
from headway.core.positions import ALiBi, Rotary
from headway.core.taps import record

# %%
# A mixer hands its attention weights to whoever listens; no model has a flag for it.

# Equal tokens: whatever differs in a row of weights comes from where they are.
tokens = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(0)).expand(1, 32, 64)
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for axis, position in zip(axes, (None, ALiBi, Rotary), strict=True):
    torch.manual_seed(0)
    mixer = SelfAttention(64, 8, position=position, causal=True)
    with torch.no_grad(), record(mixer, "weights") as taken:
        mixer(tokens)
    [weights] = taken["weights"][""]  # (batch, heads, queries, keys)
    axis.imshow(weights[0, 0], vmax=0.4)
    axis.set_title("none" if position is None else position.__name__)
plt.show()
