"""Paraformer: integrate-and-fire against a plain loop, and that one pass writes what was said."""

from functools import partial

import pytest
import torch
from heard import LETTERS, encoder, front_end, spoken, token_errors, train
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.batch import SpeechBatch
from headway.speech.layers import IntegrateAndFire, integrate_and_fire
from headway.speech.layers.padding import zero_beyond
from headway.speech.models import Paraformer, ParallelDecoder
from headway.speech.search import Search


class Uniform(IntegrateAndFire):
    """Gives every frame the same weight, whatever is heard: so many tokens in a second, evenly in time."""

    def weights(self, x: Tensor, lengths: Tensor) -> Tensor:
        return zero_beyond(self.weight.bias.sigmoid().expand(x.shape[:2]), lengths)


def paraformer(**options) -> Paraformer:
    return Paraformer(
        encoder=encoder(),
        tokenizer=LETTERS,
        front_end=front_end(),
        decoder=partial(ParallelDecoder, depth=1, heads=2),
        **options,
    )


def by_hand(x: Tensor, weights: Tensor) -> tuple[list[Tensor], list[int]]:
    """Frame by frame, as the paper has it: at most one token at a frame."""
    tokens, ends = [], []
    total, token = 0.0, torch.zeros_like(x[0])
    for frame, weight in enumerate(weights.tolist()):
        if total + weight < 1:
            total, token = total + weight, token + weight * x[frame]
            continue
        first = 1 - total
        tokens.append(token + first * x[frame])
        ends.append(frame + 1)
        total = weight - first
        token = total * x[frame]
    return tokens, ends


def test_tokens_are_the_sums_of_the_frames_between_two_fires() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        x, weights = torch.randn(12, 3, dtype=torch.float64), 0.9 * torch.rand(12).double()
        wanted, ends = by_hand(x, weights)
        found, _, found_ends = integrate_and_fire(x[None], weights[None], len(wanted))
        torch.testing.assert_close(found[0], torch.stack(wanted))
        assert found_ends[0].tolist() == ends


def test_as_many_tokens_as_said_and_what_is_left_over_is_one_if_it_is_enough() -> None:
    counter = IntegrateAndFire(3, dropout=0.0, tail=0.4)
    x, lengths = torch.randn(2, 10, 3), torch.tensor([10, 6])
    fired = counter(x, lengths, torch.tensor([4, 2]))
    assert fired.tokens.shape == (2, 4, 3)
    assert fired.tokens[1, 2:].abs().sum() == 0
    with torch.no_grad():
        counter.weight.weight.zero_()
        for share, number in (
            (0.35, 3),
            (0.37, 4),
        ):  # ten times: 3.5 and 3.7; a tail of .4 is added
            counter.weight.bias.fill_(torch.tensor(share).logit())
            assert counter(x, lengths).lengths[0] == number


def test_what_stands_beyond_an_item_is_nothing() -> None:
    torch.manual_seed(0)
    counter = IntegrateAndFire(3, dropout=0.0)
    x = torch.randn(1, 6, 3)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 4), value=torch.nan)
    short, long = counter(x, torch.tensor([6])), counter(padded, torch.tensor([6]))
    torch.testing.assert_close(short, long)
    long.tokens.sum().backward()
    assert torch.isfinite(counter.convolution.weight.grad).all()  # pyright: ignore


@pytest.mark.learns
def test_one_pass_writes_what_was_said_where_the_counter_finds_it(seed: int, measured) -> None:
    errors = []
    for counter in (IntegrateAndFire, Uniform):
        torch.manual_seed(seed)
        model = paraformer(counter=counter)
        losses = train(model, seed=seed, steps=160, lr=8e-3)
        errors.append(token_errors(model))
        if counter is IntegrateAndFire:
            number = torch.stack([step["number"] for step in losses[-20:]]).mean()
            measured("error in the number of tokens", number, below=0.6)
    measured("token errors", errors[0], below=0.3)
    measured("token errors of even tokens", errors[1], above=0.35)


def test_a_share_of_what_was_wrong_is_shown() -> None:
    torch.manual_seed(0)
    model = paraformer(glance=0.5)
    targets = torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, -100, -100, -100, -100]])
    guessed = torch.tensor([[1, 0, 0, 0, 0, 6], [0, 0, 0, 0, 0, 0]])
    seen = torch.zeros(2, 6)
    for _ in range(200):
        shown = model._shown(targets, guessed)
        assert shown.sum(1).tolist() == [2, 1]  # half of four and of two
        seen += shown
    assert (seen[0] > 30).all()  # any place, right ones too
    assert seen[1, 2:].sum() == 0
    right = targets.clamp_min(0)
    assert model._shown(targets, right).sum() == 0


def batch_of() -> SpeechBatch:
    return spoken(3, torch.Generator().manual_seed(0), most=3)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model, batch = paraformer().eval(), batch_of()
    wanted = model.loss(batch)
    inputs = torch.nn.functional.pad(batch.inputs, (0, 0, 0, 8), value=torch.nan)
    targets = torch.nn.functional.pad(batch.targets, (0, 2), value=-100)
    found = model.loss(batch._replace(inputs=inputs, targets=targets))
    torch.testing.assert_close(found, wanted)
    found["loss"].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    passes = []
    model.decoder.register_forward_hook(lambda *_: passes.append(1))
    together = model.transcribe(model.encode(batch.inputs, batch.lengths))
    assert len(passes) == 1  # however many tokens
    for row, one in enumerate(together):
        alone = batch.inputs[row : row + 1, : batch.lengths[row]]
        assert list(model.transcribe(model.encode(alone))[0].tokens) == list(one.tokens)


def test_the_vocabulary_grows_and_a_beam_is_refused() -> None:
    torch.manual_seed(0)
    model = paraformer().eval()
    model.set_vocabulary((*LETTERS.vocabulary, "g"))
    assert model.head.out_features == model.embedding.num_embeddings == 8
    assert torch.isfinite(model.loss(batch_of())["loss"])
    batch = batch_of()
    with pytest.raises(UserError, match="all tokens at once; leave beam at 1"):
        model.transcribe(model.encode(batch.inputs), search=Search(beam=2))
    with pytest.raises(UserError, match="tail 2 between"):
        IntegrateAndFire(3, tail=2)
