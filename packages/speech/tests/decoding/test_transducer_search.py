"""Searches of transducers against the sum over all alignments."""

import itertools

import pytest
import torch

from headway.speech.decoding import HotWords, TransducerParts, beam_transducer, greedy_transducer
from headway.speech.layers import JointNetwork, RecurrentPredictor, StatelessPredictor
from headway.speech.losses import transducer_loss


def parts(
    durations=(), *, recurrent: bool = True, most: int = 5, scale: float = 3.0
) -> TransducerParts:
    torch.manual_seed(0)
    kind = RecurrentPredictor if recurrent else StatelessPredictor
    predictor = kind(6, 3, blank=1)
    joint = JointNetwork(4, 6, 3, len(durations), dim=8)
    for parameter in [*predictor.parameters(), *joint.parameters()]:
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        joint.out.weight *= scale
    return TransducerParts(predictor, joint, 1, durations, most)


def likelihood(made: TransducerParts, encoded: torch.Tensor, text: tuple[int, ...]) -> float:
    targets = torch.tensor([text], dtype=torch.long).reshape(1, len(text))
    loss = transducer_loss(
        made.joint,
        encoded[None],
        made.predictor(targets),  # pyright: ignore
        targets,
        torch.tensor([len(encoded)]),
        torch.tensor([len(text)]),
        blank=made.blank,
        durations=made.durations,
    )
    return -float(loss.detach())


@pytest.mark.parametrize("durations", [(), (0, 1, 2), (1, 2)])
@pytest.mark.parametrize("recurrent", [True, False])
def test_the_best_texts_are_those_of_all_alignments(durations, recurrent: bool) -> None:
    made, encoded = parts(durations, recurrent=recurrent), torch.randn(3, 4)
    texts = [text for size in range(5) for text in itertools.product((0, 2), repeat=size)]
    wanted = {text: likelihood(made, encoded, text) for text in texts}
    found = beam_transducer(made, encoded, beams=2000, best=8)
    # Texts of at most five tokens at a frame: longer ones are rare enough to stand behind.
    best = sorted(wanted, key=lambda text: -wanted[text])[:8]
    short = [one for one in found if len(one.tokens) < 5]
    assert [one.tokens for one in short] == best[: len(short)]
    assert len(short) >= 4
    for one in short:
        assert one.score == pytest.approx(wanted[tuple(one.tokens)], abs=1e-5)


@pytest.mark.parametrize("durations", [(), (0, 1, 2)])
def test_one_beam_and_greedy_take_the_same_steps_alone_and_in_a_batch(durations) -> None:
    made = parts(durations, most=3)
    encoded, lengths = torch.randn(4, 9, 4), torch.tensor([9, 4, 7, 1])
    encoded[1, 4:], encoded[2, 7:], encoded[3, 1:] = torch.nan, torch.nan, torch.nan
    together = greedy_transducer(made, encoded, lengths)
    for row, found in enumerate(together):
        real = encoded[row : row + 1, : lengths[row]]
        [alone] = greedy_transducer(made, real, lengths[row : row + 1])
        assert (alone.tokens, alone.frames) == (found.tokens, found.frames)
        entries, frames, score = by_hand(made, real[0])
        assert (entries, frames) == (found.tokens, found.frames)
        assert found.score == pytest.approx(score, abs=1e-4)


def by_hand(made: TransducerParts, encoded: torch.Tensor) -> tuple[list[int], list[int], float]:
    """One step after the other, as the paper of transducers has it."""
    written, state = made.predictor.start(1, encoded.device)
    frame, begun, total = 0, 0, 0.0
    entries: list[int] = []
    frames: list[int] = []
    while frame < len(encoded):
        scores, lasting = made.scores(encoded[frame][None], written)
        sure, best = scores[0].max(0)
        step, entry = (1 if best == made.blank else 0), int(best)
        if lasting is not None:
            longest, place = lasting[0].max(0)
            sure, step = sure + longest, made.durations[int(place)]
            step = max(1, step) if entry == made.blank else step
        total += float(sure.detach())
        if entry != made.blank:
            entries.append(entry)
            frames.append(frame)
            written, state = made.predictor.step(best[None], state)
            begun += 1
            if step == 0 and begun >= made.most:
                step = 1
        if step:
            begun = 0
        frame += step
    return entries, frames, total


def test_the_predictor_runs_once_for_the_next_token_of_all_rows(monkeypatch) -> None:
    made, runs = parts(most=3), []
    step = made.predictor.step
    monkeypatch.setattr(made.predictor, "step", lambda *told: (runs.append(1), step(*told))[1])
    encoded = torch.randn(6, 12, 4)
    found = greedy_transducer(made, encoded, torch.full((6,), 12))
    sizes = [len(one.tokens) for one in found]
    assert len(set(sizes)) > 1
    # The first run is the start of all texts; frame by frame there would be one at every frame.
    assert len(runs) == 1 + max(sizes)


def test_steps_of_a_predictor_are_those_of_the_whole_text() -> None:
    for recurrent in (True, False):
        predictor = parts(recurrent=recurrent).predictor
        text = torch.tensor([[0, 2, 2, 0], [2, 0, 0, -1]])
        whole = predictor(text)  # pyright: ignore
        out, state = predictor.start(2, text.device)
        steps = [out]
        for entries in text[:, :3].T:
            out, state = predictor.step(entries, state)
            steps.append(out)
        torch.testing.assert_close(torch.stack(steps, 1), whole[:, :4])


def test_a_beam_finds_what_greedy_steps_miss_and_hot_words_help() -> None:
    """Two alignments of a text are likelier together than the one that greedy steps take."""
    made = parts()
    better, gain = 0, 0.0
    for seed in range(20):
        encoded = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed))
        [greedy] = greedy_transducer(made, encoded[None], torch.tensor([4]))
        [found] = beam_transducer(made, encoded, beams=10)
        one, other = (likelihood(made, encoded, tuple(x.tokens)) for x in (found, greedy))
        gain += one - other
        better += tuple(found.tokens) != tuple(greedy.tokens)
        [hot] = beam_transducer(made, encoded, beams=10, guides=[HotWords([(2, 0)], bonus=50.0)])
        assert (2, 0) in itertools.pairwise(hot.tokens)
    assert better >= 1
    assert gain > 1
