"""Front end, SpecAugment, vocabulary, decoding and batches."""

import numpy as np
import pytest
import torch
from torchaudio.compliance import kaldi

from headway.core.errors import UserError
from headway.core.training.sampling import EpochOrder
from headway.speech.data.batching import LengthBatches, SpeechItem, pad
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.spec_augment import SpecAugment
from headway.speech.data.tokenizer import Tokenizer, needed_frames
from headway.speech.decoding import greedy


def noise(seconds: float, rate: int = 16000, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate), generator=generator)


def test_features_are_kaldis_on_the_sixteen_bit_scale() -> None:
    front_end = FrontEnd(normalise="none")
    expected = kaldi.fbank(noise(1.0)[None] * 32768, num_mel_bins=80, dither=0.0)
    torch.testing.assert_close(front_end(noise(1.0)), expected)
    for seconds in (0.025, 0.03, 0.5, 1.0):
        assert front_end.steps(seconds) == len(front_end(noise(seconds)))
    with pytest.raises(UserError, match="160 samples at 16000 Hz are shorter than one window"):
        front_end(noise(0.01))


def test_statistics_are_those_of_all_training_frames() -> None:
    recordings = [noise(0.3, seed=1), 3 * noise(0.7, seed=2)]
    front_end = FrontEnd(mels=20)
    assert not front_end.complete
    with pytest.raises(UserError, match="needs mean and std"):
        front_end(recordings[0])
    fitted = front_end.with_statistics(recordings)
    frames = torch.cat([fitted(recording) for recording in recordings])
    torch.testing.assert_close(frames.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(0, correction=0), torch.ones(20), atol=1e-4, rtol=0)
    again = FrontEnd.from_dict(fitted.as_dict())
    torch.testing.assert_close(again(recordings[0]), fitted(recordings[0]))


def test_an_utterance_is_normalised_by_itself() -> None:
    features = FrontEnd(mels=20, normalise="utterance")(3 * noise(0.5))
    torch.testing.assert_close(features.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    samples = FrontEnd(kind="waveform", normalise="utterance")(5 + 3 * noise(0.5))
    assert abs(samples.mean()) < 1e-4
    assert samples.std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(UserError, match="a waveform has no bands"):
        FrontEnd(kind="waveform")


def test_masked_stretches_are_a_share_of_the_length() -> None:
    augment = SpecAugment(bands=1, band_width=4, stretches=2, stretch_share=0.1)
    torch.manual_seed(0)
    widest = {20: 0, 400: 0}
    for _ in range(60):
        for frames in widest:
            x = torch.randn(frames, 16)
            hidden = (augment(x) == x.mean()).float()
            times, bands = hidden.mean(1) == 1, hidden.mean(0) == 1
            widest[frames] = max(widest[frames], int(times.sum()))
            assert bands.sum() <= 4
            # Nothing but whole bands and stretches is masked.
            assert torch.equal(hidden.bool(), times[:, None] | bands)
    # Two stretches of at most a tenth; masks of a fixed width would wipe out the short recording.
    assert 2 <= widest[20] <= 4
    assert 40 <= widest[400] <= 80


def test_augmentation_draws_from_the_generator_alone() -> None:
    augment, x = SpecAugment(), torch.randn(100, 80)
    torch.manual_seed(3)
    first = augment(x)
    assert not torch.equal(first, x)
    torch.manual_seed(3)
    assert torch.equal(augment(x), first)


def test_a_vocabulary_is_what_occurs_and_refuses_the_rest() -> None:
    letters = Tokenizer.from_texts(["Ba  b", "c"], unit="characters", case="lower")
    assert letters.tokens == ("<blank>", " ", "a", "b", "c")
    assert letters.encode(" AB c ") == [2, 3, 1, 4]
    assert letters.decode([2, 3, 1, 4, 0]) == "ab c"
    with pytest.raises(UserError, match="its text has 'é', not in the vocabulary of 5"):
        letters.encode("é")
    words = Tokenizer.from_texts(["one two", "two"], unit="words", case="upper")
    assert words.decode(words.encode("two one two")) == "TWO ONE TWO"
    assert Tokenizer.from_dict(words.as_dict()) == words
    assert needed_frames([1, 1, 2, 2, 2]) == 8


def test_greedy_decoding_joins_repeats_and_drops_the_blank() -> None:
    path = [0, 2, 2, 0, 2, 1, 1, 0, 3, 3]
    probabilities = torch.full((1, 10, 4), 0.1)
    for frame, entry in enumerate(path):
        probabilities[0, frame, entry] = 0.7
    probabilities[0, 6] = torch.tensor([0.05, 0.9, 0.02, 0.03])
    [heard] = greedy(probabilities.log(), torch.tensor([8]))
    assert heard.entries == [2, 2, 1]  # what lies beyond the length is not heard
    assert heard.frames == [1, 4, 5]
    assert heard.confidence == pytest.approx((0.7 * 0.7 * 0.9) ** (1 / 3), rel=1e-5)
    [silent] = greedy(probabilities[:, :1].log(), torch.tensor([1]))
    assert silent.entries == []
    assert silent.confidence == pytest.approx(0.7)


def test_batches_stay_in_the_budget_and_hold_everything_once() -> None:
    seconds = np.random.default_rng(0).uniform(0.5, 12, 200).tolist()
    order = EpochOrder(200, seed=1)
    batches = LengthBatches(order, seconds, batch_seconds=30, batch_size=16)
    epochs = []
    for epoch in (0, 1, 0):
        order.epoch = epoch
        found = list(batches)
        assert len(found) == len(batches)
        assert sorted(index for batch in found for index in batch) == list(range(200))
        for batch in found:
            assert len(batch) * max(seconds[i] for i in batch) <= 30 or len(batch) == 1
            assert len(batch) <= 16
        epochs.append(found)
    assert epochs[0] == epochs[2] != epochs[1]
    padded = sum(len(batch) * max(seconds[i] for i in batch) for batch in epochs[0])
    assert sum(seconds) / padded > 0.8  # random batches of this data are a third padding
    assert list(LengthBatches([0], [99.0], batch_seconds=30, batch_size=4)) == [[0]]  # pyright: ignore


def test_a_batch_is_padded_with_zeros_and_leaves_out_what_was_not_read() -> None:
    items = [SpeechItem(torch.ones(n, 3), torch.ones(n).long()) for n in (2, 4)]
    batch = pad([items[0], None, items[1]])
    assert batch.inputs.shape == (2, 4, 3)
    assert batch.inputs[0, 2:].abs().max() == 0
    assert (batch.lengths.tolist(), batch.target_lengths.tolist()) == ([2, 4], [2, 4])
    with pytest.raises(UserError, match="no recording of this batch can be read"):
        pad([None])


def test_any_entry_may_be_the_blank() -> None:
    path = [3, 2, 2, 3, 2, 0, 0]
    scores = torch.full((1, 7, 4), -5.0)
    for frame, entry in enumerate(path):
        scores[0, frame, entry] = 0.0
    log_probs = scores.log_softmax(-1)
    [heard] = greedy(log_probs, torch.tensor([7]), blank=3)
    assert heard.entries == [2, 2, 0]
    [other] = greedy(log_probs, torch.tensor([7]))
    assert other.entries == [3, 2, 3, 2]


def test_a_recording_is_normalised_by_its_own_deviation() -> None:
    for part in (noise(0.5), noise(0.25, seed=1)):
        out = FrontEnd(kind="waveform", normalise="utterance")(part)
        # The variance of all samples: the other one is off by 1.2e-4 and more here.
        assert float(out.double().square().mean()) == pytest.approx(1.0, abs=3e-5)
        assert float(out.double().mean()) == pytest.approx(0.0, abs=1e-6)
    few = torch.tensor([1.0, -1.0] * 200)  # of 400 samples the other variance differs by .25 %
    out = FrontEnd(kind="waveform", normalise="utterance")(few)
    torch.testing.assert_close(out.abs(), torch.ones(400), atol=1e-5, rtol=0)
