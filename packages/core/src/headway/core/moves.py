"""Where classes live that had another import path once: saved files that name the old one keep loading."""

import functools
from collections.abc import Mapping

from headway.core.plugins import domains

# Modules of core, by their old name; those of a domain stand in its plugin.
MOVES: dict[str, str] = {
    "headway.core.mixers.additive_attention": "headway.core.mixers.softmax.additive_attention",
    "headway.core.mixers.cross_attention": "headway.core.mixers.softmax.cross_attention",
    "headway.core.mixers.positioned": "headway.core.mixers.softmax.positioned",
    "headway.core.mixers.score_residual_attention": "headway.core.mixers.softmax.score_residual_attention",
    "headway.core.mixers.self_attention": "headway.core.mixers.softmax.self_attention",
    "headway.core.mixers.deformable_attention": "headway.core.mixers.sparse.deformable_attention",
    "headway.core.mixers.neighbourhood_attention": "headway.core.mixers.sparse.neighbourhood_attention",
    "headway.core.mixers.probsparse": "headway.core.mixers.sparse.probsparse",
    "headway.core.mixers.window_attention": "headway.core.mixers.sparse.window_attention",
    "headway.core.mixers.decays": "headway.core.mixers.kernelized.decays",
    "headway.core.mixers.factorized_attention": "headway.core.mixers.kernelized.factorized_attention",
    "headway.core.mixers.feature_maps": "headway.core.mixers.kernelized.feature_maps",
    "headway.core.mixers.linear_attention": "headway.core.mixers.kernelized.linear_attention",
    "headway.core.mixers.normalized_linear": "headway.core.mixers.kernelized.normalized_linear",
    "headway.core.mixers.legendre_memory": "headway.core.mixers.recurrent.legendre_memory",
    "headway.core.mixers.selective_scan": "headway.core.mixers.recurrent.selective_scan",
    "headway.core.mixers.convolution": "headway.core.mixers.convolutional.convolution",
    "headway.core.mixers.gated_convolution": "headway.core.mixers.convolutional.gated_convolution",
    "headway.core.mixers.pooling": "headway.core.mixers.convolutional.pooling",
    "headway.core.mixers.auto_correlation": "headway.core.mixers.spectral.auto_correlation",
    "headway.core.mixers.fourier": "headway.core.mixers.spectral.fourier",
    "headway.vision.layers.frozen_batch_norm": "headway.core.backbones.frozen_batch_norm",
    "headway.vision.layers.resnet": "headway.core.backbones.resnet",
}


@functools.cache
def moves() -> Mapping[str, str]:
    """Returns the new path of every module or class that moved, of core and of all installed domains."""
    found = dict(MOVES)
    for domain in domains().values():
        found |= domain.moves
    return found


def moved(path: str) -> str:
    """Returns today's import path of a class.

    Args:
        path: Import path, perhaps of an earlier release.
    """
    table = moves()
    module, _, name = path.rpartition(".")
    if path in table:
        return table[path]
    return f"{table[module]}.{name}" if module in table else path
