"""From features to sound."""

from headway.speech.vocoders.griffin_lim import griffin_lim, linear_amplitudes

__all__ = ["griffin_lim", "linear_amplitudes"]
