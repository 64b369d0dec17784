"""Transducers: what they learn, what durations save, and what holds for all recognisers."""

from functools import partial

import pytest
import torch
from heard import BANDS, LETTERS, encoder, front_end, spoken, token_errors, train
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.batch import SpeechBatch
from headway.speech.layers import JointNetwork, RecurrentPredictor, StatelessPredictor
from headway.speech.losses import transducer_loss
from headway.speech.models import Transducer
from headway.speech.search import Search
from headway.speech.tokenizers import TextTokenizer

SHORT = partial(spoken, most=2, lasting=(6, 10), silence=(2, 8))


def transducer(**options) -> Transducer:
    own = {"predictor_dim": 32, "joint": partial(JointNetwork, dim=32), "encoder": encoder()}
    return Transducer(tokenizer=LETTERS, front_end=front_end(), **(own | options))


class Forgetful(StatelessPredictor):
    """Knows nothing of the text."""

    def _convolved(self, written: Tensor) -> Tensor:
        return 0 * super()._convolved(written)


def taking_turns(items: int, generator: torch.Generator) -> SpeechBatch:
    """Letters whose band says which pair it is of; which of the two, that takes turns."""
    rows, texts = [], []
    for _ in range(items):
        size = int(torch.randint(2, 4, (), generator=generator))
        pairs = torch.randint(2, (size,), generator=generator)
        text = 1 + 2 * pairs + torch.arange(size) % 2
        # So long that the encoder hears neither the beginning nor the letter before.
        silence = torch.zeros(16, BANDS)
        parts = [silence]
        for pair in pairs:
            sound = torch.zeros(8, BANDS)
            sound[:, 1 + pair] = 2.0
            parts += [sound, silence]
        row = torch.cat(parts)
        rows.append(row + 0.3 * torch.randn(row.shape, generator=generator))
        texts.append(text)
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    lengths, sizes = (torch.tensor([len(x) for x in xs]) for xs in (rows, texts))
    return SpeechBatch(pad(rows), lengths, pad(texts), sizes)


@pytest.mark.learns
@pytest.mark.parametrize("predictor", [RecurrentPredictor, StatelessPredictor])
def test_transducers_learn_to_write(seed: int, measured, predictor) -> None:
    torch.manual_seed(seed)
    model = transducer(predictor=predictor)
    train(model, seed=seed, steps=160, lr=8e-3, items=8, batch=SHORT)
    # Without learning it is 1.
    measured("token errors", token_errors(model, batch=SHORT), below=0.4)
    measured(
        "with a beam", token_errors(model, batch=SHORT, items=20, search=Search(beam=4)), below=0.4
    )


@pytest.mark.learns
def test_what_was_written_decides_what_comes_next(seed: int, measured) -> None:
    errors = []
    for predictor in (partial(StatelessPredictor, reach=1), partial(Forgetful, reach=1)):
        torch.manual_seed(seed)
        model = transducer(predictor=predictor, encoder=encoder(window=1), durations=(0, 1, 2, 4))
        train(model, seed=seed, steps=240, lr=8e-3, items=8, batch=taking_turns)
        errors.append(token_errors(model, batch=taking_turns))
    measured("token errors", errors[0], below=0.3)
    measured("token errors without a memory", errors[1], above=0.25)
    measured("what the memory saves", errors[1] - errors[0], above=0.15)


@pytest.mark.learns
def test_durations_look_at_a_part_of_the_frames(seed: int, measured) -> None:
    torch.manual_seed(seed)
    model = transducer(durations=(0, 1, 2, 3, 4))
    train(model, seed=seed, steps=160, lr=8e-3, items=8, batch=SHORT)
    looks = []
    model.joint.register_forward_hook(lambda part, given, scores: looks.append(scores.shape[0]))
    measured("token errors", token_errors(model, batch=SHORT), below=0.4)
    heard = SHORT(60, torch.Generator().manual_seed(12345))
    frames = int(model.output_lengths(heard.lengths).sum())
    # The usual transducer looks at every frame once, and once more for each token.
    measured("looks for a frame", sum(looks) / frames, below=0.95)


def batch_of(seed: int = 0) -> SpeechBatch:
    return spoken(3, torch.Generator().manual_seed(seed), most=3)


@pytest.mark.parametrize("durations", [(), (0, 1, 2)])
def test_the_loss_is_that_of_each_item_alone_for_a_token(durations) -> None:
    torch.manual_seed(0)
    model, batch = transducer(durations=durations).eval(), batch_of()
    found = model.loss(batch)["loss"]
    losses = []
    for row in range(3):
        encoded, lengths, *_ = model.encode(batch.inputs[row : row + 1, : batch.lengths[row]])
        size = int(batch.target_lengths[row])
        targets = batch.targets[row : row + 1, :size]
        alone = transducer_loss(
            model.joint,
            encoded,
            model.predictor(targets),
            targets,
            lengths,
            batch.target_lengths[row : row + 1],
            durations=durations,
        )
        losses.append(alone / size)
    torch.testing.assert_close(found, torch.cat(losses).mean(), rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model, batch = transducer().eval(), batch_of()
    wanted = model.loss(batch)["loss"]
    inputs = torch.nn.functional.pad(batch.inputs, (0, 0, 0, 8), value=torch.nan)
    targets = torch.nn.functional.pad(batch.targets, (0, 2), value=-100)
    found = model.loss(batch._replace(inputs=inputs, targets=targets))["loss"]
    torch.testing.assert_close(found, wanted)
    found.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_vocabulary_grows_and_keeps_what_was_learned() -> None:
    torch.manual_seed(0)
    model = transducer(durations=(0, 1)).eval()
    before = model.joint.out.weight[:7].detach().clone()
    lasting = model.joint.lasting
    model.set_vocabulary((*LETTERS.vocabulary, "g"))
    assert model.joint.lasting is lasting
    torch.testing.assert_close(model.joint.out.weight[:7], before)
    assert model.predictor.embedding.weight.shape[0] == len(model.tokenizer) == 8
    assert torch.isfinite(model.loss(batch_of())["loss"])
    model.begin_vocabulary("characters")
    assert model.tokenizer.vocabulary == ("<blank>",)


def test_texts_have_times_and_alternatives() -> None:
    torch.manual_seed(0)
    model, batch = transducer().eval(), batch_of()
    with torch.no_grad():
        model.joint.out.bias[0] -= 0.5  # so that it says something
        encoded = model.encode(batch.inputs, batch.lengths)
        greedy = model.transcribe(encoded)
        beam = model.transcribe(encoded, search=Search(beam=4, alternatives=3))
    for one in greedy:
        assert len(one.frames) == len(one.tokens)
        assert one.text == model.tokenizer.decode(one.tokens)
    for one in beam:
        scores = [other.score for other in one.alternatives]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    assert model.needed([1, 2]) == 1
    assert transducer(durations=(1, 2)).needed([1, 2]) == 3


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(UserError, match="most is 0"):
        transducer(most=0)
    with pytest.raises(UserError, match="give the tokenizer a blank"):
        Transducer(encoder=encoder(), tokenizer=TextTokenizer(blank=None), front_end=front_end())
