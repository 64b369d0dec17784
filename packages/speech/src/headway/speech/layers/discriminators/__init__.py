"""What tells recordings from sound that a model made."""

from headway.speech.layers.discriminators.bands import BandDiscriminator
from headway.speech.layers.discriminators.base import Discriminator
from headway.speech.layers.discriminators.periods import PeriodDiscriminator
from headway.speech.layers.discriminators.scales import ScaleDiscriminator

__all__ = ["BandDiscriminator", "Discriminator", "PeriodDiscriminator", "ScaleDiscriminator"]
