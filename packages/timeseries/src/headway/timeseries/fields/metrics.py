"""Errors of fields as shares of the fields themselves."""

from torch import Tensor


def relative_error(found: Tensor, truth: Tensor, valid: Tensor | None = None) -> Tensor:
    """Returns the relative L2 error of each item, ``|found - truth| / |truth|``.

    Args:
        found: What a model says.
        truth: What is.
        valid: True where a value counts; None if all do.

    Shape:
        found, truth: (B, ...). valid: broadcast to them. Output: (B,).
    """
    missed = found - truth
    if valid is not None:
        # Not a product: what stands in padding may be NaN.
        missed, truth = missed.masked_fill(~valid, 0.0), truth.masked_fill(~valid, 0.0)
    size = truth.flatten(1).norm(dim=1)
    return missed.flatten(1).norm(dim=1) / size.clamp_min(1e-12)
