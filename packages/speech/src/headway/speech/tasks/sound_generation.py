"""Training of models that make sound, against discriminators."""

from collections.abc import Sequence

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.training import Passed, TrainingOptions
from headway.speech.batch import SpeechBatch
from headway.speech.layers.discriminators import Discriminator
from headway.speech.losses import MelDistance, deceiving, matching, telling
from headway.speech.sound_model import SoundModel, take_segments
from headway.speech.tasks.speech_task import SpeechTask


class SoundGeneration(SpeechTask):
    """Trains a model to make recordings again from what it hears of them: a vocoder, or super-resolution.

    The model learns from the distance of mel features, from discriminators that it shall deceive, and from
    what their layers find; they learn in the same step. Each loss reaches the weights of its own part alone
    and Adam moves each weight by its own gradients, so one optimiser of all is one for each; the gradient
    should not be clipped by its norm, which would tie them. Where a run exports the model, discriminators
    stay in the checkpoints.

    It logs ``train_loss`` with its parts and, of whole recordings, ``loss`` (the error of log-mel bands) and
    ``spectral_loss`` (the log-spectral distance) of ``val`` and ``test``.

    Args:
        backbone: The model.
        discriminators: What tells its sound from recordings; without any it learns from mel features alone.
        distance: How far the sounds are apart.
        segment: Steps of the stretches that it is trained on.
        distance_weight: Of the distance in the loss.
        matching_weight: Of what the layers of the discriminators find otherwise.
        alone: Steps of training before the discriminators begin.
        **training: As of every ``Task``: optimizer, schedule, finetune, layer_decay, ema, compile.

    Shape:
        A batch is a ``SpeechBatch`` of samples.

    Raises:
        UserError: If a number is below its limit.

    Source:
        Kong et al. 2020 (HiFi-GAN), https://arxiv.org/abs/2010.05646, section 2.4.
    """

    def __init__(
        self,
        *,
        backbone: SoundModel,
        discriminators: Sequence[Discriminator] = (),
        distance: MelDistance | None = None,
        segment: int = 32,
        distance_weight: float = 45.0,
        matching_weight: float = 2.0,
        alone: int = 0,
        **training: Passed[TrainingOptions],
    ) -> None:
        super().__init__(backbone=backbone, **training)
        if segment < 1 or alone < 0:
            raise UserError(f"segment is {segment} and alone {alone}; they begin at 1 and 0")
        self.discriminators = nn.ModuleList(discriminators)
        rate = backbone.front_end.sample_rate
        self.distance = MelDistance(sample_rate=rate) if distance is None else distance
        self.segment, self.alone = segment, alone
        self.distance_weight, self.matching_weight = distance_weight, matching_weight

    @property
    def model(self) -> SoundModel:
        """The model."""
        assert isinstance(self.backbone, SoundModel)
        return self.backbone

    def training_step(self, batch: SpeechBatch, index: int) -> STEP_OUTPUT:
        """Returns the loss of the model and of its discriminators."""
        model, hop = self.model, self.model.mel.hop
        with torch.no_grad():
            # What is too short for a stretch goes on with silence.
            short = max(0, self.segment * hop - batch.inputs.shape[1])
            waveforms = F.pad(batch.inputs, (0, short))
            lengths = batch.lengths.clamp_min(self.segment * hop)
            features, steps = model.hear(model.spoil(waveforms), lengths)
            features, wanted = take_segments(steps, features, waveforms, self.segment, hop)
        made = model(features)
        distance = self.distance(made, wanted)
        losses = {"mel": distance.detach()}
        loss = self.distance_weight * distance
        if self.global_step >= self.alone:
            for judge in self.discriminators:
                assert isinstance(judge, Discriminator)
                real, seen = judge(wanted), judge(made.detach())
                told = telling(real, seen)
                deceived = judge.fixed(made)
                loss = loss + told + deceiving(deceived)
                loss = loss + self.matching_weight * matching(real, deceived)
                losses["telling"] = losses.get("telling", 0) + told.detach()
        self.log_losses("train", {"loss": loss, **losses}, batch, on_step=False, on_epoch=True)
        return self.with_penalties(loss)

    def validation_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the losses."""
        self.log_losses("val", self.model.loss(batch), batch)

    def test_step(self, batch: SpeechBatch, index: int) -> None:
        """Adds a batch to the losses."""
        self.log_losses("test", self.model.loss(batch), batch)
