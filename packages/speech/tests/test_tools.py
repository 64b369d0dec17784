"""The toolboxes act on the Conformer through the seams."""

from functools import partial

import pytest
import torch
from torch import Tensor

from headway.core.blocks import MacaronBlock
from headway.core.explain import gradient_relevance, token_relevance
from headway.core.layout import Layout
from headway.core.mixers import GatedConvolutionMixer
from headway.core.reduction import MostSimilar, merge_tokens, unmerge_model
from headway.core.testing.tools import check_adapters, check_lora, token_slopes
from headway.speech.layers import ConvolutionSubsampling
from headway.speech.models import CTC, Conformer
from headway.speech.tokenizers import TextTokenizer

LENGTHS = torch.tensor([37, 22])  # 10 and 6 tokens


def recogniser(depth: int = 2) -> CTC:
    torch.manual_seed(0)
    encoder = Conformer(
        dim=16,
        depth=depth,
        heads=2,
        stem=partial(ConvolutionSubsampling, features=10, channels=3),
        block=partial(MacaronBlock, convolution=partial(GatedConvolutionMixer, window=3)),
    )
    return CTC(encoder=encoder, tokenizer=TextTokenizer(vocabulary=tuple("_abcde"))).double().eval()


def features() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 37, 10, generator=generator, dtype=torch.float64)
    x[1, 22:] = torch.nan
    return x


def fourth_token(out) -> Tensor:
    return out.log_probs[:, 3]


def test_low_rank_adapters() -> None:
    check_lora(recogniser(), lambda model: model(features(), LENGTHS).log_probs[:, :6])


def test_base_and_adapter_are_the_tuned_model(tmp_path) -> None:
    def run(model: CTC) -> Tensor:
        # A change of statistics would show: training follows the batch where it is not held.
        return 3 * model(3 + features(), LENGTHS).log_probs[:, :6]

    check_adapters(
        recogniser, lambda model: model.set_vocabulary(tuple("_abcdefgh")), run, tmp_path
    )


@pytest.mark.parametrize("explain", [gradient_relevance, token_relevance])
def test_padding_has_no_relevance_and_changes_none(explain) -> None:
    model, x = recogniser(), features()
    found = explain(model, x, LENGTHS, answer=fourth_token, target=2)
    assert found.shape == (2, 10)
    assert (found[1, 6:] == 0).all()
    assert (found[0] != 0).all()
    alone = explain(model, x[1:, :22], answer=fourth_token, target=2)
    torch.testing.assert_close(found[1, :6], alone[0])


def test_relevance_is_the_slope_of_the_answer_along_each_token() -> None:
    model, x = recogniser(), features()
    slopes = token_slopes(model.encoder.encoder, lambda: fourth_token(model(x, LENGTHS))[:, 1])
    found = token_relevance(model, x, LENGTHS, answer=fourth_token, target=1)
    torch.testing.assert_close(found[0], slopes[0], atol=1e-7, rtol=1e-4)
    torch.testing.assert_close(found[1, :6], slopes[1, :6], atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("where", ["mixer", "feedforward"])
def test_merging_of_moments(where: str) -> None:
    model, x = recogniser(), features()
    before = model(x, LENGTHS).log_probs
    merge_tokens(model, MostSimilar(amount=0), where=where)
    assert torch.equal(model(x, LENGTHS).log_probs[0], before[0])
    merge_tokens(unmerge_model(model), MostSimilar(ratio=0.5), where=where)
    merged = model(x, LENGTHS).log_probs
    assert not torch.allclose(merged[0], before[0])
    alone = model(x[1:, :22]).log_probs
    torch.testing.assert_close(merged[1, :6], alone[0], atol=1e-5, rtol=1e-5)


def test_a_steady_tone_loses_nothing() -> None:
    encoder = recogniser(depth=1).encoder.encoder
    x = torch.randn(2, 1, 16, dtype=torch.float64).expand(-1, 9, -1)
    layout = Layout(lengths=torch.tensor([9, 6]))
    before = encoder(x, layout)[0]
    out = merge_tokens(encoder, MostSimilar(ratio=0.5))(x, layout)[0]
    torch.testing.assert_close(out[0], before[0])
    torch.testing.assert_close(out[1, :6], before[1, :6])
