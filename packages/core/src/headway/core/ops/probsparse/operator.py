"""The measure of the queries as a torch.library operator; nothing flows back through a choice."""

from typing import Any

import torch
from torch import Tensor

from headway.core.ops.kernels.operators import fold_into_batch, register_flops
from headway.core.ops.probsparse import blocked


@torch.library.custom_op("headway::probsparse_measure", mutates_args=())
def probsparse_measure(
    query: Tensor,
    key: Tensor,
    sample: Tensor,
    sample_mask: Tensor | None,
    counts: Tensor,
    backend: str,
) -> Tensor:
    """Largest minus mean score of each query, (B, H, T); see `blocked.measure`."""
    if backend == "blocked":
        return blocked.measure(query, key, sample, sample_mask, counts)
    from headway.core.ops.probsparse.triton import launch

    return launch.measure(query, key, sample, sample_mask, counts)


@probsparse_measure.register_fake
def _(
    query: Tensor,
    key: Tensor,
    sample: Tensor,
    sample_mask: Tensor | None,
    counts: Tensor,
    backend: str,
) -> Tensor:
    dtype = torch.promote_types(query.dtype, torch.float32)
    return query.new_empty(query.shape[:3], dtype=dtype)


def _flops(query: Any, key: Any, sample: Any, *_: Any, **__: Any) -> int:
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * sample[1] * width


fold_into_batch(probsparse_measure)
register_flops(probsparse_measure, _flops)
