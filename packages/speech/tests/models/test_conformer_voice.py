"""FastSpeech2Conformer of transformers with copied weights: durations, features, sound, files."""

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor, nn
from transformers import (
    FastSpeech2ConformerConfig,
    FastSpeech2ConformerHifiGanConfig,
    FastSpeech2ConformerModel,
    FastSpeech2ConformerWithHifiGan,
    FastSpeech2ConformerWithHifiGanConfig,
)

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.speech.models import ConformerVoice
from headway.speech.models.fast_speech import FastSpeech
from headway.speech.synthesiser import Manner

PHONEMES = ("<blank>", "<unk>", "AH0", "N", "T", "S", "HH", "IY1", ",", "<sos/eos>")
SMALL: dict[str, Any] = {
    "hidden_size": 16, "vocab_size": len(PHONEMES), "num_mel_bins": 20, "encoder_layers": 2,
    "encoder_linear_units": 24, "decoder_layers": 1, "decoder_num_attention_heads": 4, "decoder_linear_units": 20,
    "speech_decoder_postnet_layers": 3, "speech_decoder_postnet_units": 12, "encoder_kernel_size": 5,
    "decoder_kernel_size": 7, "duration_predictor_channels": 14, "energy_predictor_channels": 10,
    "pitch_predictor_channels": 12, "pitch_predictor_layers": 3,
}  # fmt: skip


def made(cls: type, config: Any) -> nn.Module:
    torch.manual_seed(0)
    model = cls(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(0.3 * torch.randn_like(value) + (name.endswith("norm.weight")))
        for name, value in model.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif name.endswith(("running_mean", "vocoder.mean")):
                value.normal_()
    return model


def voice(folder: Path, **options: Any) -> nn.Module:
    model = made(FastSpeech2ConformerModel, FastSpeech2ConformerConfig(**{**SMALL, **options}))
    with torch.no_grad():
        model.duration_predictor.linear.bias.fill_(1.2)
    model.save_pretrained(folder)
    numbers = {token: place for place, token in enumerate(PHONEMES)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder_normalize_before": True, "decoder_normalize_before": True},
        {"convolution_bias": False, "positionwise_conv_kernel_size": 1, "encoder_layers": 1},
    ],
)
def test_durations_and_features_are_those_of_transformers(
    options: dict[str, Any], tmp_path: Path
) -> None:
    theirs = voice(tmp_path / "hf", **options)
    check_round_trip(tmp_path / "hf", tmp_path / "back")
    ours = from_pretrained(tmp_path / "hf").eval()
    assert isinstance(ours, ConformerVoice)
    texts = ["HH AH0 N IY1", "S IY1 T , AH0 N T AH0"]
    rows = [torch.tensor(ours.tokenizer.encode(text)) for text in texts]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        spoken = ours.speak(tokens, torch.tensor([len(row) for row in rows]))
        assert spoken.durations is not None
        for place, row in enumerate(rows):
            ended = torch.cat([row, torch.tensor([len(PHONEMES) - 1])])
            wanted = theirs(ended[None], return_dict=True)
            found = spoken.durations[place, : len(ended)]
            assert found.tolist() == wanted.duration_outputs[0].tolist()
            steps = int(spoken.lengths[place])
            assert steps == wanted.spectrogram.shape[1] > len(ended)
            torch.testing.assert_close(
                spoken.features[place, :steps], wanted.spectrogram[0], rtol=1e-5, atol=1e-5
            )
            assert (spoken.features[place, steps:] == 0).all()
        slow = ours.speak(tokens, torch.tensor([4, 8]), manner=Manner(speed=0.5))
        assert (slow.lengths > 1.5 * spoken.lengths).all()
    with pytest.raises(UserError, match="leave --pitch at 0"):
        ours.speak(tokens, torch.tensor([4, 8]), manner=Manner(pitch=1.0))


def test_a_folder_with_its_vocoder_speaks(tmp_path: Path, capsys) -> None:
    config = FastSpeech2ConformerWithHifiGanConfig(
        model_config=FastSpeech2ConformerConfig(**SMALL).to_dict(),
        vocoder_config=FastSpeech2ConformerHifiGanConfig(
            model_in_dim=20,
            upsample_initial_channel=16,
            upsample_rates=[4, 3],
            upsample_kernel_sizes=[8, 7],
            resblock_kernel_sizes=[3, 5],
            resblock_dilation_sizes=[[1, 3], [1, 2]],
        ).to_dict(),
    )
    theirs = made(FastSpeech2ConformerWithHifiGan, config)
    with torch.no_grad():
        theirs.model.duration_predictor.linear.bias.fill_(1.2)
    theirs.save_pretrained(tmp_path / "hf")
    numbers = {token: place for place, token in enumerate(PHONEMES)}
    (tmp_path / "hf" / "vocab.json").write_text(json.dumps(numbers))
    check_round_trip(tmp_path / "hf", tmp_path / "back")
    ours = from_pretrained(tmp_path / "hf").eval()
    assert isinstance(ours, ConformerVoice)
    assert ours.vocoder is not None
    tokens = torch.tensor([[6, 2, 3, 7]])
    with torch.no_grad():
        spoken = ours.speak(tokens, torch.tensor([4]))
        # Bands of a voice lie above the floor of logarithms; those of random weights need not.
        sound = ours.vocoder(
            (spoken.features - ours.vocoder.front_end.mean) / ours.vocoder.front_end.std,
            spoken.lengths,
        )
        wanted: Tensor = theirs(
            torch.cat([tokens, torch.tensor([[9]])], 1), return_dict=True
        ).waveform
    torch.testing.assert_close(sound.flatten(), wanted.flatten(), rtol=1e-4, atol=1e-5)
    out = tmp_path / "said.wav"
    words = ["speak", "-m", str(tmp_path / "hf"), "HH AH0 N IY1", "-o", str(out)]
    assert main(words) == 0
    info = soundfile.info(out)
    assert (info.samplerate, info.frames) == (22050, int(spoken.lengths[0]) * 12)
    assert main([*words[:3], "HELLO", "-o", str(tmp_path / "no.wav")]) == 2
    assert "HELLO" in capsys.readouterr().err


def test_what_is_not_read_is_refused(tmp_path: Path) -> None:
    for number, (wrong, said) in enumerate(
        [
            ({"num_speakers": 3}, "voices of one speaker"),
            ({"speaker_embed_dim": 4}, "embeddings of speakers"),
            ({"speaking_speed": 2.0}, "speaking_speed=2.0"),
        ]
    ):
        voice(tmp_path / str(number), **wrong)
        with pytest.raises(UserError, match=said):
            from_pretrained(tmp_path / str(number))
    with pytest.raises(UserError, match="does not learn from recordings"):
        from_pretrained(_saved(tmp_path / "good")).loss(None)  # pyright: ignore
    assert FastSpeech.aligns


def _saved(folder: Path) -> Path:
    voice(folder)
    return folder
