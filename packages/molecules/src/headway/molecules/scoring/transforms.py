"""What makes a score between 0 and 1 of a number."""

import math
from abc import abstractmethod

from headway.core.errors import UserError
from headway.core.module import Module


class Transform(Module):
    """Makes a score between 0 and 1 of a number."""

    @abstractmethod
    def forward(self, value: float) -> float:
        """Returns the score of a number."""


class Sigmoid(Transform):
    """Near 0 below ``low``, near 1 above ``high``, a half between them.

    Args:
        low: Where it begins to rise.
        high: Where it has risen.
        k: Steepness; with 0.25 it is 0.05 at ``low`` and 0.95 at ``high``.

    Raises:
        UserError: If ``low`` is not below ``high``.

    Source:
        Blaschke et al. 2020, https://doi.org/10.1021/acs.jcim.0c00915 (REINVENT 2.0), "sigmoid".
    """

    def __init__(self, *, low: float, high: float, k: float = 0.25) -> None:
        super().__init__()
        _check_order(low, high)
        self.middle, self.slope = (low + high) / 2, 10 * k / (high - low)

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return _rise((value - self.middle) * self.slope)


class ReverseSigmoid(Sigmoid):
    """Near 1 below ``low``, near 0 above ``high``: ``Sigmoid`` mirrored.

    Args:
        low: Where it begins to fall.
        high: Where it has fallen.
        k: Steepness.
    """

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return _rise((self.middle - value) * self.slope)


class DoubleSigmoid(Transform):
    """Near 1 between ``low`` and ``high``, near 0 outside.

    Args:
        low: Where it rises to a half.
        high: Where it falls to a half.
        rise: Powers of ten for each unit at ``low``; of REINVENT's coefficients ``coef_si / coef_div``.
        fall: Powers of ten for each unit at ``high``; ``coef_se / coef_div``.

    Raises:
        UserError: If ``low`` is not below ``high``.

    Source:
        Blaschke et al. 2020, https://doi.org/10.1021/acs.jcim.0c00915, its transform "double_sigmoid".
    """

    def __init__(self, *, low: float, high: float, rise: float = 1.5, fall: float = 1.5) -> None:
        super().__init__()
        _check_order(low, high)
        self.low, self.high, self.rise, self.fall = low, high, rise, fall

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        risen = _rise((value - self.low) * self.rise)
        return max(0.0, risen - _rise((value - self.high) * self.fall))


class Step(Transform):
    """1 from ``low`` to ``high``, both included, 0 elsewhere.

    Args:
        low: Least; no limit if None.
        high: Most; no limit if None.
    """

    def __init__(self, *, low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        self.low = -math.inf if low is None else low
        self.high = math.inf if high is None else high

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return float(self.low <= value <= self.high)


class Gaussian(Transform):
    """1 at the mean, falling on both sides.

    Args:
        mean: Where it is 1.
        deviation: How wide it is.

    Raises:
        UserError: If the deviation is not above 0.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621 (GuacaMol), section 3.3.
    """

    def __init__(self, *, mean: float, deviation: float) -> None:
        super().__init__()
        if deviation <= 0:
            raise UserError(f"deviation is {deviation}; it must be above 0")
        self.mean, self.deviation = mean, deviation

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return math.exp(-0.5 * ((value - self.mean) / self.deviation) ** 2)


class MinGaussian(Gaussian):
    """1 up to the mean, falling above: small numbers are good (GuacaMol's ``MinGaussianModifier``).

    Args:
        mean: Up to where it is 1.
        deviation: How fast it falls.
    """

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return super().forward(max(value, self.mean))


class MaxGaussian(Gaussian):
    """1 from the mean on, falling below: large numbers are good (GuacaMol's ``MaxGaussianModifier``).

    Args:
        mean: From where on it is 1.
        deviation: How fast it falls.
    """

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return super().forward(min(value, self.mean))


class Clipped(Transform):
    """0 at ``lower``, 1 at ``upper``, a straight line between them, flat outside.

    With ``lower`` 0 it is GuacaMol's ``Thresholded``; with ``upper`` below ``lower`` small numbers are good.

    Args:
        upper: Where it is 1.
        lower: Where it is 0.

    Raises:
        UserError: If both are the same.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621 (GuacaMol), section 3.3.
    """

    def __init__(self, *, upper: float, lower: float = 0.0) -> None:
        super().__init__()
        if upper == lower:
            raise UserError(
                f"upper and lower are both {upper}; Step is 0 and 1 with nothing between"
            )
        self.upper, self.slope = upper, 1 / (upper - lower)

    def forward(self, value: float) -> float:
        """Returns the score of a number."""
        return min(1.0, max(0.0, self.slope * value + (1 - self.slope * self.upper)))


def _rise(powers: float) -> float:
    """Returns ``1 / (1 + 10 ** -powers)`` without overflow."""
    if powers < 0:
        below = 10.0 ** max(powers, -300.0)
        return below / (1 + below)
    return 1 / (1 + 10.0 ** -min(powers, 300.0))


def _check_order(low: float, high: float) -> None:
    if low >= high:
        raise UserError(f"low is {low} and high {high}; low must be below high")
