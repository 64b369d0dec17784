"""Neighbours of which CTC hears the same become one token behind attention over all frames (Speechformer)."""

from functools import partial

import pytest
import torch
from heard import BANDS, LETTERS, front_end, spoken, token_errors, train
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import ConvAttention
from headway.core.resample.matching import Groups
from headway.core.weights import from_pretrained, save_pretrained
from headway.speech.layers import CTCCompression, GatedStem
from headway.speech.models import CTC, Speechformer, Transducer
from headway.speech.tokenizers import TextTokenizer

# Sounds of any length: as many means of equal length hold several, or none whole.
VARIED = partial(spoken, lasting=(3, 24), silence=(2, 24))


def encoder(compression=CTCCompression, *, warmup: int = 0, step: int = 1) -> Speechformer:
    return Speechformer(
        dim=32,
        depth=1,
        lower_depth=2,
        heads=2,
        stem=partial(GatedStem, features=BANDS, channels=32, step=step),
        compression=partial(compression, warmup=warmup),
    )


def recogniser(encoder: Speechformer, kind=CTC) -> CTC:
    return kind(encoder=encoder, tokenizer=LETTERS, front_end=front_end())


def test_neighbours_with_one_answer_become_their_mean_and_last_as_long() -> None:
    compression = CTCCompression(3, warmup=0)
    compression.take_tokenizer(TextTokenizer(vocabulary=("<blank>", "a", "b")))
    assert compression.head is not None
    with torch.no_grad():
        compression.head.classifier.weight.copy_(torch.eye(3))
        compression.head.classifier.bias.zero_()
    compression.train()(torch.zeros(1, 1, 3), Layout())
    blank, a, b = torch.eye(3)
    x = torch.stack([blank, a, 3 * a, b, blank, 2 * blank, blank])[None].repeat(2, 1, 1)
    out, layout, scores = compression.eval()(x, Layout(lengths=torch.tensor([7, 3])))
    torch.testing.assert_close(out[0], torch.stack([blank, 2 * a, b, 4 / 3 * blank]))
    assert layout.lengths.tolist() == [4, 2]
    assert layout.sizes.tolist() == [[1, 2, 1, 3], [1, 2, 1, 1]]
    torch.testing.assert_close(scores, x)


def test_attention_reads_keys_and_values_of_a_gated_convolution() -> None:
    torch.manual_seed(0)
    mixer = ConvAttention(8, 2, stride=4, window=8)
    x = torch.randn(2, 23, 8)
    whole, gate = mixer.condense.convolution(x.mT).chunk(2, dim=1)
    keys = (whole * gate.sigmoid()).mT
    assert keys.shape[1] == 23 // 4 + 1 == int(mixer.condense.left(torch.tensor(23)))
    k, v = mixer.kv(keys).chunk(2, dim=-1)
    heads = []
    for one in (slice(0, 4), slice(4, 8)):
        weights = (mixer.query(x)[..., one] @ k[..., one].mT / 2).softmax(-1)
        heads.append(weights @ v[..., one])
    torch.testing.assert_close(mixer(x), mixer.projection(torch.cat(heads, -1)))
    with pytest.raises(UserError, match="every token is heard by a key"):
        ConvAttention(8, 2, stride=4, window=3)


def test_an_item_gives_alone_what_it_gives_in_a_batch_and_times_are_kept() -> None:
    torch.manual_seed(0)
    model = recogniser(encoder())
    x = torch.randn(4, 61, BANDS)
    model.train().encode(x)
    model.eval()
    lengths = torch.tensor([61, 40, 23, 52])
    x = x.masked_fill(torch.arange(61)[None, :, None] >= lengths[:, None, None], torch.nan)
    encoded = model.encode(x, lengths)
    assert encoded.sizes is not None
    assert (encoded.lengths < lengths).all()
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode(x[row : row + 1, :length])
        count = int(alone.lengths[0])
        assert count == int(encoded.lengths[row])
        got = encoded.encoded[row, :count]
        torch.testing.assert_close(got, alone.encoded[0], atol=1e-5, rtol=1e-5)
        assert encoded.begins(row) == alone.begins(0)
        assert encoded.begins(row)[-1] == length


def test_it_learns_beside_any_recogniser_and_its_answers_move_with_the_vocabulary(
    tmp_path,
) -> None:
    torch.manual_seed(0)
    batch = spoken(4, torch.Generator().manual_seed(0))
    kinds = {"CTC": CTC, "Transducer": partial(Transducer, predictor_dim=8)}
    for kind in kinds.values():
        model = recogniser(encoder(), kind)
        head = model.encoder.compression.head.classifier
        model.train().loss(batch)
        penalty = model.encoder.compression.penalty
        penalty.backward()
        assert head.weight.grad.abs().sum() > 0
        model.encoder.compression.penalty = None
        model.eval().loss(batch)
        assert model.encoder.compression.penalty is None  # evaluation asks for nothing
        learned = head.weight[LETTERS.numbers["f"]].clone()
        model.set_vocabulary(("<blank>", *"fghi"))
        new = model.encoder.compression.head.classifier
        assert new.out_features == 5
        assert torch.equal(new.weight[1], learned)
        save_pretrained(model, tmp_path / "model")
        again = from_pretrained(tmp_path / "model")
        mine, theirs = (one.encode(batch.inputs, batch.lengths) for one in (model, again))
        assert mine.lengths.tolist() == theirs.lengths.tolist()
        torch.testing.assert_close(mine.encoded, theirs.encoded)
        again.encoder.lower.blocks[1].mixer.function.condense.convolution.bias.data.fill_(7)
        assert again.encoder.lower.blocks[0].mixer.function.condense.convolution.bias[0] == 7


class Evenly(CTCCompression):
    """The plain part: as many tokens, each the mean of a stretch of one length."""

    def groups(self, scores: Tensor, layout: Layout) -> Groups:
        found = super().groups(scores, layout)
        assert found.lengths is not None
        assert layout.lengths is not None
        index = torch.arange(scores.shape[1]) * found.lengths[:, None] // layout.lengths[:, None]
        index = torch.minimum(index, found.lengths[:, None] - 1)
        return Groups(index=index, reads=index, tokens=found.tokens, lengths=found.lengths)


@pytest.mark.learns
def test_runs_of_one_sound_lose_less_than_as_many_means_of_equal_length(
    seed: int, measured
) -> None:
    errors = {}
    for kind in (CTCCompression, Evenly):
        torch.manual_seed(seed)
        model = recogniser(encoder(kind, warmup=100, step=2))
        train(model, seed=seed, steps=160, batch=VARIED)
        errors[kind] = token_errors(model, batch=VARIED)
        heard = VARIED(60, torch.Generator().manual_seed(2))
        encoded = model.encode(heard.inputs, heard.lengths)
        rate = heard.lengths.sum() / encoded.lengths.sum()
        measured(f"frames of a token, {kind.__name__}", float(rate), above=10)
    measured("errors where runs become one", errors[CTCCompression], below=0.06)
    measured("errors more of equal stretches", errors[Evenly] - errors[CTCCompression], above=0.04)
