"""Similar neighbours that become one on the way through an encoder (A-ToMe)."""

from functools import partial

import pytest
import torch
from heard import BANDS, LETTERS, front_end, spoken, token_errors, train
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.positions import RelativeSinusoidal
from headway.core.resample import AdjacentMerging
from headway.core.resample.matching import Adjacent, Groups
from headway.core.stacks import Encoder, MergingEncoder
from headway.speech.layers import ConvolutionSubsampling, InterCTC
from headway.speech.models import CTC, Conformer

RELATIVE = partial(SelfAttention, position=RelativeSinusoidal)


def conformer(stack=Encoder, mixer=RELATIVE) -> Conformer:
    return Conformer(
        dim=32,
        depth=2,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=BANDS, channels=8),
        mixer=mixer,
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=5)),
        stack=stack,
    )


def merging(blocks=(1,), **options):
    return partial(MergingEncoder, merging=partial(AdjacentMerging, **options), blocks=blocks)


def test_neighbours_merge_with_the_more_similar_one_and_stay_in_order() -> None:
    a, b, c = (torch.eye(4)[i] for i in range(3))
    x = torch.stack([a, a, b, b + 0.1 * c, c, 2 * c, a])[None]
    out, layout = AdjacentMerging(threshold=0.9)(x, Layout())
    torch.testing.assert_close(out[0], torch.stack([a, b + 0.05 * c, 1.5 * c, a]))
    assert layout.sizes.tolist() == [[2, 2, 2, 1]]
    assert layout.positions[0, :, 0].tolist() == [0.5, 2.5, 4.5, 6.0]
    out, layout = AdjacentMerging(ratio=0.3)(x, Layout())  # the two that are exactly alike
    assert layout.sizes.tolist() == [[2, 1, 1, 2, 1]]
    middle = torch.stack([b, a, a, a, b])[None]
    out, layout = AdjacentMerging(threshold=0.9)(middle, Layout())
    assert layout.sizes.tolist() == [[1, 1, 2, 1]]  # the later one of two that are as alike
    with pytest.raises(UserError, match="either by ratio or by threshold"):
        AdjacentMerging()
    with pytest.raises(UserError, match="use TokenMerging"):
        AdjacentMerging(ratio=0.2)(x[:, :6], Layout(grid=(2, 3)))


@pytest.mark.parametrize("how", [{"ratio": 0.3}, {"threshold": 0.5}])
def test_an_item_is_merged_as_if_it_were_alone(how: dict[str, float]) -> None:
    torch.manual_seed(0)
    model = conformer(merging(blocks=(1, 2), **how)).eval()
    lengths = torch.tensor([61, 40, 23, 52])
    x = torch.randn(4, 61, BANDS)
    x = x.masked_fill(torch.arange(61)[None, :, None] >= lengths[:, None, None], torch.nan)
    encoded = model(x, lengths)
    assert encoded.sizes is not None
    least = model.output_lengths(lengths)
    if "ratio" in how:
        assert encoded.lengths.tolist() == least.tolist()
    assert (encoded.lengths >= least).all()
    before = conformer().output_lengths(lengths)
    assert (encoded.lengths < before).all()
    for row, length in enumerate(lengths.tolist()):
        alone = model(x[row : row + 1, :length])
        count = int(alone.lengths[0])
        assert count == int(encoded.lengths[row])
        torch.testing.assert_close(
            encoded.encoded[row, :count], alone.encoded[0, :count], atol=1e-5, rtol=1e-5
        )
        assert int(encoded.sizes[row, :count].sum()) == int(before[row])
        assert encoded.begins(row)[-1] == int(before[row])


class Unlike(Adjacent):
    """The plain part: neighbours become one whether they resemble each other or not."""

    def __call__(self, x: Tensor, layout: Layout) -> Groups | None:
        return super().__call__(torch.rand_like(x), layout)


LONG = partial(spoken, lasting=(16, 32), silence=(4, 24))


@pytest.mark.learns
def test_a_trained_recogniser_hears_the_same_of_fewer_tokens(seed: int, measured) -> None:
    torch.manual_seed(seed)
    encoder = conformer(merging(ratio=0.0), mixer=partial(GatedConvolutionMixer, window=5))
    model = CTC(encoder=encoder, tokenizer=LETTERS, front_end=front_end())
    train(model, seed=seed, steps=160, batch=LONG)
    before = token_errors(model, batch=LONG)
    whole, step = times(model), encoder.encoder.steps[0]
    step.matching = Unlike(ratio=0.4)
    unlike = token_errors(model, batch=LONG)
    step.matching = Adjacent(ratio=0.4)
    similar = token_errors(model, batch=LONG)
    measured("errors more than before", similar - before, below=0.2)
    measured("errors more where any neighbours merge", unlike - similar, above=0.04)
    # Letters are where they were, or one stride beside it: a merged token has two.
    off = sorted(abs(whole[name] - time) for name, time in times(model).items() if name in whole)
    assert len(off) > 20
    assert off[int(0.9 * len(off))] <= 1


def times(model: CTC) -> dict[tuple[int, int], int]:
    """The strides at which the letters of texts that are heard right begin, by item and place."""
    heard = LONG(30, torch.Generator().manual_seed(2))
    found = model.transcribe(model.encode(heard.inputs, heard.lengths))
    begins = {}
    for item, one in enumerate(found):
        if list(one.tokens) == heard.targets[item, : heard.target_lengths[item]].tolist():
            begins |= {(item, place): start for place, start in enumerate(one.frames)}
    return begins


def test_blocks_before_a_merge_are_not_read_with_the_times_behind_it() -> None:
    model = CTC(
        encoder=conformer(merging(blocks=(2,), ratio=0.3)),
        tokenizer=LETTERS,
        front_end=front_end(),
        intermediate=InterCTC(blocks=(1,)),
    )
    with pytest.raises(UserError, match="name blocks behind that"):
        model.loss(spoken(2, torch.Generator().manual_seed(0)))
    with pytest.raises(UserError, match="AdjacentMerging changes the number of tokens"):
        model.encoder.encoder.init_cache(1, 4)
    with pytest.raises(UserError, match="of 2; name some once"):
        conformer(merging(blocks=(3,), ratio=0.3))
