"""The base of all forecasters."""

from abc import abstractmethod

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import Module


class ForecastingModel(Module):
    """Continues windows of series, in the units in which they are given.

    Args:
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.

    Shape:
        x, mask: (B, context_length, N). marks: (B, context_length, M). future_marks: (B, horizon, M).
        Output: (B, horizon, N).

    Raises:
        UserError: If one of the two is below 1.
    """

    # Series and calendar marks of models that are built for a number of them; see `check_marks`.
    variates: int
    marks: int = 0
    # Which covariates the model reads: some of "historical", "future", "static".
    covariates: frozenset[str] = frozenset()
    # Whether the forecast of ``a x + b`` is ``a`` times that of ``x``, plus ``b``, whatever the units are.
    affine: bool = False
    # Whether that is so for ``a`` of 1.
    shifts: bool = False
    # Levels of the quantiles that it answers with; None for points and distributions.
    quantiles: tuple[float, ...] | None = None

    def __init__(self, *, context_length: int, horizon: int) -> None:
        super().__init__()
        for name, value in (("context_length", context_length), ("horizon", horizon)):
            if value < 1:
                raise UserError(f"{name} must be at least 1 step, got {value}")
        self.context_length = context_length
        self.horizon = horizon

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Returns the forecast.

        Args:
            x: The windows; what stands where ``mask`` is False does not matter, NaN included.
            mask: True where a value was observed; None if all were.
            marks: Calendar marks of the window.
            future_marks: Calendar marks of the steps to forecast.
            static: What does not change over time; no model here reads it.
        """

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on; what depended on it starts anew.

        Raises:
            UserError: If it is below 1.
        """
        if horizon < 1:
            raise UserError(f"horizon must be at least 1 step, got {horizon}")
        self.horizon = horizon
        self.init_args["horizon"] = horizon

    def check(self, x: Tensor, static: Tensor | None = None) -> None:
        """Raises if ``x`` cannot be a batch of windows, or something is given that nobody reads."""
        if x.ndim != 3 or x.shape[1] != self.context_length:
            raise UserError(
                f"{type(self).__name__} reads windows (B, {self.context_length}, N), "
                f"got {tuple(x.shape)}"
            )
        if static is not None:
            raise UserError(f"{type(self).__name__} does not read static features")

    def check_marks(self, x: Tensor, marks: Tensor | None, future: Tensor | None) -> None:
        """Raises if series or marks are not as a model with ``variates`` and ``marks`` was built for."""
        name, variates, number = type(self).__name__, self.variates, self.marks
        if x.shape[2] != variates:
            raise UserError(
                f"this {name} was built for {variates} series, got {x.shape[2]}; "
                f"build it with variates={x.shape[2]}, or use ITransformer, which takes any number"
            )
        for kind, given, steps in (
            ("marks", marks, self.context_length),
            ("future_marks", future, self.horizon),
        ):
            if number and (given is None or given.shape[1:] != (steps, number)):
                shape = None if given is None else tuple(given.shape)
                raise UserError(f"this {name} needs {kind} (B, {steps}, {number}), got {shape}")


def new_head(old: nn.Linear, horizon: int) -> nn.Linear:
    """Returns a fresh layer in the place of another, for another number of steps."""
    weight = old.weight
    return nn.Linear(old.in_features, horizon, device=weight.device, dtype=weight.dtype)
