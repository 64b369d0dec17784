"""
Other mixers in one model
=========================

A vision transformer learns the 8x8 digits of scikit-learn for a few steps, with one mixer after another in
the place of attention. So few steps say which one starts fast, not which one is best.
"""

from functools import partial

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from headway.core.embeddings import PatchEmbedding
from headway.core.mixers import (
    ConvolutionMixer,
    FourierMixer,
    PoolingMixer,
    SelfAttention,
    TokenMixer,
)
from headway.vision.models import ViT

# %%
# Data: 1,797 pictures, every fifth of them is kept for the test.

digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
labels = torch.tensor(digits.target)
test = torch.arange(len(labels)) % 5 == 0

# %%
# The mixer is an argument of the model like any other; the rest stays as it is.


def learn(mixer: type[TokenMixer]) -> list[float]:
    """Returns the accuracy on the test pictures after every ten steps."""
    torch.manual_seed(0)
    model = ViT(
        image_size=8,
        num_classes=10,
        dim=48,
        depth=2,
        heads=4,
        embedding=partial(PatchEmbedding, patch=2, channels=1),
        mixer=mixer,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    found = []
    for step in range(60):
        chosen = (~test).nonzero()[:, 0][torch.randint(int((~test).sum()), (64,))]
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 9:
            with torch.no_grad():
                right = model.eval()(images[test]).argmax(-1) == labels[test]
            model.train()
            found.append(float(right.float().mean()))
    return found


# %%
for mixer in (SelfAttention, ConvolutionMixer, PoolingMixer, FourierMixer):
    plt.plot(range(10, 61, 10), learn(mixer), marker="o", label=mixer.__name__)
plt.xlabel("steps of 64 pictures")
plt.ylabel("accuracy on 360 test pictures (seed 0)")
plt.legend()
plt.show()
