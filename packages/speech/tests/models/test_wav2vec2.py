"""wav2vec 2.0, MMS, HuBERT and WavLM of transformers, with copied weights."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from published_speech import STILL, TOKENS, check_alone, check_gradients, published, read, stirred
from torch import nn

from headway.core.cli.main import main
from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.positions import BucketedBias
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_published
from headway.core.weights.checkpoint import Checkpoint
from headway.speech.models import CTC, Wav2Vec2, pretrained
from headway.speech.tokenizers import TextTokenizer
from headway.speech.weights.wav2vec2 import adapter

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 9,
    "attn_implementation": "eager",
    **STILL,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
FAR = {"num_buckets": 8, "max_bucket_distance": 12}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2-base": ("Wav2Vec2", {}),
    "wav2vec2-large": ("Wav2Vec2", {**LARGE, "num_conv_pos_embeddings": 5}),
    "mms": ("Wav2Vec2", {**LARGE, "adapter_attn_dim": 4}),
    "hubert-base": ("Hubert", {}),
    "hubert-large": ("Hubert", {**LARGE, "feat_proj_layer_norm": False}),
    "wavlm-base": ("WavLM", FAR),
    "wavlm-large": ("WavLM", {**LARGE, **FAR}),
}
SAMPLES = 403


def tiny(kind: str, head: str = "ForCTC", **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    family, options = KINDS[kind]
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **options, **changes})
    return stirred(getattr(transformers, f"{family}{head}")(config)).eval()


def both(kind: str, folder: Path) -> tuple[CTC, Any]:
    theirs = tiny(kind)
    ours = read(published(theirs, folder)).eval()
    assert isinstance(ours.encoder, Wav2Vec2)
    return ours, theirs


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_theirs(kind: str, tmp_path: Path) -> None:
    ours, theirs = (model.double() for model in both(kind, tmp_path))
    x = torch.randn(2, SAMPLES).double()
    one, two = ours(x).log_probs, theirs(x).logits.log_softmax(-1)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    seed = torch.randn_like(one)
    one.backward(seed)
    two.backward(seed)
    check_gradients(tmp_path, ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_the_same_alone_and_beside_others(kind: str, tmp_path: Path) -> None:
    """The base models published normalise over time with all that stands behind a recording."""
    ours, theirs = both(kind, tmp_path)
    x, lengths = torch.randn(3, SAMPLES), torch.tensor([SAMPLES, 251, 97])
    check_alone(ours, x, lengths)
    found = ours(x.double(), lengths)
    mask = torch.arange(SAMPLES) < lengths[:, None]
    assert found.lengths.tolist() == theirs._get_feat_extract_output_lengths(lengths).tolist()
    with torch.no_grad():
        padded = theirs.double()(x.double() * mask, attention_mask=mask.long()).logits
    apart = (padded.log_softmax(-1) - found.log_probs)[1, : found.lengths[1]].abs().max()
    assert (apart < 1e-5) == (theirs.config.feat_extract_norm == "layer")


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_all_generations_return_bit_for_bit(kind: str, tmp_path: Path) -> None:
    theirs = tiny(kind, mask_time_prob=0.05)
    check_round_trip(published(theirs, tmp_path / "new"), tmp_path / "back")
    old = Path(shutil.copytree(tmp_path / "new", tmp_path / "old"))
    (old / "model.safetensors").unlink()
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}  # fmt: skip
    state = theirs.state_dict()
    for one, other in names.items():
        state = {name.replace(one, other): value for name, value in state.items()}
    assert sum(".weight_g" in name for name in state) == 1
    torch.save(state, old / "pytorch_model.bin")
    check_round_trip(old, tmp_path / "back_old")
    again, first = read(old).state_dict(), read(tmp_path / "new").state_dict()
    for name, value in first.items():
        assert torch.equal(again[name], value), name


def test_without_gates_it_is_another_model(tmp_path: Path) -> None:
    ours, theirs = both("wavlm-base", tmp_path)
    x = torch.randn(1, SAMPLES)
    wanted = theirs(x).logits.log_softmax(-1)
    torch.testing.assert_close(ours(x).log_probs, wanted, atol=1e-5, rtol=1e-5)
    for block in ours.encoder.encoder.blocks:
        gated = block.mixer.function
        plain = SelfAttention(16, 2, position=partial(BucketedBias, buckets=8, max_distance=12))
        plain.load_state_dict(gated.state_dict(), strict=False)
        plain.position.table = gated.relative.table  # pyright: ignore
        block.mixer.function = plain
    assert not torch.allclose(ours(x).log_probs, wanted, atol=1e-3)


def test_without_positions_or_their_lengths_it_is_another_model(tmp_path: Path) -> None:
    ours, theirs = both("wav2vec2-base", tmp_path)
    x = torch.randn(1, SAMPLES)
    wanted = theirs(x).logits.log_softmax(-1)
    position = ours.encoder.position
    with torch.no_grad():
        position.length.copy_(position._norms(position.direction))
        assert not torch.allclose(ours(x).log_probs, wanted, atol=1e-3)
        position.direction.zero_().add_(1e-6)
        position.length.zero_()
        position.bias.zero_()
    assert not torch.allclose(ours(x).log_probs, wanted, atol=1e-3)


@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-large", "wavlm-base"])
@pytest.mark.parametrize("normalise", [True, False])
def test_greedy_transcripts_are_those_of_their_processor(
    kind: str, normalise: bool, tmp_path: Path
) -> None:
    theirs: Any = tiny(kind)
    with torch.no_grad():
        theirs.lm_head.weight.mul_(40)
        # Every token is written as often as the others.
        theirs.lm_head.bias.sub_(theirs(torch.randn(1, 4000)).logits.mean(dim=(0, 1)))
        theirs.lm_head.bias[1:4] = -1e4  # their processor writes <unk> into a text
    folder = published(theirs, tmp_path / "hf", normalise=normalise)
    ours = pretrained(str(folder)).eval()
    assert ours.front_end.normalise == ("utterance" if normalise else "none")  # pyright: ignore
    processor = transformers.Wav2Vec2Processor.from_pretrained(folder)
    generator = torch.Generator().manual_seed(1)
    sounds = [0.1 + 0.3 * torch.randn(n, generator=generator) for n in (1600, 2100, 1234)]
    wanted = []
    for sound in sounds:
        given = processor(sound.numpy(), sampling_rate=16000, return_tensors="pt")
        with torch.no_grad():
            best = theirs(given.input_values).logits.argmax(-1)
        wanted += processor.batch_decode(best)
    batch = nn.utils.rnn.pad_sequence(sounds, batch_first=True, padding_value=float("nan"))
    with torch.no_grad():
        heard = ours.hear(batch, torch.tensor([len(sound) for sound in sounds]))
    # A space in front or two in a row are a matter of taste.
    assert [one.text for one in heard] == [" ".join(text.split()) for text in wanted]
    assert any(len(text.split()) > 1 for text in wanted)


def test_transcribe_reads_a_folder_from_the_command_line(
    tmp_path: Path, make_manifest, capsys
) -> None:
    folder = published(tiny("wav2vec2-base"), tmp_path / "hf")
    manifest, out = make_manifest(), tmp_path / "said.csv"
    assert main(["transcribe", "-m", str(folder), str(manifest), "-o", str(out)]) == 0
    assert len(out.read_text().splitlines()) > 6
    capsys.readouterr()


@pytest.mark.parametrize(
    ("kind", "head"),
    [("wav2vec2-large", "ForPreTraining"), ("hubert-base", "Model"), ("wavlm-base", "Model")],
)
def test_a_checkpoint_without_a_head_begins_a_vocabulary(
    kind: str, head: str, tmp_path: Path
) -> None:
    theirs = tiny(kind, head, mask_time_prob=0.05)
    theirs.save_pretrained(tmp_path / "hf")  # pyright: ignore
    model = pretrained(str(tmp_path / "hf"), new_vocabulary="characters")
    assert isinstance(model, CTC)
    head_names = {"head.classifier.bias", "head.classifier.weight"}
    report: Any = model.load_report
    assert set(report.missing) == set(report.reinitialised) == head_names
    assert report.unexpected == ()
    model.set_vocabulary(["<blank>", "a", "b"])
    inner = theirs.wav2vec2 if head == "ForPreTraining" else theirs
    x = torch.randn(2, SAMPLES)
    with torch.no_grad():
        torch.testing.assert_close(
            model.eval().encode(x).encoded,
            inner(x).last_hidden_state,  # pyright: ignore
            atol=1e-5,
            rtol=1e-5,
        )


def test_another_vocabulary_is_written_for_their_processor(tmp_path: Path) -> None:
    folder = published(tiny("wav2vec2-base"), tmp_path / "hf")
    model = pretrained(str(folder))
    assert model.tokenizer.vocabulary == tuple(" " if t == "|" else t for t in TOKENS)
    model.set_vocabulary([*model.tokenizer.vocabulary, "Z"])
    save_published(model, tmp_path / "new", like=folder)
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "new").eval()
    processor = transformers.Wav2Vec2Processor.from_pretrained(tmp_path / "new")
    assert processor.tokenizer.convert_tokens_to_ids(["|", "Z"]) == [4, 9]
    x = torch.randn(1, SAMPLES)
    with torch.no_grad():
        wanted = theirs(x).logits.log_softmax(-1)
        torch.testing.assert_close(model.eval()(x).log_probs, wanted, atol=1e-5, rtol=1e-5)


def test_of_several_languages_the_one_of_the_adapter_is_read(tmp_path: Path) -> None:
    folder = published(tiny("mms"), tmp_path / "hf")
    numbers = {token: number for number, token in enumerate(TOKENS)}
    other = {**{t: i for i, t in enumerate(TOKENS[:5])}, "ä": 5, "b": 6, "c": 7, "d": 8}
    (folder / "vocab.json").write_text(json.dumps({"eng": numbers, "deu": other}))
    assert pretrained(str(folder)).tokenizer.vocabulary[5] == "A"
    notes = json.loads((folder / "tokenizer_config.json").read_text())
    for language, found in (("deu", "ä"), ("fra", "")):
        notes["target_lang"] = language
        (folder / "tokenizer_config.json").write_text(json.dumps(notes))
        if found:
            assert pretrained(str(folder)).tokenizer.vocabulary[5] == found
        else:
            with pytest.raises(UserError, match="language 'fra', which its vocab.json lacks"):
                pretrained(str(folder))


def test_phonemes_are_words(tmp_path: Path) -> None:
    folder = published(tiny("wav2vec2-base"), tmp_path / "hf")
    notes = json.loads((folder / "tokenizer_config.json").read_text())
    notes["tokenizer_class"] = "Wav2Vec2PhonemeCTCTokenizer"
    (folder / "tokenizer_config.json").write_text(json.dumps(notes))
    tokenizer = pretrained(str(folder)).tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    assert tokenizer.decode([5, 6]) == "A B"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add_adapter": True}, "with add_adapter is not supported"),
        ({"hidden_act": "mish"}, "the activation 'mish' is not known"),
        ({"feat_extract_activation": "relu"}, "feat_extract_activation='relu', which is not read"),
    ],
)
def test_what_is_not_here_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = published(tiny("wav2vec2-base"), tmp_path / "hf")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match=message):
        from_pretrained(folder)


# By what they are called on the hub.
PUBLISHED = {
    "facebook/wav2vec2-base-960h": ("Wav2Vec2", {}),
    "facebook/wav2vec2-large-960h-lv60-self": ("Wav2Vec2", {**LARGE}),
    "facebook/mms-1b-all": ("Wav2Vec2", {**LARGE, "adapter_attn_dim": 16}),
    "facebook/hubert-large-ls960-ft": ("Hubert", {**LARGE}),
    "microsoft/wavlm-base-plus": ("WavLM", {}),
    "microsoft/wavlm-large": ("WavLM", {**LARGE}),
}
WIDE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_and_shapes_of_published_models_on_the_meta_device(name: str) -> None:
    family, options = PUBLISHED[name]
    sizes = WIDE if options.get("do_stable_layer_norm") else {}
    config = getattr(transformers, f"{family}Config")(**{**sizes, **options})
    [reader] = [one for one in adapter if one.model_type == config.model_type]
    with torch.device("meta"):
        theirs = getattr(transformers, f"{family}ForCTC")(config)
        checkpoint = Checkpoint("published", config.to_dict(), (), Path("nowhere"))
        checkpoint.__dict__["state"] = theirs.state_dict()
        ours = reader.build(checkpoint, {})
        found = reader.table(checkpoint, ours).to_ours(checkpoint.state)
    assert {n: v.shape for n, v in found.items()} == {
        n: v.shape for n, v in ours.state_dict().items()
    }
