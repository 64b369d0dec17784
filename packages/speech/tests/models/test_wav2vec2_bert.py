"""w2v-BERT 2.0 of transformers, with copied weights and its own features."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from published_speech import STILL, TOKENS, check_alone, check_gradients, read, stirred
from torch import nn

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.core.weights.checkpoint import Checkpoint
from headway.speech.front_ends import StackedFbank
from headway.speech.models import CTC, pretrained
from headway.speech.weights.wav2vec2_bert import adapter

POSITIONS = ("relative_key", "relative", None)
STEPS = 60


def tiny(position: str | None = "relative_key", head: str = "ForCTC") -> Any:
    torch.manual_seed(0)
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        feature_projection_input_dim=40,
        conv_depthwise_kernel_size=5,
        left_max_position_embeddings=7,
        right_max_position_embeddings=2,
        position_embeddings_type=position,  # pyright: ignore
        conformer_conv_dropout=0.0,
        vocab_size=9,
        attn_implementation="eager",
        **STILL,
    )
    return stirred(getattr(transformers, f"Wav2Vec2Bert{head}")(config)).eval()


def published(model: Any, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(TOKENS)}))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=20, num_mel_bins=20)
    transformers.Wav2Vec2BertProcessor(extractor, tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("position", POSITIONS)
def test_outputs_and_gradients_are_theirs(position: str | None, tmp_path: Path) -> None:
    theirs = tiny(position).double()
    ours = read(published(tiny(position), tmp_path)).eval().double()
    assert isinstance(ours, CTC)
    if position == "relative":  # their sinusoids are rounded to float32
        theirs, ours = theirs.float(), ours.float()
    x = torch.randn(2, STEPS, 40).to(next(ours.parameters()))
    one, two = ours(x).log_probs, theirs(x).logits.log_softmax(-1)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    if position != "relative":
        seed = torch.randn_like(one)
        one.backward(seed)
        two.backward(seed)
        check_gradients(tmp_path, ours, theirs)


def test_a_recording_is_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    theirs = tiny()
    ours = read(published(theirs, tmp_path))
    x, lengths = torch.randn(3, STEPS, 40), torch.tensor([STEPS, 31, 4])
    check_alone(ours, x, lengths)
    found = ours(x.double(), lengths).log_probs
    mask = torch.arange(STEPS) < lengths[:, None]
    wanted = theirs.double()(x.double(), attention_mask=mask.long()).logits.log_softmax(-1)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], wanted[row, :length], atol=1e-5, rtol=1e-5)


def test_files_return_bit_for_bit(tmp_path: Path) -> None:
    check_round_trip(published(tiny(), tmp_path / "hf"), tmp_path / "back")
    theirs = tiny(head="Model")
    theirs.save_pretrained(tmp_path / "bare")
    with pytest.raises(
        UserError, match="2 frames of 80 bands are 160 features, and the model hears 40"
    ):
        from_pretrained(tmp_path / "bare")
    extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=20, num_mel_bins=20)
    extractor.save_pretrained(tmp_path / "bare")
    model = pretrained(str(tmp_path / "bare"), new_vocabulary="characters")
    assert model.tokenizer.vocabulary == ("<blank>",)


@pytest.mark.parametrize("samples", [16000, 16160, 3333, 560])
def test_features_are_those_of_their_extractor(samples: int) -> None:
    theirs = transformers.SeamlessM4TFeatureExtractor()
    sound = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    wanted = theirs(sound.numpy(), sampling_rate=16000, return_tensors="pt")
    padded = torch.full((1, samples + 700), torch.nan)
    padded[0, :samples] = sound
    found = StackedFbank()(padded, torch.tensor([samples]))
    # A last frame without a second one is padding there.
    length = int(wanted.attention_mask.sum())
    assert found.lengths.tolist() == [length]
    torch.testing.assert_close(
        found.inputs[0, :length], wanted.input_features[0, :length], atol=2e-4, rtol=1e-4
    )
    assert not found.inputs[0, length:].any()


def test_greedy_transcripts_are_those_of_their_processor(tmp_path: Path) -> None:
    theirs = tiny()
    with torch.no_grad():
        theirs.lm_head.weight.mul_(40)
        theirs.lm_head.bias.sub_(theirs(torch.randn(1, 200, 40)).logits.mean(dim=(0, 1)))
        theirs.lm_head.bias[1:4] = -1e4  # their processor writes <unk> into a text
    folder = published(theirs, tmp_path)
    processor = transformers.Wav2Vec2BertProcessor.from_pretrained(folder)
    ours = pretrained(str(folder)).eval()
    generator = torch.Generator().manual_seed(1)
    sounds = [0.1 * torch.randn(n, generator=generator) for n in (16000, 21120, 12000)]
    wanted = []
    for sound in sounds:
        given = processor(sound.numpy(), sampling_rate=16000, return_tensors="pt")
        steps = int(given.attention_mask.sum())
        with torch.no_grad():
            best = theirs(**given).logits[:, :steps].argmax(-1)
        wanted += processor.batch_decode(best)
    batch = nn.utils.rnn.pad_sequence(sounds, batch_first=True, padding_value=float("nan"))
    with torch.no_grad():
        heard = ours.hear(batch, torch.tensor([len(sound) for sound in sounds]))
    assert [one.text for one in heard] == [" ".join(text.split()) for text in wanted]
    assert any(len(text.split()) > 1 for text in wanted)


def test_names_and_shapes_of_the_published_model_on_the_meta_device() -> None:
    # facebook/w2v-bert-2.0
    config = transformers.Wav2Vec2BertConfig(vocab_size=32)
    with torch.device("meta"):
        theirs = transformers.Wav2Vec2BertForCTC(config)
        checkpoint = Checkpoint("published", config.to_dict(), (), Path("nowhere"))
        checkpoint.__dict__["state"] = theirs.state_dict()
        ours = adapter.build(checkpoint, {})
        found = adapter.table(checkpoint, ours).to_ours(checkpoint.state)
    assert {n: v.shape for n, v in found.items()} == {
        n: v.shape for n, v in ours.state_dict().items()
    }
