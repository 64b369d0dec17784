"""Moonshine of transformers, with copied weights, and as a recogniser of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from published_speech import check_alone, check_gradients, read, stirred
from tokenizers import Tokenizer, decoders, models
from torch import nn

from headway.core.blocks import PreNormBlock
from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.positions import Rotary
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.core.weights.checkpoint import Checkpoint
from headway.speech.batch import SpeechBatch
from headway.speech.models import Conformer, Moonshine, pretrained
from headway.speech.models.moonshine import MoonshineStem
from headway.speech.search import Search
from headway.speech.tokenizers import TextTokenizer
from headway.speech.weights.moonshine import adapter

WORDS = ("<unk>", "<s>", "</s>", "▁a", "▁be", "b", "▁see", "de")
SAMPLES = 9000


def tiny(**changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.MoonshineConfig(
        **{
            "vocab_size": len(WORDS),
            "hidden_size": 40,
            "intermediate_size": 24,
            "encoder_num_hidden_layers": 2,
            "decoder_num_hidden_layers": 2,
            "encoder_num_attention_heads": 2,
            "decoder_num_attention_heads": 2,
            "max_position_embeddings": 64,
            "attn_implementation": "eager",
            **changes,
        }
    )
    model = stirred(transformers.MoonshineForConditionalGeneration(config), 10).eval()
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight.mul_(30)  # pyright: ignore
    return model


def published(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    numbers = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.BPE(numbers, [], unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])  # fmt: skip
    tokenizer.add_special_tokens(list(WORDS[:3]))
    tokenizer.save(str(folder / "tokenizer.json"))
    notes = {"do_normalize": False, "sampling_rate": 16000}
    (folder / "preprocessor_config.json").write_text(json.dumps(notes))
    return folder


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True, "tie_word_embeddings": False}])
def test_outputs_and_gradients_are_theirs(changes: dict[str, Any], tmp_path: Path) -> None:
    theirs = tiny(**changes).double()
    ours = read(published(tiny(**changes), tmp_path)).eval().double()
    assert isinstance(ours, Moonshine)
    x, text = torch.randn(2, SAMPLES).double(), torch.tensor([[1, 3, 4, 5, 6], [1, 7, 7, 3, 2]])
    one = ours(x, text)
    two = theirs(x, decoder_input_ids=text).logits
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    seed = torch.randn_like(one)
    one.backward(seed)
    two.backward(seed)
    check_gradients(tmp_path, ours, theirs)
    labels = torch.tensor([[3, 4, 5, 6, 2]] * 2)
    batch = SpeechBatch(x, torch.tensor([SAMPLES] * 2), labels[:, :4], torch.tensor([4, 4]))
    shifted = torch.tensor([[1, 3, 4, 5, 6]] * 2)
    logits = theirs(x, decoder_input_ids=shifted).logits
    wanted = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    torch.testing.assert_close(ours.loss(batch)["loss"].double(), wanted, atol=1e-5, rtol=1e-5)


def test_a_recording_is_the_same_alone_and_beside_others(tmp_path: Path) -> None:
    """Their group norm and their attention hear what stands behind a recording."""
    ours = read(published(tiny(), tmp_path))
    x, lengths = torch.randn(3, SAMPLES), torch.tensor([SAMPLES, 4321, 1300])
    check_alone(ours, x, lengths)
    assert ours.output_lengths(lengths).tolist() == [
        tiny()._get_feat_extract_output_lengths(length) for length in lengths.tolist()
    ]
    with pytest.raises(UserError, match="length 800 is too short for MoonshineStem"):
        ours.encode(x[:1, :800])


def test_files_return_bit_for_bit(tmp_path: Path) -> None:
    check_round_trip(published(tiny(), tmp_path / "tied"), tmp_path / "back")
    untied = published(tiny(tie_word_embeddings=False), tmp_path / "untied")
    check_round_trip(untied, tmp_path / "back_untied")


def test_texts_are_those_that_they_write(tmp_path: Path) -> None:
    theirs = tiny()
    ours = pretrained(str(published(theirs, tmp_path))).eval()
    assert isinstance(ours, Moonshine)
    ours.tokens_per_second = 15.0
    generator = torch.Generator().manual_seed(3)
    sounds = [torch.randn(n, generator=generator) for n in (SAMPLES, 4321, 7000, 6500)]
    batch = nn.utils.rnn.pad_sequence(sounds, batch_first=True, padding_value=float("nan"))
    lengths = torch.tensor([len(sound) for sound in sounds])
    with torch.no_grad():
        heard = ours.hear(batch, lengths)
        wider = ours.hear(batch, lengths, search=Search(beam=3, alternatives=2))
    rooms = (ours.output_lengths(lengths) * ours.seconds_per_token * 15).ceil().long().tolist()
    for sound, one, wide, room in zip(sounds, heard, wider, rooms, strict=True):
        found = theirs.generate(sound[None], do_sample=False, max_new_tokens=room)[0].tolist()
        wanted = [token for token in found[1:] if token != 2]
        assert list(one.tokens) == wanted
        scores = [score for _, score in wide.alternatives]
        assert len(scores) == 2
        assert scores == sorted(scores, reverse=True)
    assert len({one.text for one in heard}) > 1
    assert ours.tokenizer.decode([3, 4, 5, 6, 7]) == "a beb seede"


def test_transcribe_reads_a_folder_from_the_command_line(
    tmp_path: Path, make_manifest, capsys
) -> None:
    folder, out = published(tiny(), tmp_path / "hf"), tmp_path / "said.csv"
    assert main(["transcribe", "-m", str(folder), str(make_manifest()), "-o", str(out)]) == 0
    assert len(out.read_text().splitlines()) > 6
    capsys.readouterr()


def test_a_new_vocabulary_begins_with_start_and_end(tmp_path: Path) -> None:
    model = pretrained(str(published(tiny(), tmp_path)), new_vocabulary="characters")
    assert isinstance(model, Moonshine)
    assert model.tokenizer.vocabulary == ("<s>", "</s>")
    model.set_vocabulary(["<s>", "</s>", "a", "b"])
    text = torch.tensor([[2, 3], [3, 2]])
    batch = SpeechBatch(torch.randn(2, SAMPLES), torch.tensor([SAMPLES, 5000]), text, torch.tensor([2, 1]))  # fmt: skip
    assert model.loss(batch)["loss"].isfinite()
    assert model.decoder.head.weight is model.decoder.embedding.weight


def test_with_rotations_of_the_other_kind_it_is_another_model(tmp_path: Path) -> None:
    theirs = tiny()
    ours = read(published(theirs, tmp_path)).eval()
    x, text = torch.randn(1, SAMPLES), torch.tensor([[1, 3, 4, 5, 6]])
    wanted = theirs(x, decoder_input_ids=text).logits
    torch.testing.assert_close(ours(x, text), wanted, atol=1e-4, rtol=1e-4)
    for block in ours.encoder.encoder.blocks:
        block.mixer.function.position = Rotary(2, 20, share=0.9)
    assert not torch.allclose(ours(x, text), wanted, atol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_num_key_value_heads": 1}, "encoder_num_key_value_heads is 1 and there are 2"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type 'yarn'"),
    ],
)
def test_what_is_not_here_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = published(tiny(), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match=message):
        from_pretrained(folder)


def test_a_tokenizer_without_start_and_end_is_refused() -> None:
    encoder = Conformer(dim=16, depth=1, heads=2, stem=MoonshineStem, block=PreNormBlock)
    with pytest.raises(UserError, match="give the tokenizer a start and an end"):
        Moonshine(encoder=encoder, tokenizer=TextTokenizer())


def test_names_and_shapes_of_the_published_model_on_the_meta_device() -> None:
    # UsefulSensors/moonshine-tiny
    config = transformers.MoonshineConfig()
    with torch.device("meta"):
        theirs = transformers.MoonshineForConditionalGeneration(config)
        checkpoint = Checkpoint("published", config.to_dict(), (), Path("nowhere"))
        checkpoint.__dict__["state"] = theirs.state_dict()
        ours = adapter.build(checkpoint, {})
        found = adapter.table(checkpoint, ours).to_ours(checkpoint.state)
    assert {n: v.shape for n, v in found.items()} == {
        n: v.shape for n, v in ours.state_dict().items()
    }
