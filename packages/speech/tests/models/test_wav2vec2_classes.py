"""Classifiers of recordings over wav2vec 2.0, HuBERT and WavLM of transformers, with copied weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models.test_wav2vec2 import KINDS, SAMPLES, tiny
from published_speech import check_gradients, read

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import save_published
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import Conformer, SpeechClassifier, pretrained_classifier

HEAD = "ForSequenceClassification"
NAMES = ["calm", "angry", "sad"]


def published(kind: str, folder: Path, *, every_layer: bool = False) -> Any:
    labels = {"id2label": dict(enumerate(NAMES)), "label2id": {n: i for i, n in enumerate(NAMES)}}
    sizes = {
        "classifier_proj_size": 6,
        "use_weighted_layer_sum": every_layer,
        "mask_time_prob": 0.05,
    }
    model = tiny(kind, HEAD, **labels, **sizes)
    if every_layer:
        torch.nn.init.normal_(model.layer_weights)  # pyright: ignore
    model.save_pretrained(folder)  # pyright: ignore
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return model


@pytest.mark.parametrize("every_layer", [False, True])
@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-large", "wavlm-base"])
def test_logits_and_gradients_are_theirs(kind: str, every_layer: bool, tmp_path: Path) -> None:
    theirs = published(kind, tmp_path / "hf", every_layer=every_layer).double()
    check_round_trip(tmp_path / "hf", tmp_path / "back")
    ours = read(tmp_path / "hf").eval().double()
    assert isinstance(ours, SpeechClassifier)
    assert ours.classes == tuple(NAMES)
    x = torch.randn(2, SAMPLES).double()
    one, two = ours(x), theirs(x).logits
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    if every_layer and kind == "hubert-large":
        return  # the norm at the end is read by nobody
    seed = torch.randn_like(one)
    one.backward(seed)
    two.backward(seed)
    check_gradients(tmp_path / "hf", ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_is_the_same_alone_and_beside_others(kind: str, tmp_path: Path) -> None:
    published(kind, tmp_path, every_layer=True)
    model = pretrained_classifier(str(tmp_path)).eval()
    x, lengths = torch.randn(2, SAMPLES), torch.tensor([SAMPLES, 251])
    x[1, 251:] = torch.nan
    with torch.no_grad():
        both = model.hear(x, lengths)
        torch.testing.assert_close(both[1:], model.hear(x[1:, :251]), atol=1e-5, rtol=1e-5)


def test_other_classes_are_written_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    published("wav2vec2-base", tmp_path / "hf")
    model = pretrained_classifier(str(tmp_path / "hf"))
    model.set_classes(["yes", "no"])
    save_published(model, tmp_path / "new", like=tmp_path / "hf")
    theirs = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path / "new").eval()
    assert theirs.config.id2label == {0: "yes", 1: "no"}
    x = torch.randn(1, SAMPLES)
    torch.testing.assert_close(model.eval()(x), theirs(x).logits, atol=1e-5, rtol=1e-5)
    other = Conformer(dim=8, depth=1, heads=2, stem=lambda dim: ConvolutionSubsampling(dim, features=20))  # fmt: skip
    with pytest.raises(UserError, match="every_layer is read of a Wav2Vec2"):
        SpeechClassifier(encoder=other, every_layer=True)
