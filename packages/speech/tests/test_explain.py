"""What a decoder looks at beside what its words rest on."""

import csv
from functools import partial
from pathlib import Path

import pytest
import soundfile
import torch
from heard import BANDS, LETTERS, encoder, front_end, spoken, train
from spoken import tone
from torch import Tensor

from headway.core.cli import main
from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel
from headway.core.weights import save_pretrained
from headway.speech import explain
from headway.speech.explain import WrittenFrom, compared, written_from
from headway.speech.models import CTC, CTCAttention

ONE = partial(spoken, most=1, lasting=(10, 14), silence=(4, 60))


def recogniser(depth: int = 1) -> CTCAttention:
    return CTCAttention(
        encoder=encoder(),
        decoder=partial(DecoderLanguageModel, dim=32, depth=depth, heads=2, max_length=64),
        tokenizer=LETTERS,
        front_end=front_end(),
        ctc_weight=0.1,
    )


def said(letter: int, before: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Features of a letter that sounds for 12 of 108 frames, and how many they are."""
    row = 0.3 * torch.randn(108, BANDS, generator=generator)
    row[before : before + 12, letter] += 2.0
    return row[None], torch.tensor([108])


@pytest.mark.learns
def test_a_word_rests_on_where_it_was_said_and_attention_is_compared_with_that(
    seed: int, measured, monkeypatch
) -> None:
    torch.manual_seed(seed)
    model = recogniser()
    train(model, seed=seed, steps=250, lr=8e-3, batch=ONE)
    generator, whole = torch.Generator().manual_seed(7), explain._masked
    found, scores, blind = [], [], []
    for place in range(9):
        features, steps = said(1 + place % 6, 12 * place, generator)
        one = compared(model, features, steps, stretch=0.12)
        found.append(one.tokens.tolist() == [1 + place % 6] and int(one.saliency.argmax()) == place)
        scores.append(one.agreement())
        # The plain part: what is hidden is not what is said to be hidden.
        monkeypatch.setattr(
            explain, "_masked", lambda x, n, hidden, each: whole(x, n, hidden.roll(3, 0), each)
        )
        blind.append(compared(model, features, steps, stretch=0.12).agreement())
        monkeypatch.setattr(explain, "_masked", whole)
    measured("words found where they were said", sum(found) / 9, above=0.4)
    measured("agreement", sum(scores) / 9, above=0.4)
    measured("agreement above that without masks", (sum(scores) - sum(blind)) / 9, above=0.3)


def test_agreement_is_a_correlation() -> None:
    attention = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    same = WrittenFrom(torch.tensor([1, 2]), attention, 5 * attention, 0.2)
    torch.testing.assert_close(same.agreements(), torch.ones(2))
    assert same.agreement() == pytest.approx(1.0)
    other = same._replace(saliency=attention.flip(0))
    assert (other.agreements() < 0).all()
    assert other.agreement() < 0
    flat = same._replace(saliency=torch.ones(2, 3))
    assert flat.agreements().tolist() == [0, 0]


def test_from_the_command_line(tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    save_pretrained(recogniser(), tmp_path / "model")
    soundfile.write(tmp_path / "a.wav", tone(0.8, 16000, 300), 16000)
    (tmp_path / "b.wav").write_text("nothing")
    out, picture = tmp_path / "out.csv", tmp_path / "out.png"
    words = ["explain", "-m", str(tmp_path / "model"), str(tmp_path), "--domain", "speech"]
    words += ["--masks", "4", "--on-invalid", "keep", "-o", str(out), "--plot", str(picture)]
    assert main(words) == 0
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert rows[-1]["file"].endswith("b.wav")
    assert "not a recording" in rows[-1]["error"]
    for row in rows[:-1]:
        assert 0 <= float(row["attended"]) <= 0.9
        assert -1 <= float(row["agreement"]) <= 1
    assert picture.is_file() == (len(rows) > 1)


def test_what_cannot_be_explained_is_one_line() -> None:
    model = recogniser()
    with pytest.raises(UserError, match="CTC has no decoder that attends"):
        written_from(
            CTC(encoder=encoder(), tokenizer=LETTERS, front_end=front_end()), torch.zeros(16000)
        )
    with pytest.raises(UserError, match="61.0 s are more than the 60 s"):
        written_from(model, torch.zeros(61 * 16000))
    with pytest.raises(UserError, match="masks are at least 2"):
        written_from(model, torch.zeros(16000), masks=1)
