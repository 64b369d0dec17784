"""Steps of several frames, and statistics that stand in files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.speech.front_ends import (
    KaldiFbank,
    StackedFrames,
    Waveform,
    read_statistics,
    with_statistics,
    write_statistics,
)


def kaldi() -> KaldiFbank:
    return KaldiFbank(sample_rate=8000, mels=12, normalise="none")


def low_frame_rate(frames: Tensor, count: int, step: int) -> Tensor:
    """FunASR's apply_lfr, one step after the other."""
    padded = torch.cat([frames[:1].expand((count - 1) // 2, -1), frames])
    rows = []
    for start in range(0, len(frames), step):
        row = padded[start : start + count]
        row = torch.cat([row, padded[-1:].expand(count - len(row), -1)])
        rows.append(row.flatten())
    return torch.stack(rows)


@pytest.mark.parametrize(("count", "step"), [(7, 6), (4, 3), (3, 1), (1, 2), (5, 9)])
def test_frames_are_stacked_as_funasr_does_alone_in_a_batch_and_while_they_come(
    count: int, step: int
) -> None:
    front_end = StackedFrames(front_end=kaldi(), frames=count, step=step, normalise="none")
    generator = torch.Generator().manual_seed(count)
    waveforms = 0.1 * torch.randn(4, 5000, generator=generator)
    lengths = torch.tensor([5000, 200, 3211, 777])
    waveforms[torch.arange(5000) >= lengths[:, None]] = torch.nan
    found, steps = front_end(waveforms, lengths)
    assert steps.tolist() == front_end.output_lengths(lengths).tolist()
    for row, length in enumerate(lengths):
        samples = waveforms[row : row + 1, :length]
        wanted = low_frame_rate(kaldi()(samples).inputs[0], count, step)
        assert len(wanted) == steps[row]
        torch.testing.assert_close(found[row, : steps[row]], wanted, atol=1e-5, rtol=1e-5)
        assert not found[row, steps[row] :].any()
        stream = front_end.stream()
        parts = [stream.push(piece) for piece in samples.split(331, dim=1)] + [stream.finish()]
        came = torch.cat([part for part in parts if part is not None], dim=1)
        torch.testing.assert_close(came[0], wanted, atol=1e-5, rtol=1e-5)
    assert front_end.rate * front_end.hop == pytest.approx(front_end.sample_rate)


def test_steps_of_frames_are_measured_and_normalised(tmp_path: Path) -> None:
    front_end = StackedFrames(front_end=kaldi())
    recordings = [torch.randn(4000), torch.randn(6000)]
    assert not front_end.complete
    front_end.measure(recordings)
    whole = torch.cat([front_end(one[None]).inputs[0] for one in recordings])
    torch.testing.assert_close(whole.mean(0), torch.zeros(84), atol=1e-3, rtol=0)
    torch.testing.assert_close(whole.std(0, correction=0), torch.ones(84), atol=1e-3, rtol=0)
    write_statistics(tmp_path / "s.npz", front_end)
    other = with_statistics(
        front_end=StackedFrames(front_end=kaldi()), path=str(tmp_path / "s.npz")
    )
    assert other.complete
    assert torch.equal(other(recordings[0][None]).inputs, front_end(recordings[0][None]).inputs)
    with pytest.raises(UserError, match="give the front end inside normalise none"):
        StackedFrames(front_end=KaldiFbank())
    with pytest.raises(UserError, match="frames 0 and step 6"):
        StackedFrames(front_end=kaldi(), frames=0)
    with pytest.raises(UserError, match="NeMoMel"):
        Waveform(normalise="utterance").stream()


MVN = """<Nnet>
<Splice> 3 3
[ 0 ]
<AddShift> 3 3
<LearnRateCoef> 0 [ -8.5 -9 1e-1 ]
<Rescale> 3 3
<LearnRateCoef> 0 [ 0.25 .5 2 ]
</Nnet>
"""


def test_statistics_are_read_from_kaldis_text_and_from_arrays(tmp_path: Path) -> None:
    path = tmp_path / "am.mvn"
    path.write_text(MVN)
    mean, std = read_statistics(path)
    torch.testing.assert_close(mean, torch.tensor([8.5, 9, -0.1]))
    torch.testing.assert_close(std, torch.tensor([4.0, 2, 0.5]))
    x = torch.randn(1, 4000)
    plain = KaldiFbank(mels=3, normalise="none")(x).inputs
    front_end = with_statistics(front_end=KaldiFbank(mels=3), path=str(path))
    scaled = (plain + torch.tensor([-8.5, -9, 0.1])) * torch.tensor([0.25, 0.5, 2])
    torch.testing.assert_close(front_end(x).inputs, scaled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mvn", MVN.replace("AddShift", "Other"), "has no <AddShift>"),
        ("a.mvn", MVN.replace("-8.5", "x"), "holds what is no number"),
        ("a.mvn", MVN.replace("-8.5", ""), "says 3 bands and holds 2"),
        ("a.npz", "nothing", "is no file of arrays"),
        ("a.npz", {"mean": np.zeros(3)}, "has no array std"),
        ("a.npz", {"mean": np.zeros(3), "std": np.ones(2)}, "not of the same bands"),
        ("a.npz", {"mean": np.zeros(3), "std": np.zeros(3)}, "not above 0"),
        ("a.npz", {"mean": np.zeros(4), "std": np.ones(4)}, "are given for 3 bands"),
        ("a.txt", "x", "is no file of statistics"),
    ],
)
def test_broken_statistics_are_one_line(tmp_path: Path, name: str, content, said: str) -> None:
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        np.savez(path, **content)
    with pytest.raises((InputError, UserError), match=said):
        with_statistics(front_end=KaldiFbank(mels=3), path=str(path))
