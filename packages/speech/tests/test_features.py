"""Front end, SpecAugment, vocabulary, decoding and batches."""

import numpy as np
import pytest
import torch
from torchaudio.compliance import kaldi

from headway.core.errors import InputError, UserError
from headway.core.training.sampling import EpochOrder
from headway.speech.batch import SpeechItem, pad
from headway.speech.data.batching import LengthBatches
from headway.speech.decoding import greedy
from headway.speech.front_ends import (
    KaldiFbank,
    LogMel,
    SpecAugment,
    StackedFbank,
    Waveform,
)
from headway.speech.tokenizers import TextTokenizer, text_tokens


def noise(seconds: float, rate: int = 16000, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * rate), generator=generator)


@pytest.mark.parametrize(("rate", "mels"), [(16000, 80), (8000, 40), (44100, 128)])
def test_features_are_kaldis_on_the_sixteen_bit_scale(rate: int, mels: int) -> None:
    front_end = KaldiFbank(sample_rate=rate, mels=mels, normalise="none")
    sound = noise(1.0, rate)
    expected = kaldi.fbank(
        sound[None] * 32768, num_mel_bins=mels, dither=0.0, sample_frequency=float(rate)
    )
    found = front_end(sound[None])
    torch.testing.assert_close(found.inputs[0], expected, atol=2e-4, rtol=1e-4)
    assert found.lengths.tolist() == [len(expected)]
    with pytest.raises(UserError, match=f"160 samples at {rate} Hz are shorter than one window"):
        front_end(noise(1.0)[None, :160])


def test_bands_without_a_frequency_are_silly() -> None:
    with pytest.raises(UserError, match="of 128 mel bands hold no frequency .* at 8000 Hz"):
        KaldiFbank(sample_rate=8000, mels=128)


FRONT_ENDS = {
    "none": KaldiFbank(mels=20, normalise="none"),
    "utterance": KaldiFbank(mels=20, normalise="utterance"),
    "mel": LogMel(sample_rate=16000, mels=20, size=512, hop=160, normalise="utterance"),
    "stacked": StackedFbank(mels=20),
    "samples": Waveform(),
    "plain samples": Waveform(normalise="none"),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_a_recording_alone_and_in_a_batch_gives_the_same(name: str) -> None:
    front_end = FRONT_ENDS[name]
    long, short = noise(0.7), 2 * noise(0.31, seed=1)
    both = torch.full((2, len(long)), torch.nan)
    both[0], both[1, : len(short)] = long, short
    found = front_end(both, torch.tensor([len(long), len(short)]))
    for place, alone in enumerate((long, short)):
        [expected], [length] = front_end(alone[None])
        assert length == found.lengths[place] == len(expected)
        torch.testing.assert_close(found.inputs[place, :length], expected, atol=1e-5, rtol=1e-5)
        assert not found.inputs[place, length:].any()
        assert int(front_end.output_lengths(torch.tensor(len(alone)))) == length


def test_statistics_are_those_of_all_training_frames() -> None:
    recordings = [noise(0.3, seed=1), 3 * noise(0.7, seed=2)]
    front_end = KaldiFbank(mels=20)
    assert not front_end.complete
    with pytest.raises(UserError, match="needs mean and deviation"):
        front_end(recordings[0][None])
    front_end.measure(recordings)
    frames = torch.cat([front_end(recording[None]).inputs[0] for recording in recordings])
    torch.testing.assert_close(frames.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(0, correction=0), torch.ones(20), atol=1e-4, rtol=0)
    again = KaldiFbank(mels=20)
    again.load_state_dict(front_end.state_dict())
    assert again.complete
    torch.testing.assert_close(again(recordings[0][None]), front_end(recordings[0][None]))


def test_an_utterance_is_normalised_by_itself() -> None:
    features = KaldiFbank(mels=20, normalise="utterance")(3 * noise(0.5)[None]).inputs[0]
    torch.testing.assert_close(features.mean(0), torch.zeros(20), atol=1e-4, rtol=0)
    samples = Waveform()(5 + 3 * noise(0.5)[None]).inputs
    assert abs(samples.mean()) < 1e-4
    assert samples.std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(UserError, match="a waveform, which has no bands"):
        Waveform(normalise="global")  # pyright: ignore[reportArgumentType]


def test_masked_stretches_are_a_share_of_the_length() -> None:
    augment = SpecAugment(bands=1, band_width=4, stretches=2, stretch_share=0.1)
    torch.manual_seed(0)
    lengths = torch.tensor([20, 400])
    widest, band = [0, 0], [0, 0]
    for _ in range(60):
        x = torch.randn(2, 400, 16)
        out = augment(x, lengths)
        for item, frames in enumerate(lengths.tolist()):
            real = x[item, :frames]
            hidden = (out[item, :frames] != real).float()
            times, bands = hidden.mean(1) == 1, hidden.mean(0) == 1
            widest[item] = max(widest[item], int(times.sum()))
            band[item] = max(band[item], int(bands.sum()))
            # Nothing but whole bands and stretches is masked, by the mean of what is real.
            assert torch.equal(hidden.bool(), times[:, None] | bands)
            masked = out[item, :frames][hidden.bool()]
            torch.testing.assert_close(masked, real.mean().expand_as(masked), atol=1e-5, rtol=0)
            assert torch.equal(out[item, frames:], x[item, frames:])
    assert band == [4, 4]
    # Two stretches of at most a tenth; masks of a fixed width would wipe out the short recording.
    assert 2 <= widest[0] <= 4
    assert 40 <= widest[1] <= 80


def test_augmentation_draws_from_the_generator_alone() -> None:
    augment, x, lengths = SpecAugment(), torch.randn(1, 100, 80), torch.tensor([100])
    torch.manual_seed(3)
    first = augment(x, lengths)
    assert not torch.equal(first, x)
    torch.manual_seed(3)
    assert torch.equal(augment(x, lengths), first)


def test_texts_are_cut_and_joined_and_the_rest_is_refused() -> None:
    letters = TextTokenizer().extended([" ", "a", "b", "c"])
    assert letters.vocabulary == ("<blank>", " ", "a", "b", "c")
    assert text_tokens(letters, " AB c ") == [2, 3, 1, 4]
    assert letters.decode([2, 3, 1, 4, 0]) == "ab c"
    with pytest.raises(InputError, match="row 3: 'é' has tokens that the model does not know: é"):
        text_tokens(letters, "é", "row 3")
    words = TextTokenizer(unit="words", case="upper").extended(["ONE", "TWO"])
    assert words.decode(text_tokens(words, "two one  two")) == "TWO ONE TWO"
    # An accent is one character, however it was written.
    assert (
        TextTokenizer().split("Cafe\u0301") == TextTokenizer().split("caf\xe9") == list("caf\xe9")
    )


def test_tokens_in_brackets_are_no_text() -> None:
    tokenizer = TextTokenizer(vocabulary=["<blank>", "[UNK]", "<s>", "a", "<", "]", " "])
    assert tokenizer.decode([3, 1, 6, 2, 4, 3, 5]) == "a <a]"


def test_greedy_decoding_joins_repeats_and_drops_the_blank() -> None:
    path = [0, 2, 2, 0, 2, 1, 1, 0, 3, 3]
    probabilities = torch.full((1, 10, 4), 0.1)
    for frame, entry in enumerate(path):
        probabilities[0, frame, entry] = 0.7
    probabilities[0, 6] = torch.tensor([0.05, 0.9, 0.02, 0.03])
    [heard] = greedy(probabilities.log(), torch.tensor([8]), blank=0)
    assert heard.tokens == [2, 2, 1]  # what lies beyond the length is not heard
    assert heard.frames == [1, 4, 5]
    assert heard.ends == [3, 5, 7]
    assert np.exp(heard.log_probs) == pytest.approx([0.7, 0.7, 0.9], rel=1e-5)
    [silent] = greedy(probabilities[:, :1].log(), torch.tensor([1]), blank=0)
    assert silent.tokens == []
    assert np.exp(silent.log_probs) == pytest.approx([0.7])


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
    items = [SpeechItem(torch.ones(n), torch.ones(n).long(), f"r{n}") for n in (2, 4)]
    batch = pad([items[0], None, items[1]])
    assert batch.inputs.shape == (2, 4)
    assert batch.names == ("r2", "r4")
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
    assert heard.tokens == [2, 2, 0]
    [other] = greedy(log_probs, torch.tensor([7]), blank=0)
    assert other.tokens == [3, 2, 3, 2]


def test_a_recording_is_normalised_by_its_own_deviation() -> None:
    for part in (noise(0.5), noise(0.25, seed=1)):
        [out] = Waveform()(part[None]).inputs
        # The variance of all samples: the other one is off by 1.2e-4 and more here.
        assert float(out.double().square().mean()) == pytest.approx(1.0, abs=3e-5)
        assert float(out.double().mean()) == pytest.approx(0.0, abs=1e-6)
    few = torch.tensor([1.0, -1.0] * 200)  # of 400 samples the other variance differs by .25 %
    [out] = Waveform()(few[None]).inputs
    torch.testing.assert_close(out.abs(), torch.ones(400), atol=1e-5, rtol=0)
