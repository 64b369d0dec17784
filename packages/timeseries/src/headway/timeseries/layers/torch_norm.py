"""Layer norms with the epsilon of torch, which the published models have."""

from functools import partial

from headway.core.norms import LayerNorm

TorchLayerNorm = partial(LayerNorm, eps=1e-5)
