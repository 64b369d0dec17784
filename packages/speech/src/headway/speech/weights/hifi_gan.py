"""Reading the HiFi-GAN vocoders of transformers: those of SpeechT5 and of FastSpeech2Conformer."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, own, rename, under
from headway.speech.front_ends import LogMel
from headway.speech.layers import ReceptiveFields, WaveGenerator
from headway.speech.models.hifi_gan import HiFiGAN

# Samples per second where config.json says none: those of the one published checkpoint.
RATES = {"speecht5_hifigan": 16000, "fastspeech2_conformer_hifigan": 22050}
# Of the mel bands of both, which no file of theirs tells.
LOWEST, HIGHEST, WINDOW = 80.0, 7600.0, 1024


class HuggingFaceHiFiGAN:
    """Recognises ``model_type`` of either vocoder in config.json.

    The bands are those of ESPnet (decimal logarithms from 80 Hz to 7.6 kHz). There a step is centred on
    its first sample, and here in the middle of its samples.
    """

    name = "Hugging Face HiFi-GAN"
    architectures = ("SpeechT5HifiGan", "FastSpeech2ConformerHifiGan")
    defaults: ClassVar[dict[str, Any]] = {}
    harmless = ("initializer_range",)
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a vocoder."""
        config = checkpoint.config
        return config is not None and config.get("model_type") in RATES

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        return build_vocoder(checkpoint.config or {}, checkpoint.source)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names: their list of branches is ours of lists."""
        assert isinstance(model, HiFiGAN)
        return Table(*vocoder_rules(model))


def build_vocoder(config: Any, source: str) -> HiFiGAN:
    """Returns the vocoder that a configuration describes.

    Args:
        config: The configuration.
        source: Where it is from, for messages.

    Raises:
        UserError: If the sample rate is too low for its bands.
    """
    kind = config["model_type"]
    rates = config.get("upsample_rates", None)
    if rates is None:
        rates = [4] * 4 if kind == "speecht5_hifigan" else [8, 8, 2, 2]
    kernels = config.get("upsample_kernel_sizes", [2 * rate for rate in rates])
    slope = config.get("leaky_relu_slope", 0.1)
    branches = config.get("resblock_kernel_sizes", [3, 7, 11])
    generator = partial(
        WaveGenerator,
        channels=config.get("upsample_initial_channel", 512),
        rates=rates,
        kernels=kernels,
        fields=partial(
            ReceptiveFields,
            kernels=branches,
            dilations=config.get("resblock_dilation_sizes", [[1, 3, 5]] * len(branches)),
            slope=slope,
        ),
        slope=slope,
        normalised=False,
    )
    hop = 1
    for rate in rates:
        hop *= rate
    sample_rate = config.get("sampling_rate", RATES[kind])
    if sample_rate < 2 * HIGHEST:
        raise UserError(
            f"{source} is for {sample_rate} Hz; bands up to {HIGHEST:g} Hz need twice as many"
        )
    normalised = config.get("normalize_before", True)
    front_end = LogMel(
        sample_rate=sample_rate,
        mels=config.get("model_in_dim", 80),
        size=max(WINDOW, 4 * hop),
        hop=hop,
        lowest=LOWEST,
        highest=HIGHEST,
        logarithm="decimal",
        normalise="global" if normalised else "none",
    )
    if normalised:
        # Mean and deviation come with the file.
        front_end.frames.fill_(1)
    return HiFiGAN(front_end=front_end, generator=generator)


def vocoder_rules(model: HiFiGAN) -> list[Rule | list[Rule]]:
    """Returns the names of the tensors of a vocoder."""
    rules: list[Rule | list[Rule]] = [
        rename("generator.first.*", "conv_pre.*"),
        rename("generator.longer.*", "upsampler.*"),
        rename("generator.last.*", "conv_post.*"),
    ]
    place = 0
    for number, fields in enumerate(model.generator.fields):
        assert isinstance(fields, ReceptiveFields)
        for branch in range(len(fields.branches)):
            rules.append(
                under(
                    f"generator.fields.{number}.branches.{branch}.",
                    f"resblocks.{place}.",
                    rename("dilated.*", "convs1.*"),
                    rename("dense.*", "convs2.*"),
                )
            )
            place += 1
    if model.mel.normalise == "global":
        rules += [rename("front_end.mean", "mean"), rename("front_end.std", "scale")]
        rules.append(own("front_end.frames"))
    else:
        rules.append(drop("mean", "scale"))
    return rules


adapter = HuggingFaceHiFiGAN()
